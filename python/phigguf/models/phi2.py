"""Phi-1, Phi-1.5 and Phi-2: layer norm, rotary attention and a GELU side by side, biases.

`Phi2.forward` is the whole model, each line one native operation. It computes what
`PhiForCausalLM` of `transformers` computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._core import gelu
from ..io.gguf import GGUFFile
from .attention import Attention
from .network import Piece, tokens_of
from .rope import Rope, frequencies
from .shape import Shape, read_shape
from .weights import BiasedWeight, Floats, Hyperparameters, LayerNorm, Tensors

ARCHITECTURE = "phi2"


@dataclass(frozen=True, eq=False)
class Layer:
    """The weights of one layer."""

    norm: LayerNorm
    attn_qkv: BiasedWeight
    attn_output: BiasedWeight
    ffn_up: BiasedWeight
    ffn_down: BiasedWeight


class Phi2:
    """A Phi-2 model as read from a GGUF file.

    Raises
    ------
    GGUFError
        A hyper-parameter or tensor is missing or not valid.
    ShapeError
        A tensor has a shape that does not fit the hyper-parameters.
    UnsupportedError
        The file asks for something that phigguf does not compute.
    """

    def __init__(self, file: GGUFFile) -> None:
        tensors, numbers = Tensors(file), Hyperparameters(file, ARCHITECTURE)
        self.shape = shape = read_shape(numbers, tensors, "attention.layer_norm_epsilon")
        numbers.refuse_unless("attention.sliding_window", 0)
        self.rope = _read_rope(numbers, shape)
        self.embedding = tensors.matrix("token_embd.weight", shape.vocab, shape.hidden)
        self.layers = [_read_layer(tensors, i, shape) for i in range(shape.layers)]
        self.output_norm = tensors.layer_norm("output_norm", shape.hidden, shape.epsilon)
        self.output = tensors.biased("output", shape.vocab, shape.hidden)
        tensors.check_all_taken()

    def forward(self, pieces: Sequence[Piece]) -> Floats:
        """Read pieces of different sequences; return float32 [tokens of all pieces, hidden]."""
        attention = Attention(self.shape, self.rope, pieces)
        x = self.embedding.rows(tokens_of(pieces))
        for i, layer in enumerate(self.layers):
            normed = layer.norm(x)
            qkv = layer.attn_qkv.linear(normed)
            x += layer.attn_output.linear(attention(i, qkv))
            x += layer.ffn_down.linear(gelu(layer.ffn_up.linear(normed)))
        return x

    def logits(self, x: Floats) -> Floats:
        """Turn what `forward` returned, or rows of it, into float32 [rows, n_vocab]."""
        return self.output.linear(self.output_norm(x))


def _read_rope(numbers: Hyperparameters, shape: Shape) -> Rope:
    dims = numbers.count("rope.dimension_count", shape.head_dim, at_most=shape.head_dim)
    if dims % 2:
        raise numbers.error("rope.dimension_count", "must be even", dims)
    numbers.refuse_unless("rope.scaling.type", "none")
    numbers.refuse_unless("rope.scaling.factor", 1.0)
    numbers.refuse_unless("rope.scaling.attn_factor", 1.0)
    plain = frequencies(numbers.real("rope.freq_base", 10000.0), dims)
    return Rope(plain, plain, shape.context)


def _read_layer(tensors: Tensors, index: int, shape: Shape) -> Layer:
    name, hidden = f"blk.{index}", shape.hidden
    kv_rows = shape.kv_heads * shape.head_dim
    return Layer(
        norm=tensors.layer_norm(f"{name}.attn_norm", hidden, shape.epsilon),
        attn_qkv=tensors.biased_qkv(name, hidden, kv_rows, hidden),
        attn_output=tensors.biased(f"{name}.attn_output", hidden, hidden),
        ffn_up=tensors.biased(f"{name}.ffn_up", shape.inner, hidden),
        ffn_down=tensors.biased(f"{name}.ffn_down", hidden, shape.inner),
    )
