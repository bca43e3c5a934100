"""Phi-3.5-MoE: Phi-3's attention between layer norms, and two of many SwiGLUs for each token.

`PhiMoe.forward` is the whole model. It computes what `PhimoeForCausalLM` of `transformers` computes,
with LongRoPE's long factors in sequences longer than the original context, as in the code that was
published with the model (`transformers` 5 rotates those by the short factors too).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._core import Weight, silu_mul, softmax
from ..io.gguf import GGUFFile
from .attention import Attention
from .network import Piece, tokens_of
from .rope import read_rope
from .shape import Shape, read_shape
from .weights import (
    BiasedWeight,
    ExpertWeights,
    Floats,
    Hyperparameters,
    LayerNorm,
    Tensors,
)

ARCHITECTURE = "phimoe"

CHOICES = 2  # experts per token
JITTER = 0.01  # `router_jitter_noise`, for which GGUF has no key
_MOST_EXPERTS = 512


@dataclass(frozen=True, eq=False)
class Experts:
    """The feed-forward networks of a layer, and the router that chooses between them."""

    router: Weight
    gate: ExpertWeights
    up: ExpertWeights
    down: ExpertWeights

    def __call__(self, x: Floats) -> Floats:
        """Mix the answers of each token's experts: float32 x [m, hidden] to [m, hidden].

        Rows are sorted by expert, so that each expert's weights are read once.
        """
        chosen, shares = sparse_mixer(self.router.linear(x))
        by_expert = np.argsort(chosen, axis=None, kind="stable")
        counts = np.bincount(chosen.ravel(), minlength=len(self.gate)).astype(np.int32)
        rows = x[by_expert // CHOICES]
        gate_up = [self.gate.linear(rows, counts), self.up.linear(rows, counts)]
        sorted_answers = self.down.linear(silu_mul(np.concatenate(gate_up, axis=1)), counts)
        answers = np.empty_like(sorted_answers)
        answers[by_expert] = sorted_answers
        first, second = (answers[i::CHOICES] * shares[:, i, None] for i in range(CHOICES))
        return first + second


@dataclass(frozen=True, eq=False)
class Layer:
    """The weights of one layer."""

    attn_norm: LayerNorm
    attn_qkv: BiasedWeight
    attn_output: BiasedWeight
    ffn_norm: LayerNorm
    experts: Experts


class PhiMoe:
    """A Phi-3.5-MoE model as read from a GGUF file.

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
        self.shape = shape = read_shape(numbers, tensors, "attention.layer_norm_rms_epsilon")
        numbers.refuse_unless("expert_used_count", CHOICES)
        experts = numbers.count("expert_count", at_least=CHOICES, at_most=_MOST_EXPERTS)
        self.rope = read_rope(numbers, tensors, shape)
        self.embedding = tensors.matrix("token_embd.weight", shape.vocab, shape.hidden)
        self.layers = [_read_layer(tensors, i, shape, experts) for i in range(shape.layers)]
        self.output_norm = tensors.layer_norm("output_norm", shape.hidden, shape.epsilon)
        self.output = tensors.biased("output", shape.vocab, shape.hidden)
        tensors.check_all_taken()

    def forward(self, pieces: Sequence[Piece]) -> Floats:
        """Read pieces of different sequences; return float32 [tokens of all pieces, hidden]."""
        attention = Attention(self.shape, self.rope, pieces)
        x = self.embedding.rows(tokens_of(pieces))
        for i, layer in enumerate(self.layers):
            qkv = layer.attn_qkv.linear(layer.attn_norm(x))
            x += layer.attn_output.linear(attention(i, qkv))
            x += layer.experts(layer.ffn_norm(x))
        return x

    def logits(self, x: Floats) -> Floats:
        """Turn what `forward` returned, or rows of it, into float32 [rows, n_vocab]."""
        return self.output.linear(self.output_norm(x))


def sparse_mixer(scores: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """Choose each token's experts, one after the other (SparseMixer, arXiv 2409.12136).

    A choice is the best expert left. Its share is its softmax among those left whose score is
    within 2 `JITTER` of the best, relative to the larger of both; the shares need not add up to 1.

    Parameters
    ----------
    scores
        float32 [m, n_experts].

    Returns
    -------
    chosen, shares
        int and float32 [m, `CHOICES`].
    """
    left, rows = scores.copy(), np.arange(len(scores))
    chosen = np.empty((len(scores), CHOICES), np.intp)
    shares = np.empty((len(scores), CHOICES), np.float32)
    for choice in range(CHOICES):
        best = left.argmax(axis=1)
        highest = left[rows, best, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            behind = (highest - scores) / np.maximum(np.abs(scores), highest)
        near = np.where(behind > np.float32(2 * JITTER), np.float32(-np.inf), left)
        chosen[:, choice] = best
        shares[:, choice] = softmax(near)[rows, best]
        left[rows, best] = -np.inf
    return chosen, shares


def _read_layer(tensors: Tensors, index: int, shape: Shape, experts: int) -> Layer:
    name, hidden, inner = f"blk.{index}", shape.hidden, shape.inner
    kv_rows = shape.kv_heads * shape.head_dim
    return Layer(
        attn_norm=tensors.layer_norm(f"{name}.attn_norm", hidden, shape.epsilon),
        attn_qkv=tensors.biased_qkv(name, hidden, kv_rows, hidden),
        attn_output=tensors.biased(f"{name}.attn_output", hidden, hidden),
        ffn_norm=tensors.layer_norm(f"{name}.ffn_norm", hidden, shape.epsilon),
        experts=Experts(
            router=tensors.matrix(f"{name}.ffn_gate_inp.weight", experts, hidden),
            gate=tensors.experts(f"{name}.ffn_gate_exps.weight", experts, inner, hidden),
            up=tensors.experts(f"{name}.ffn_up_exps.weight", experts, inner, hidden),
            down=tensors.experts(f"{name}.ffn_down_exps.weight", experts, hidden, inner),
        ),
    )
