"""Rotary attention of several sequences at once, each over its own cache and by its own length."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from .._core import rotate
from .network import Floats, Piece, joined
from .rope import Rope
from .shape import Shape


class Attention:
    """Attention for the tokens of some pieces, layer after layer.

    Parameters
    ----------
    shape, rope
        The model's.
    pieces
        What is read, before its first layer.
    """

    def __init__(self, shape: Shape, rope: Rope, pieces: Sequence[Piece]) -> None:
        tables = [rope.tables(len(p.cache), len(p.tokens), p.length) for p in pieces]
        self._cosines, self._sines = (joined(parts) for parts in zip(*tables, strict=True))
        ends = list(accumulate(len(p.tokens) for p in pieces))
        self._caches = [
            (p.cache, slice(end - len(p.tokens), end)) for p, end in zip(pieces, ends, strict=True)
        ]
        self._shape = shape

    def __call__(self, layer: int, qkv: Floats) -> Floats:
        """Rotate queries and keys in place, append keys and values to the caches, and attend.

        Parameters
        ----------
        layer
            Its index.
        qkv
            float32 [tokens, (heads + 2 kv_heads) head_dim]: queries, keys and values.

        Returns
        -------
        float32 [tokens, heads head_dim]
        """
        shape = self._shape
        rotate(qkv, shape.heads + shape.kv_heads, shape.head_dim, self._cosines, self._sines)
        return joined(
            [
                cache.attend(layer, qkv[rows], shape.heads, shape.scale)
                for cache, rows in self._caches
            ]
        )
