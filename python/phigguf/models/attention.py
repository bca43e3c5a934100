"""Rotary attention of several sequences at once, each over its own cache and by its own length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .network import Floats, Piece
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
        self._shape = shape
        self._parts, end = [], 0
        for piece in pieces:
            begin, end = end, end + len(piece.tokens)
            tables = rope.tables(len(piece.cache), len(piece.tokens), piece.length)
            self._parts.append((piece.cache, slice(begin, end), tables))
        self._out = np.empty((end, shape.heads * shape.head_dim), np.float32)

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
            The same array from every call.
        """
        shape = self._shape
        for cache, rows, tables in self._parts:
            cache.attend(layer, qkv[rows], shape.heads, shape.scale, tables, self._out[rows])
        return self._out
