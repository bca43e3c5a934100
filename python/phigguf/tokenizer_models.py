"""The two kinds of BPE, set up in the `tokenizers` library from a GGUF file's vocabulary."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from .errors import TokenizerError, UnsupportedError
from .io.pieces import BYTE_PIECE, SPACE, PieceType
from .io.word_split import EXPRESSIONS
from .tokenizer_metadata import MERGES, PRE, TOKENS, TokenizerMetadata


def sentencepiece_bpe(vocabulary: TokenizerMetadata) -> Tokenizer:
    """Set up SentencePiece's BPE with byte fallback, without added tokens.

    Raises
    ------
    TokenizerError
        If some texts would have no tokens: a byte is missing, and there is no unknown token.
    """
    ids = vocabulary.ids_by_text
    unknown = vocabulary.ids.get("unk", min(vocabulary.ids_of(PieceType.UNKNOWN), default=None))
    has_bytes = all(f"<0x{byte:02X}>" in ids for byte in range(256))
    if unknown is None and not has_bytes:
        raise TokenizerError("has neither all bytes nor an unknown token", field=TOKENS)
    tokenizer = Tokenizer(
        BPE(
            vocab=ids,
            merges=merges_from_scores(vocabulary),
            unk_token=None if unknown is None else vocabulary.tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    _set_spaces(tokenizer, vocabulary.space_prefix)
    return tokenizer


def _set_spaces(tokenizer: Tokenizer, prefix: str) -> None:
    """Write spaces as U+2581, and one in front, with the library parts that `transformers` uses."""
    if prefix == "first":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, "first", split=False)
    else:
        prepend = [normalizers.Prepend(SPACE)] if prefix == "always" else []
        tokenizer.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", SPACE)])
    strip = [] if prefix == "never" else [decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )


def byte_level_bpe(vocabulary: TokenizerMetadata) -> Tokenizer:
    """Set up GPT-2's byte-level BPE, without added tokens.

    Raises
    ------
    UnsupportedError
        If the way to split text into words is unknown.
    TokenizerError
        If a merge uses a piece that is not in the vocabulary, or a byte is not in it.
    """
    if vocabulary.pre not in EXPRESSIONS:
        raise UnsupportedError("unknown way to split text", field=PRE, value=vocabulary.pre)
    ids = vocabulary.ids_by_text
    missing = [letter for letter in pre_tokenizers.ByteLevel.alphabet() if letter not in ids]
    if missing:
        raise TokenizerError("has no token for a byte", field=TOKENS, value=min(missing))
    special = {vocabulary.tokens[id] for id in vocabulary.special_ids}
    for left, right in vocabulary.merges:
        if left + right in special:
            raise TokenizerError("makes a special token", field=MERGES, value=(left, right))
    try:
        tokenizer = Tokenizer(BPE(vocab=ids, merges=vocabulary.merges))
    except Exception as error:  # the library raises nothing more special
        raise TokenizerError(str(error), field=MERGES) from error
    tokenizer.pre_tokenizer = _word_split(EXPRESSIONS[vocabulary.pre])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _word_split(expression: str | None) -> pre_tokenizers.PreTokenizer:
    if expression is None:
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(expression), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def merges_from_scores(vocabulary: TokenizerMetadata) -> list[tuple[str, str]]:
    """Return the merges that a SentencePiece vocabulary implies, in order.

    Every way to split a piece into two others is a merge. The piece of higher score is merged
    first; among the splits of one piece, the ids of left and right part decide. This is the order
    of the ``tokenizer.json`` files that `transformers` made from SentencePiece models.

    Bytes and special tokens take no part, so that no text is ever merged into one.
    """
    sealed = vocabulary.ids_of(PieceType.BYTE) | vocabulary.special_ids
    pieces = {
        token: id
        for token, id in vocabulary.ids_by_text.items()
        if id not in sealed and not BYTE_PIECE.fullmatch(token)
    }
    order = sorted(pieces.values(), key=(-vocabulary.scores).tolist().__getitem__)
    return [merge for id in order for merge in _splits(vocabulary.tokens[id], pieces)]


def _splits(piece: str, ids: dict[str, int]) -> list[tuple[str, str]]:
    found = [
        (left, right)
        for cut in range(1, len(piece))
        if (left := piece[:cut]) in ids and (right := piece[cut:]) in ids
    ]
    if len(found) > 1:
        found.sort(key=lambda pair: (ids[pair[0]], ids[pair[1]]))
    return found
