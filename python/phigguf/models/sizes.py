"""What the configurations of all architectures say alike: sizes, and the activation."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UnsupportedError
from .conversion import ConfigReader

_MAX_LAYERS = 512  # as in llama.cpp


@dataclass(frozen=True)
class Sizes:
    """A model's sizes, as ``config.json`` has them."""

    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int

    @property
    def head_dim(self) -> int:
        """The width of a head."""
        return self.hidden // self.heads


def read_sizes(config: ConfigReader) -> Sizes:
    """Read the sizes.

    Raises
    ------
    CheckpointError
        One is missing, or does not go with another.
    UnsupportedError
        Heads have another width than their share of the hidden size.
    """
    heads = config.count("num_attention_heads")
    shape = Sizes(
        vocab=config.count("vocab_size"),
        hidden=config.count("hidden_size"),
        intermediate=config.count("intermediate_size"),
        layers=config.count("num_hidden_layers", at_most=_MAX_LAYERS),
        heads=heads,
        kv_heads=config.count("num_key_value_heads", heads),
    )
    if shape.hidden % heads:
        raise config.error("hidden_size", f"should be a multiple of the {heads} attention heads")
    if heads % shape.kv_heads:
        raise config.error("num_key_value_heads", f"should divide the {heads} attention heads")
    if config.count("head_dim", shape.head_dim) != shape.head_dim:
        raise UnsupportedError(
            f"only heads of hidden_size / num_attention_heads = {shape.head_dim} are supported",
            file=config.file,
            field="head_dim",
            value=config.config["head_dim"],
        )
    return shape


def check_activation(config: ConfigReader, usual: str, *others: str) -> None:
    """Refuse an activation that is none of the names given; the first one is the default.

    Raises
    ------
    UnsupportedError
        It is another one.
    """
    activation = config.text("hidden_act", usual)
    if activation not in (usual, *others):
        raise UnsupportedError(
            "unknown activation", file=config.file, field="hidden_act", value=activation
        )
