"""Phi-3 models of a few thousand random weights, as GGUF files with any metadata and types."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_files import gguf_content
from phigguf import quantize
from phigguf.io.gguf_format import MetadataValue, f32, string, u32
from phigguf.io.gguf_layout import TensorSpec
from phigguf.types import tensor_type

Tensors = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Tiny:
    """Sizes and features."""

    vocab: int = 96
    hidden: int = 64
    inner: int = 96
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    rotary: int = 16
    context: int = 128
    window: int = 0
    original: int = 0  # above 0: LongRoPE
    tied: bool = False
    seed: int = 1

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def attention_factor(self) -> float:
        return math.sqrt(1 + math.log(self.context / self.original) / math.log(self.original))


PLAIN = Tiny()
ORIGINAL, WINDOW = 20, 13
EVERYTHING = replace(PLAIN, rotary=12, window=WINDOW, original=ORIGINAL, tied=True)
QUANTIZABLE = replace(EVERYTHING, hidden=256, inner=256, rotary=48)


def tensors_of(tiny: Tiny) -> Tensors:
    """Weights by GGUF name, large enough for attention to be far from uniform."""
    rng = np.random.default_rng(tiny.seed)

    def matrix(*shape: int) -> npt.NDArray[np.float32]:
        return (rng.standard_normal(shape) * 2 / math.sqrt(shape[-1])).astype(np.float32)

    def norm() -> npt.NDArray[np.float32]:
        return rng.uniform(0.5, 1.5, tiny.hidden).astype(np.float32)

    hidden = tiny.hidden
    tensors = {"token_embd.weight": matrix(tiny.vocab, hidden)}
    for i in range(tiny.layers):
        layer = {
            "attn_norm": norm(),
            "attn_qkv": matrix((tiny.heads + 2 * tiny.kv_heads) * tiny.head_dim, hidden),
            "attn_output": matrix(hidden, hidden),
            "ffn_norm": norm(),
            "ffn_up": matrix(2 * tiny.inner, hidden),
            "ffn_down": matrix(hidden, tiny.inner),
        }
        tensors |= {f"blk.{i}.{name}.weight": tensor for name, tensor in layer.items()}
    tensors["output_norm.weight"] = norm()
    if not tiny.tied:
        tensors["output.weight"] = matrix(tiny.vocab, hidden)
    if tiny.original:
        pairs = tiny.rotary // 2
        tensors["rope_factors_short.weight"] = rng.uniform(1, 1.3, pairs).astype(np.float32)
        tensors["rope_factors_long.weight"] = rng.uniform(1, 8, pairs).astype(np.float32)
    return tensors


def metadata_of(tiny: Tiny) -> dict[str, MetadataValue]:
    values = {
        "context_length": u32(tiny.context),
        "embedding_length": u32(tiny.hidden),
        "feed_forward_length": u32(tiny.inner),
        "block_count": u32(tiny.layers),
        "attention.head_count": u32(tiny.heads),
        "attention.head_count_kv": u32(tiny.kv_heads),
        "attention.layer_norm_rms_epsilon": f32(1e-5),
        "attention.sliding_window": u32(tiny.window),
        "rope.dimension_count": u32(tiny.rotary),
        "rope.freq_base": f32(10000.0),
    }
    if tiny.original:
        values["rope.scaling.original_context_length"] = u32(tiny.original)
        values["rope.scaling.attn_factor"] = f32(tiny.attention_factor)
    phi3 = {f"phi3.{key}": value for key, value in values.items()}
    return {"general.architecture": string("phi3"), **phi3}


def write_tiny(
    path: Path,
    tiny: Tiny = PLAIN,
    *,
    type: str = "F32",
    metadata: Mapping[str, MetadataValue | None] | None = None,
    tensors: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model; `metadata` and `tensors` replace or, where None, remove entries."""
    entries = {**metadata_of(tiny), **(metadata or {})}
    weights = {**tensors_of(tiny), **(tensors or {})}
    weights = {name: weight for name, weight in weights.items() if weight is not None}
    types = {name: type if weight.ndim == 2 else "F32" for name, weight in weights.items()}
    specs = [
        TensorSpec(name, weight.shape, tensor_type(types[name])) for name, weight in weights.items()
    ]
    kept = {key: value for key, value in entries.items() if value is not None}
    data = [quantize(weight, types[name]) for name, weight in weights.items()]
    path.write_bytes(gguf_content(kept, specs, data))
    return path
