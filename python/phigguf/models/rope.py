"""Rotary position embedding as `transformers` computes it, LongRoPE included.

Su et al., arXiv 2104.09864; LongRoPE: Ding et al., arXiv 2402.13753. LongRoPE has two sets of
frequencies. Which one applies is decided by the length of the whole sequence, for all of its
positions: keys that were rotated by one set do not go with queries rotated by the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import _core
from .shape import Shape
from .weights import Hyperparameters, Tensors

Floats = npt.NDArray[np.float32]

_SHORT_FACTORS = "rope_factors_short.weight"
_LONG_FACTORS = "rope_factors_long.weight"


@dataclass(frozen=True, eq=False)
class Rope:
    """Angles for pairs of dimensions.

    Parameters
    ----------
    frequencies
        float32 [dims / 2]: radians per position.
    long_frequencies
        float32 [dims / 2]: in sequences longer than `original_context`.
    original_context
        The longest sequence that uses `frequencies`.
    factor
        Multiplies cosines and sines.
    """

    frequencies: Floats
    long_frequencies: Floats
    original_context: int
    factor: float = 1.0

    def is_long(self, length: int) -> bool:
        """Whether sequences of this length use the long frequencies."""
        return length > self.original_context

    def tables(self, start: int, count: int, length: int) -> tuple[Floats, Floats]:
        """Return cosines and sines for positions of a sequence, each float32 [count, dims / 2].

        Parameters
        ----------
        start, count
            The positions: `count` of them from `start` on.
        length
            Of the whole sequence.
        """
        frequencies = self.long_frequencies if self.is_long(length) else self.frequencies
        return _core.rope_tables(start, count, frequencies, self.factor)


def frequencies(theta: float, dims: int, factors: Floats | None = None) -> Floats:
    """Return 1 / (factors * theta^(2 i / dims)), float32 [dims / 2].

    As in `transformers`, each step is rounded to float32; the power itself is taken in float64,
    whose rounding does not depend on the CPU.
    """
    exponents = np.arange(0, dims, 2, dtype=np.float32) / np.float32(dims)
    base = float(np.float32(theta))
    powers = np.array([base ** float(exponent) for exponent in exponents], np.float32)
    if factors is not None:
        powers *= factors
    inverse: Floats = np.float32(1) / powers
    return inverse


def read_rope(numbers: Hyperparameters, tensors: Tensors, shape: Shape) -> Rope:
    """Read a model's rotary embedding, LongRoPE if the file has its factors.

    Raises
    ------
    GGUFError
        A number or tensor is missing or not valid.
    UnsupportedError
        The file asks for another kind.
    """
    dims = numbers.count("rope.dimension_count", shape.head_dim, at_most=shape.head_dim)
    if dims % 2:
        raise numbers.error("rope.dimension_count", "must be even", dims)
    theta = numbers.real("rope.freq_base", 10000.0)
    numbers.refuse_unless("rope.scaling.type", "none", "longrope")
    numbers.refuse_unless("rope.scaling.factor", 1.0)
    if not any(name in tensors for name in (_SHORT_FACTORS, _LONG_FACTORS)):
        numbers.refuse_unless("rope.scaling.attn_factor", 1.0)
        plain = frequencies(theta, dims)
        return Rope(plain, plain, shape.context)
    return Rope(
        frequencies(theta, dims, tensors.positive_vector(_SHORT_FACTORS, dims // 2)),
        frequencies(theta, dims, tensors.positive_vector(_LONG_FACTORS, dims // 2)),
        numbers.count("rope.scaling.original_context_length"),
        numbers.real("rope.scaling.attn_factor"),
    )
