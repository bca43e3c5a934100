"""A GGUF file's vocabulary, checked before anything is built from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from .errors import TokenizerError, UnsupportedError
from .io.pieces import BYTE_PIECE, PieceType, SpacePrefix
from .io.whitespace_rules import ADDED_TYPES, LSTRIP, RSTRIP, SPACE_PREFIX, presumed_rstrip_ids

MODEL = "tokenizer.ggml.model"
PRE = "tokenizer.ggml.pre"
TOKENS = "tokenizer.ggml.tokens"
SCORES = "tokenizer.ggml.scores"
TYPES = "tokenizer.ggml.token_type"
MERGES = "tokenizer.ggml.merges"
ADD_BOS = "tokenizer.ggml.add_bos_token"
ADD_SPACE_PREFIX = "tokenizer.ggml.add_space_prefix"

MAX_TOKENS = 1 << 22
MAX_TOKEN_LENGTH = 512  # characters; finding the merges of a piece takes its square
MAX_VOCABULARY_LENGTH = 1 << 23  # characters

_ID_KEYS = {kind: f"tokenizer.ggml.{kind}_token_id" for kind in ("bos", "eos", "eot", "eom")}
_ID_KEYS |= {"unk": "tokenizer.ggml.unknown_token_id", "pad": "tokenizer.ggml.padding_token_id"}
_ENDS = ("eos", "eot", "eom")

# Tokens that end an answer by their name; GGUF has a key for one of several at most.
_END_NAMES = frozenset({"<|end|>", "<|im_end|>", "<|endoftext|>", "</s>"})


@dataclass(frozen=True, eq=False)
class TokenizerMetadata:
    """What a tokenizer is built from.

    Attributes
    ----------
    model
        ``"llama"`` (SentencePiece BPE) or ``"gpt2"`` (byte-level BPE).
    pre
        GGUF's name of the word splitting, for ``"gpt2"``.
    tokens
        Texts by id.
    types
        A `PieceType` for each token.
    scores
        float32 [n], for ``"llama"``.
    merges
        For ``"gpt2"``: pairs of pieces, the first is merged first.
    ids
        Special tokens by kind: ``"bos"``, ``"eos"``, ``"eot"``, ``"eom"``, ``"unk"``, ``"pad"``.
    add_bos
        Whether texts begin with the bos token.
    space_prefix
        Where a space is put before the text: ``"always"`` (also after each added token),
        ``"first"`` (at the beginning) or ``"never"``.
    lstrip_ids, rstrip_ids
        Added tokens that swallow the white space before or after them.
    """

    model: str
    pre: str
    tokens: list[str]
    types: list[PieceType]
    scores: npt.NDArray[np.float32]
    merges: list[tuple[str, str]]
    ids: dict[str, int]
    add_bos: bool
    space_prefix: SpacePrefix
    lstrip_ids: frozenset[int]
    rstrip_ids: frozenset[int]

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """Tokens after which nothing follows."""
        named = {id for id in self.added_ids if self.tokens[id] in _END_NAMES}
        return frozenset(named | {self.ids[kind] for kind in _ENDS if kind in self.ids})

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Tokens that never stand for text: control tokens, and those with a role."""
        control = (PieceType.CONTROL, PieceType.UNKNOWN)
        typed = {id for id, kind in enumerate(self.types) if kind in control}
        return frozenset(typed | set(self.ids.values()) | self.end_ids)

    @cached_property
    def added_ids(self) -> list[int]:
        """Tokens found in a text before it is split into pieces, special or not."""
        typed = {id for id, kind in enumerate(self.types) if kind in ADDED_TYPES}
        return sorted(typed | set(self.ids.values()))


def read_tokenizer_metadata(metadata: Mapping[str, Any]) -> TokenizerMetadata:
    """Check a GGUF file's ``tokenizer.*`` metadata.

    Raises
    ------
    TokenizerError
        If a key is missing or has the wrong type or length, a token is empty, too long, repeated
        or not Unicode, a byte token does not name a byte, a score is NaN, or an id lies outside
        the vocabulary.
    UnsupportedError
        If the vocabulary is neither ``"llama"`` nor ``"gpt2"``.
    """
    model = _typed(metadata, MODEL, str)
    if model not in ("llama", "gpt2"):
        raise UnsupportedError("unknown kind of vocabulary", field=MODEL, value=model)
    tokens = _read_tokens(metadata)
    types = _read_types(metadata, tokens, model)
    _check_tokens(tokens, types)
    ids = {
        kind: _checked_id(metadata[key], key, tokens)
        for kind, key in _ID_KEYS.items()
        if key in metadata
    }
    vocabulary = TokenizerMetadata(
        model=model,
        pre=_typed(metadata, PRE, str, "default"),
        tokens=tokens,
        types=types,
        scores=_read_scores(metadata, tokens) if model == "llama" else np.empty(0, np.float32),
        merges=_read_merges(metadata) if model == "gpt2" else [],
        ids=ids,
        add_bos=_typed(metadata, ADD_BOS, bool, model == "llama") and "bos" in ids,
        space_prefix=_read_space_prefix(metadata, model),
        lstrip_ids=_read_ids(metadata, LSTRIP, tokens, frozenset()),
        rstrip_ids=_read_ids(metadata, RSTRIP, tokens, presumed_rstrip_ids(tokens, types)),
    )
    for id in vocabulary.special_ids:
        if len(tokens[id]) == 1:  # every text with this letter would contain the token
            raise TokenizerError("a special token is one letter", field=f"{TOKENS}[{id}]")
    return vocabulary


