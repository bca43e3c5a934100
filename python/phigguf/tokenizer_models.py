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
    ids = _ids_by_text(vocabulary)
    unknown = vocabulary.ids.get("unk")
    if unknown is None:
        unknown = next(
            (id for id, kind in enumerate(vocabulary.types) if kind is PieceType.UNKNOWN), None
        )
    has_bytes = all(f"<0x{byte:02X}>" in ids for byte in range(256))
    if unknown is None and not has_bytes:
        raise TokenizerError("has neither all bytes nor an unknown token", field=TOKENS)
    tokenizer = Tokenizer(
        BPE(
            vocab=ids,
            merges=merges_from_scores(vocabulary, ids),
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
    ids = _ids_by_text(vocabulary)
    missing = [letter for letter in pre_tokenizers.ByteLevel.alphabet() if letter not in ids]
    if missing:
        raise TokenizerError("has no token for a byte", field=TOKENS, value=min(missing))
    special = {vocabulary.tokens[id] for id in vocabulary.special_ids}
    for rank, (left, right) in enumerate(vocabulary.merges):
        field = f"{MERGES}[{rank}]"
        if not {left, right, left + right} <= ids.keys():
            raise TokenizerError("is not in the vocabulary", field=field, value=(left, right))
        if left + right in special:
            raise TokenizerError("makes a special token", field=field, value=left + right)
    tokenizer = Tokenizer(BPE(vocab=ids, merges=vocabulary.merges))
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


def _ids_by_text(vocabulary: TokenizerMetadata) -> dict[str, int]:
    typed = zip(vocabulary.tokens, vocabulary.types, strict=True)
    return {token: id for id, (token, kind) in enumerate(typed) if kind is not PieceType.UNUSED}


def merges_from_scores(vocabulary: TokenizerMetadata, ids: dict[str, int]) -> list[tuple[str, str]]:
    """Return the merges that a SentencePiece vocabulary implies, in order.

    Every way to split a piece into two others is a merge. The piece of higher score is merged
    first; among the splits of one piece, the ids of left and right part decide. This is the order
    of the ``tokenizer.json`` files that `transformers` made from SentencePiece models.

    Bytes and special tokens take no part, so that no text is ever merged into one.
    """
    sealed = {id for id, kind in enumerate(vocabulary.types) if kind is PieceType.BYTE}
    sealed |= vocabulary.special_ids
    pieces = {
        token: id
        for token, id in ids.items()
        if id not in sealed and not BYTE_PIECE.fullmatch(token)
    }
    order = sorted(pieces.values(), key=(-vocabulary.scores).tolist().__getitem__)
    return [merge for id in order for merge in _splits(vocabulary.tokens[id], pieces)]


def _splits(piece: str, ids: dict[str, int]) -> list[tuple[str, str]]:
    cuts = range(1, len(piece))
    found = [(piece[:n], piece[n:]) for n in cuts if piece[:n] in ids and piece[n:] in ids]
    if len(found) > 1:
        found.sort(key=lambda pair: (ids[pair[0]], ids[pair[1]]))
    return found
