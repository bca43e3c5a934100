"""A GGUF file's vocabulary, checked before anything is built from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from .errors import TokenizerError, UnsupportedError
from .io.added_token_rules import (
    ADDED_TYPES,
    LSTRIP,
    NORMALIZED,
    RSTRIP,
    SPACE_PREFIX,
    presumed_normalized_ids,
    presumed_rstrip_ids,
)
from .io.pieces import BYTE_PIECE, PieceType, SpacePrefix

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
        int32 [n]: the number of a `PieceType` for each token.
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
    normalized_ids
        Added tokens that are looked for after all others.
    """

    model: str
    pre: str
    tokens: list[str]
    types: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    merges: list[tuple[str, str]]
    ids: dict[str, int]
    add_bos: bool
    space_prefix: SpacePrefix
    lstrip_ids: frozenset[int]
    rstrip_ids: frozenset[int]
    normalized_ids: frozenset[int]

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """Tokens after which nothing follows."""
        named = {id for id in self.added_ids if self.tokens[id] in _END_NAMES}
        return frozenset(named | {self.ids[kind] for kind in _ENDS if kind in self.ids})

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Tokens that never stand for text: control tokens, and those with a role."""
        control = self.ids_of(PieceType.CONTROL, PieceType.UNKNOWN)
        return control | self.end_ids | set(self.ids.values())

    @cached_property
    def added_ids(self) -> frozenset[int]:
        """Tokens found in a text before it is split into pieces, special or not."""
        return self.ids_of(*ADDED_TYPES) | set(self.ids.values())

    @cached_property
    def ids_by_text(self) -> dict[str, int]:
        """All tokens that are in use."""
        unused = self.ids_of(PieceType.UNUSED) - self.added_ids
        return {token: id for id, token in enumerate(self.tokens) if id not in unused}

    def ids_of(self, *types: PieceType) -> frozenset[int]:
        """Return the tokens of some types."""
        return frozenset(np.flatnonzero(np.isin(self.types, types)).tolist())


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
        rstrip_ids=_read_ids(metadata, RSTRIP, tokens, presumed_rstrip_ids(tokens, types.tolist())),
        normalized_ids=_read_ids(
            metadata, NORMALIZED, tokens, presumed_normalized_ids(model, types.tolist())
        ),
    )
    _check_tokens(vocabulary)
    return vocabulary


def _typed(metadata: Mapping[str, Any], key: str, kind: type, default: Any = None) -> Any:
    value = metadata.get(key, default)
    if value is None:
        raise TokenizerError("is missing", field=key)
    if not isinstance(value, kind):
        raise TokenizerError(f"must be {kind.__name__}", field=key, value=value)
    return value


def _read_tokens(metadata: Mapping[str, Any]) -> list[str]:
    tokens: list[Any] = _typed(metadata, TOKENS, list)
    if not 0 < len(tokens) <= MAX_TOKENS:
        raise TokenizerError("has no tokens, or too many", field=TOKENS, value=len(tokens))
    for id, token in enumerate(tokens):
        if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN_LENGTH:
            problem = "a token is no text, empty or too long"
            raise TokenizerError(problem, field=f"{TOKENS}[{id}]", value=token)
    if sum(map(len, tokens)) > MAX_VOCABULARY_LENGTH:
        raise TokenizerError("the tokens are too long together", field=TOKENS)
    _check_unicode(tokens, TOKENS)
    return tokens


def _check_unicode(texts: list[str], key: str) -> None:
    if _is_unicode("".join(texts)):
        return
    index = next(index for index, text in enumerate(texts) if not _is_unicode(text))
    raise TokenizerError("is not Unicode", field=f"{key}[{index}]", value=texts[index])


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_types(
    metadata: Mapping[str, Any], tokens: list[str], model: str
) -> npt.NDArray[np.int32]:
    if TYPES not in metadata:
        byte = PieceType.BYTE if model == "llama" else PieceType.NORMAL
        kinds = [byte if BYTE_PIECE.fullmatch(text) else PieceType.NORMAL for text in tokens]
        return np.array(kinds, dtype=np.int32)
    types = _numbers(metadata, TYPES, "i")
    _check_length(types, tokens, TYPES)
    unknown = np.flatnonzero(~np.isin(types, list(PieceType)))
    if unknown.size:
        id = int(unknown[0])
        raise TokenizerError("unknown type", field=f"{TYPES}[{id}]", value=int(types[id]))
    return types.astype(np.int32)


def _check_tokens(vocabulary: TokenizerMetadata) -> None:
    tokens = vocabulary.tokens
    for id in sorted(vocabulary.ids_of(PieceType.BYTE)):
        if not BYTE_PIECE.fullmatch(tokens[id]):
            raise _bad_token("a byte token does not name a byte", id, tokens)
    for id in sorted(vocabulary.special_ids):
        if len(tokens[id]) == 1:  # every text with this letter would contain the token
            raise _bad_token("a special token is a single letter", id, tokens)
    ids = vocabulary.ids_by_text
    in_use = set(range(len(tokens))) - vocabulary.ids_of(PieceType.UNUSED)
    repeated = (in_use | vocabulary.added_ids) - set(ids.values())
    if repeated:
        id = min(repeated)
        raise _bad_token(f"is the same as token {ids[tokens[id]]}", id, tokens)


def _bad_token(problem: str, id: int, tokens: list[str]) -> TokenizerError:
    return TokenizerError(problem, field=f"{TOKENS}[{id}]", value=tokens[id])


def _read_scores(metadata: Mapping[str, Any], tokens: list[str]) -> npt.NDArray[np.float32]:
    scores = _numbers(metadata, SCORES, "f").astype(np.float32)
    _check_length(scores, tokens, SCORES)
    if np.isnan(scores).any():
        id = int(np.flatnonzero(np.isnan(scores))[0])
        raise TokenizerError("a score is NaN", field=f"{SCORES}[{id}]")
    return scores


def _read_merges(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    merges: list[Any] = _typed(metadata, MERGES, list)
    pairs = []
    for rank, merge in enumerate(merges):
        left, _, right = merge.partition(" ") if isinstance(merge, str) else ("", "", "")
        if not (left and right):
            raise TokenizerError("is not a pair", field=f"{MERGES}[{rank}]", value=merge)
        pairs.append((left, right))
    _check_unicode(merges, MERGES)
    return pairs


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
