"""Phi-3, Phi-3.5, Phi-4 and Phi-4-mini: RMSNorm, fused projections, rotary attention, SwiGLU.

`Phi3.forward` is the whole model, each line one native operation. It computes what
`Phi3ForCausalLM` of `transformers` computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .._core import Weight, add_swiglu
from ..io.gguf import GGUFFile
from .attention import Attention
from .network import Piece, tokens_of
from .rope import read_rope
from .shape import Shape, read_shape
from .weights import Floats, Hyperparameters, Tensors

ARCHITECTURE = "phi3"


@dataclass(frozen=True, eq=False)
class Layer:
    """The weights of one layer."""

    attn_norm: Floats
    attn_qkv: Weight
    attn_output: Weight
    ffn_norm: Floats
    ffn_up: Weight  # gate, then up
    ffn_down: Weight


class Phi3:
    """A Phi-3 model as read from a GGUF file.

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
        tensors = Tensors(file)
        numbers = Hyperparameters(file, ARCHITECTURE)
        self.shape = shape = read_shape(numbers, tensors, "attention.layer_norm_rms_epsilon")
        self.rope = read_rope(numbers, tensors, shape)
        self.embedding = tensors.matrix("token_embd.weight", shape.vocab, shape.hidden)
        self.layers = [_read_layer(tensors, i, shape) for i in range(shape.layers)]
        self.output_norm = tensors.vector("output_norm.weight", shape.hidden)
        self.output = self.embedding
        if "output.weight" in tensors:
            self.output = tensors.matrix("output.weight", shape.vocab, shape.hidden)
        tensors.check_all_taken()

    def forward(self, pieces: Sequence[Piece]) -> Floats:
        """Read pieces of different sequences; return float32 [tokens of all pieces, hidden]."""
        epsilon = self.shape.epsilon
        attention = Attention(self.shape, self.rope, pieces)
        x = self.embedding.rows(tokens_of(pieces))
        qkv = None  # memory of one layer serves all
        for i, layer in enumerate(self.layers):
            qkv = layer.attn_qkv.linear(x, norm=layer.attn_norm, epsilon=epsilon, out=qkv)
            layer.attn_output.linear(attention(i, qkv), add_to=x)
            add_swiglu(x, layer.ffn_norm, epsilon, layer.ffn_up, layer.ffn_down)
        return x

    def logits(self, x: Floats) -> Floats:
        """Turn what `forward` returned, or rows of it, into float32 [rows, n_vocab]."""
        return self.output.linear(x, norm=self.output_norm, epsilon=self.shape.epsilon)


def _read_layer(tensors: Tensors, index: int, shape: Shape) -> Layer:
    name = f"blk.{index}"
    qkv_rows = (shape.heads + 2 * shape.kv_heads) * shape.head_dim
    return Layer(
        attn_norm=tensors.vector(f"{name}.attn_norm.weight", shape.hidden),
        attn_qkv=tensors.matrix(f"{name}.attn_qkv.weight", qkv_rows, shape.hidden),
        attn_output=tensors.matrix(f"{name}.attn_output.weight", shape.hidden, shape.hidden),
        ffn_norm=tensors.vector(f"{name}.ffn_norm.weight", shape.hidden),
        ffn_up=tensors.matrix(f"{name}.ffn_up.weight", 2 * shape.inner, shape.hidden),
        ffn_down=tensors.matrix(f"{name}.ffn_down.weight", shape.hidden, shape.inner),
    )
