"""Phi-3 in GGUF's terms: tensor names, hyper-parameter keys and LongRoPE factors.

Covers every checkpoint of class ``Phi3ForCausalLM``: Phi-3, Phi-3.5, Phi-4 and Phi-4-mini. Keys
and names are llama.cpp's; defaults are those of `transformers`' ``Phi3Config``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..io.gguf_format import MetadataValue, f32, u32
from .conversion import ConfigReader, Conversion, TensorSource
from .refusals import refuse_flags, refuse_present
from .rope_config import DEFAULT, agreed, read_rope_config
from .sizes import Sizes, check_activation, read_sizes

ARCHITECTURE = "phi3"

# Early Phi-3 configurations say "su" or "yarn" and mean LongRoPE, as transformers reads them.
_LONG_ROPE = ("longrope", "su", "yarn")


@dataclass(frozen=True)
class RopeSettings:
    """A rotary embedding; without factors it is not LongRoPE."""

    theta: float
    dims: int
    original_context: int
    attention_factor: float
    long_factors: npt.NDArray[np.float32] | None
    short_factors: npt.NDArray[np.float32] | None


def conversion(config: ConfigReader) -> Conversion:
    """Describe the conversion of a checkpoint with this configuration.

    Raises
    ------
    CheckpointError
        A field is missing, of the wrong type or out of range.
    UnsupportedError
        The activation, a bias, a norm, the rotary embedding or the head size is none that GGUF's
        Phi-3 has.
    """
    check_activation(config, "silu", "swish")
    refuse_flags(config, "attention_bias", "mlp_bias", "lm_head_bias", "qk_layernorm")
    for field in ("layer_norm_eps", "layer_norm_epsilon"):
        refuse_present(config, field, "only RMS norms are supported for Phi-3")
    shape = read_sizes(config)
    rope = read_rope(config, shape)
    tied = config.flag("tie_word_embeddings", False)
    return Conversion(
        architecture=ARCHITECTURE,
        metadata=hyperparameters(ARCHITECTURE, config, shape, rope),
        tensors=_tensors(shape, tied),
        generated=factor_tensors(rope),
        repeats={"lm_head.weight": "model.embed_tokens.weight"} if tied else {},
    )


def read_rope(
    config: ConfigReader, shape: Sizes, *names: str, theta: float = 10000.0
) -> RopeSettings:
    """Read the rotary embedding, with LongRoPE's settings if it has them under one of its names."""
    rope = read_rope_config(config, shape, *(names or _LONG_ROPE), theta=theta)
    original = agreed(rope.scaling, config, "original_max_position_embeddings").count(
        "original_max_position_embeddings", 4096, at_least=2
    )
    if rope.kind == DEFAULT:
        return RopeSettings(rope.theta, rope.dims, original, 1.0, None, None)
    return RopeSettings(
        theta=rope.theta,
        dims=rope.dims,
        original_context=original,
        attention_factor=_attention_factor(config, rope.scaling, original),
        long_factors=rope.scaling.reals("long_factor", rope.dims // 2),
        short_factors=rope.scaling.reals("short_factor", rope.dims // 2),
    )


def _attention_factor(config: ConfigReader, scaling: ConfigReader, original: int) -> float:
    """LongRoPE's scale of queries and keys, as `transformers` computes it (arXiv 2402.13753)."""
    context = config.count("max_position_embeddings", 4096)
    extension = scaling.real("factor", context / original)
    widening = math.log(max(extension, 1.0)) / math.log(original)
    return scaling.real("attention_factor", math.sqrt(1 + widening))


def hyperparameters(
    architecture: str, config: ConfigReader, shape: Sizes, rope: RopeSettings
) -> dict[str, MetadataValue]:
    """Return the GGUF keys that Phi-3 and its relatives have, under an architecture's prefix."""
    values = {
        "context_length": u32(config.count("max_position_embeddings", 4096)),
        "rope.scaling.original_context_length": u32(rope.original_context),
        "embedding_length": u32(shape.hidden),
        "feed_forward_length": u32(shape.intermediate),
        "block_count": u32(shape.layers),
        "attention.head_count": u32(shape.heads),
        "attention.head_count_kv": u32(shape.kv_heads),
        "attention.layer_norm_rms_epsilon": f32(config.real("rms_norm_eps", 1e-5)),
        "rope.dimension_count": u32(rope.dims),
        "rope.freq_base": f32(rope.theta),
        "attention.sliding_window": u32(config.count("sliding_window", 0, at_least=0)),
    }
    if rope.long_factors is not None:
        values["rope.scaling.attn_factor"] = f32(rope.attention_factor)
    return {f"{architecture}.{key}": value for key, value in values.items()}


def _tensors(shape: Sizes, tied: bool) -> dict[str, TensorSource]:
    hidden, inner = shape.hidden, shape.intermediate
    qkv_rows = (shape.heads + 2 * shape.kv_heads) * shape.head_dim
    tensors = {
        "token_embd": ("model.embed_tokens", (shape.vocab, hidden)),
        "output_norm": ("model.norm", (hidden,)),
    }
    if not tied:
        tensors["output"] = ("lm_head", (shape.vocab, hidden))
    for layer in range(shape.layers):
        ours, theirs = f"blk.{layer}", f"model.layers.{layer}"
        tensors |= {
            f"{ours}.attn_norm": (f"{theirs}.input_layernorm", (hidden,)),
            f"{ours}.attn_qkv": (f"{theirs}.self_attn.qkv_proj", (qkv_rows, hidden)),
            f"{ours}.attn_output": (f"{theirs}.self_attn.o_proj", (hidden, hidden)),
            f"{ours}.ffn_norm": (f"{theirs}.post_attention_layernorm", (hidden,)),
            f"{ours}.ffn_up": (f"{theirs}.mlp.gate_up_proj", (2 * inner, hidden)),
            f"{ours}.ffn_down": (f"{theirs}.mlp.down_proj", (hidden, inner)),
        }
    return {
        f"{ours}.weight": TensorSource((f"{theirs}.weight",), size)
        for ours, (theirs, size) in tensors.items()
    }


def factor_tensors(rope: RopeSettings) -> dict[str, npt.NDArray[np.float32]]:
    """Return LongRoPE's factors by the names of their tensors."""
    if rope.long_factors is None or rope.short_factors is None:
        return {}
    return {
        "rope_factors_long.weight": rope.long_factors,
        "rope_factors_short.weight": rope.short_factors,
    }
