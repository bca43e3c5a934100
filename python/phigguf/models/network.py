"""What an architecture's file provides, and what it is given to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .._core import KvCache
from .rope import Rope
from .shape import Shape

Floats = npt.NDArray[np.float32]


@dataclass(eq=False, slots=True)
class Piece:
    """Consecutive tokens of one sequence, read together with pieces of other sequences.

    Parameters
    ----------
    tokens
        One or more ids.
    cache
        Keys and values of the tokens before; those of `tokens` are appended.
    length
        Of the whole sequence, which may go on after the piece.
    """

    tokens: Sequence[int]
    cache: KvCache
    length: int


class Network(Protocol):
    """A model's weights, and the arithmetic from tokens to logits."""

    @property
    def shape(self) -> Shape:
        """The sizes of the model."""

    @property
    def rope(self) -> Rope:
        """The angles of its positions."""

    def forward(self, pieces: Sequence[Piece]) -> Floats:
        """Read pieces of different sequences; return float32 [tokens of all pieces, hidden].

        A row depends on its own sequence alone, not on what else is read with it.
        """

    def logits(self, x: Floats) -> Floats:
        """Turn rows of what `forward` returned into float32 [rows, n_vocab]."""


def tokens_of(pieces: Sequence[Piece]) -> npt.NDArray[np.int32]:
    """Return the ids of all pieces, one after the other."""
    return np.array([token for piece in pieces for token in piece.tokens], np.int32)


def joined(parts: Sequence[Floats]) -> Floats:
    """Return rows of several arrays as one; a single array as it is."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
