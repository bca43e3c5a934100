"""The sizes that all architectures have."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .weights import Hyperparameters, Tensors

_MOST_LAYERS = 512
_MOST_HEADS = 1024
_MOST_WIDTH = 1 << 20


@dataclass(frozen=True)
class Shape:
    """The sizes of a model."""

    vocab: int
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    window: int  # positions that a query sees, itself included; 0: all
    epsilon: float

    @cached_property
    def scale(self) -> float:
        """What attention multiplies scores with."""
        return float(self.head_dim**-0.5)


def read_shape(numbers: Hyperparameters, tensors: Tensors, epsilon: str) -> Shape:
    """Read a model's sizes.

    Parameters
    ----------
    numbers, tensors
        The model's.
    epsilon
        The key of what its norms add to the variance.

    Raises
    ------
    GGUFError
        A number is missing, or does not go with another.
    UnsupportedError
        Heads have another size than their share of the hidden size.
    """
    hidden = numbers.count("embedding_length", at_most=_MOST_WIDTH)
    heads = numbers.count("attention.head_count", at_most=_MOST_HEADS)
    kv_heads = numbers.count("attention.head_count_kv", heads, at_most=heads)
    if hidden % heads:
        raise numbers.error("embedding_length", f"must be a multiple of {heads} heads", hidden)
    if heads % kv_heads:
        raise numbers.error("attention.head_count_kv", f"must divide {heads} heads", kv_heads)
    numbers.refuse_unless("attention.key_length", hidden // heads)
    numbers.refuse_unless("attention.value_length", hidden // heads)
    return Shape(
        vocab=tensors.rows_of("token_embd.weight"),
        hidden=hidden,
        inner=numbers.count("feed_forward_length", at_most=_MOST_WIDTH),
        layers=numbers.count("block_count", at_most=_MOST_LAYERS),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=hidden // heads,
        context=numbers.count("context_length"),
        window=numbers.count("attention.sliding_window", 0, at_least=0),
        epsilon=numbers.real(epsilon),
    )
