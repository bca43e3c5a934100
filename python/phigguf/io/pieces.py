"""A vocabulary as training left it: the pieces of a tokenizer's model file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple, TypeAlias

SPACE = "\u2581"  # SentencePiece's visible space
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")

SpacePrefix: TypeAlias = Literal["always", "first", "never"]


class PieceType(IntEnum):
    """Kinds of pieces; SentencePiece's files and GGUF's token types share the numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Piece(NamedTuple):
    """One entry of a vocabulary; of two SentencePiece merges, that of higher score is first."""

    text: str
    score: float = 0.0
    type: PieceType = PieceType.NORMAL


@dataclass
class TrainedVocabulary:
    """What a tokenizer's model file says, before added tokens.

    Attributes
    ----------
    model
        GGUF's name of the algorithm: ``"llama"`` (SentencePiece BPE) or ``"gpt2"`` (byte-level).
    pre
        GGUF's name of the pre-tokenizer.
    pieces
        By id; there may be gaps.
    merges
        For ``"gpt2"``: pairs joined by a space, the first is merged first.
    special_ids
        Ids of ``"bos"``, ``"eos"``, ``"unk"`` where the file itself names them.
    space_prefix
        Where a space is put before text: ``"always"`` (also after a special token), ``"first"``
        (where the whole text begins) or ``"never"``.
    added_by_default
        Whether to add ``"bos"`` or ``"eos"`` to a prompt where no other file says so; kinds left
        out follow the habit of GGUF readers.
    """

    model: str
    pre: str
    pieces: dict[int, Piece]
    merges: list[str] | None = None
    special_ids: dict[str, int] = field(default_factory=dict)
    space_prefix: SpacePrefix = "never"
    added_by_default: dict[str, bool] = field(default_factory=dict)
