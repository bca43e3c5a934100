"""Rules about added tokens that GGUF has no keys for, and phigguf's keys for them.

An added token may swallow the white space before or after it (`transformers` says lstrip and
rstrip), it may be looked for only where no other was found (normalized), and a vocabulary may put a
space before the text but not after each added token. Readers cannot know. llama.cpp goes by the model's name; phigguf goes by the tokens: a vocabulary with
Phi-3's chat tokens is taken to be as Microsoft published it. What differs from that is written
into the file, so that files of the published models have llama.cpp's keys and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .gguf_format import GGUFValueType, MetadataValue, array, string
from .pieces import PieceType
from .vocabulary import Vocabulary

LSTRIP = "phigguf.tokenizer.lstrip_ids"  # int32 token ids
RSTRIP = "phigguf.tokenizer.rstrip_ids"
NORMALIZED = "phigguf.tokenizer.normalized_ids"
SPACE_PREFIX = "phigguf.tokenizer.space_prefix"  # "always", "first" or "never"

ADDED_TYPES = (PieceType.UNKNOWN, PieceType.CONTROL, PieceType.USER_DEFINED)

_PHI3_CHAT = frozenset({"<s>", "<|user|>", "<|assistant|>", "<|end|>"})
_PHI3_WITHOUT_RSTRIP = frozenset({"<unk>", "<s>", "<|endoftext|>"})


def presumed_rstrip_ids(tokens: Sequence[str], types: Iterable[int]) -> frozenset[int]:
    """Return which tokens swallow the white space after them if a file does not say.

    Parameters
    ----------
    tokens
        Texts by id.
    types
        The number of a `PieceType` for each token.
    """
    added = {
        token: id
        for id, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind in ADDED_TYPES
    }
    if not added.keys() >= _PHI3_CHAT:
        return frozenset()
    return frozenset(id for token, id in added.items() if token not in _PHI3_WITHOUT_RSTRIP)


def presumed_normalized_ids(model: str, types: Iterable[int]) -> frozenset[int]:
    """Return which tokens are looked for last if a file does not say: byte-level BPE's plain ones."""
    if model != "gpt2":
        return frozenset()
    return frozenset(id for id, kind in enumerate(types) if kind == PieceType.USER_DEFINED)


def added_token_metadata(vocabulary: Vocabulary) -> dict[str, MetadataValue]:
    """Return metadata for those of a vocabulary's rules that a reader would not presume."""
    types = vocabulary.token_types.tolist()
    by_id = {token.id: token for token in vocabulary.added}  # of two with one id, the later counts
    lstrip = frozenset(id for id, token in by_id.items() if token.lstrip)
    rstrip = frozenset(id for id, token in by_id.items() if token.rstrip)
    normalized = frozenset(id for id, token in by_id.items() if token.normalized)
    entries: dict[str, MetadataValue] = {}
    if lstrip:
        entries[LSTRIP] = array(GGUFValueType.INT32, sorted(lstrip))
    if rstrip != presumed_rstrip_ids(vocabulary.tokens, types):
        entries[RSTRIP] = array(GGUFValueType.INT32, sorted(rstrip))
    if normalized != presumed_normalized_ids(vocabulary.model, types):
        entries[NORMALIZED] = array(GGUFValueType.INT32, sorted(normalized))
    if vocabulary.space_prefix == "first":
        entries[SPACE_PREFIX] = string(vocabulary.space_prefix)
    return entries