def _typed(metadata: Mapping[str, Any], key: str, kind: type, default: Any = None) -> Any:
    value = metadata.get(key, default)
    if value is None:
        raise TokenizerError("is missing", field=key)
    if not isinstance(value, kind):
        raise TokenizerError(f"must be {kind.__name__}", field=key, value=value)
    return value


def _read_tokens(metadata: Mapping[str, Any]) -> list[str]:
    tokens: list[str] = _typed(metadata, TOKENS, list)
    if not 0 < len(tokens) <= MAX_TOKENS:
        raise TokenizerError("has no tokens, or too many", field=TOKENS, value=len(tokens))
    total = 0
    for id, token in enumerate(tokens):
        problem = _problem_of(token)
        if problem:
            raise TokenizerError(problem, field=f"{TOKENS}[{id}]", value=token)
        total += len(token)
    if total > MAX_VOCABULARY_LENGTH:
        raise TokenizerError("the tokens are too long together", field=TOKENS, value=total)
    return tokens


def _problem_of(token: Any) -> str | None:
    if not isinstance(token, str):
        return "a token is not a string"
    if not token:
        return "a token is empty"
    if len(token) > MAX_TOKEN_LENGTH:
        return "a token is too long"
    if not token.isascii() and not _is_unicode(token):
        return "a token is not Unicode"
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_types(metadata: Mapping[str, Any], tokens: list[str], model: str) -> list[PieceType]:
    if TYPES not in metadata:
        byte = PieceType.BYTE if model == "llama" else PieceType.NORMAL
        return [byte if BYTE_PIECE.fullmatch(token) else PieceType.NORMAL for token in tokens]
    kinds = {int(kind): kind for kind in PieceType}
    values = _numbers(metadata, TYPES, "i").tolist()
    _check_length(values, tokens, TYPES)
    unknown = next((id for id, value in enumerate(values) if value not in kinds), None)
    if unknown is not None:
        raise TokenizerError("unknown type", field=f"{TYPES}[{unknown}]", value=values[unknown])
    return [kinds[value] for value in values]


def _check_tokens(tokens: list[str], types: list[PieceType]) -> None:
    first: dict[str, int] = {}
    for id, (token, kind) in enumerate(zip(tokens, types, strict=True)):
        field = f"{TOKENS}[{id}]"
        if kind is PieceType.UNUSED:
            continue
        if kind is PieceType.BYTE and not BYTE_PIECE.fullmatch(token):
            raise TokenizerError("a byte token does not name a byte", field=field, value=token)
        if first.setdefault(token, id) != id:
            raise TokenizerError(f"repeats token {first[token]}", field=field, value=token)


def _read_scores(metadata: Mapping[str, Any], tokens: list[str]) -> npt.NDArray[np.float32]:
    scores = _numbers(metadata, SCORES, "f").astype(np.float32)
    _check_length(scores, tokens, SCORES)
    if np.isnan(scores).any():
        id = int(np.flatnonzero(np.isnan(scores))[0])
        raise TokenizerError("a score is NaN", field=f"{SCORES}[{id}]")
    return scores


def _read_merges(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    merges = []
    for rank, merge in enumerate(_typed(metadata, MERGES, list)):
        # A piece may be a space only where it begins the pair.
        space = merge.find(" ", 1) if isinstance(merge, str) else -1
        if space < 0 or not _is_unicode(merge):
            raise TokenizerError("is not a pair", field=f"{MERGES}[{rank}]", value=merge)
        merges.append((merge[:space], merge[space + 1 :]))
    return merges


def _read_space_prefix(metadata: Mapping[str, Any], model: str) -> SpacePrefix:
    add = model == "llama" and _typed(metadata, ADD_SPACE_PREFIX, bool, True)
    prefix = _typed(metadata, SPACE_PREFIX, str, "always" if add else "never")
    if prefix not in ("always", "first", "never"):
        raise TokenizerError("unknown prefix", field=SPACE_PREFIX, value=prefix)
    return cast(SpacePrefix, prefix)


def _read_ids(
    metadata: Mapping[str, Any], key: str, tokens: list[str], default: frozenset[int]
) -> frozenset[int]:
    if key not in metadata:
        return default
    return frozenset(_checked_id(id, key, tokens) for id in _numbers(metadata, key, "i").tolist())


def _checked_id(id: Any, key: str, tokens: list[str]) -> int:
    if isinstance(id, bool) or not isinstance(id, (int, np.integer)) or not 0 <= id < len(tokens):
        raise TokenizerError(
            f"is no id of this vocabulary of {len(tokens)} tokens", field=key, value=id
        )
    return int(id)


def _numbers(metadata: Mapping[str, Any], key: str, kind: str) -> npt.NDArray[Any]:
    """Return an array of integers ("i", signed or not) or floats ("f")."""
    if key not in metadata:
        raise TokenizerError("is missing", field=key)
    values = np.asarray(metadata[key])
    kinds = "iu" if kind == "i" else "f"
    if values.ndim != 1 or (values.size and values.dtype.kind not in kinds):
        raise TokenizerError("is not an array of numbers of its kind", field=key)
    return values


def _check_length(values: Any, tokens: list[str], key: str) -> None:
    if len(values) != len(tokens):
        raise TokenizerError(f"is not as long as {TOKENS}", field=key, value=len(values))
