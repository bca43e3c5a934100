"""Hugging Face checkpoints of a few thousand random weights, for every Phi text model."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from checkpoint_shapes import Shapes, phi2_shapes, phi3_shapes, phimoe_shapes
from safetensors.numpy import save_file

VOCABULARIES = Path(__file__).parent / "golden" / "vocabulary"

Config = dict[str, Any]


@dataclass(frozen=True)
class Architecture:
    """What a checkpoint of an architecture consists of."""

    vocabulary: str
    config: Config
    shapes: Callable[[Config], Shapes]


PHI2 = Architecture(
    vocabulary="gpt2_split",
    config={
        "architectures": ["PhiForCausalLM"],
        "model_type": "phi",
        "vocab_size": 340,
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128,
        "partial_rotary_factor": 0.5,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-5,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    shapes=phi2_shapes,
)

WINDOW, ORIGINAL = 13, 40

PHIMOE = Architecture(
    vocabulary="phi3",
    config={
        "architectures": ["PhiMoEForCausalLM"],
        "model_type": "phimoe",
        "vocab_size": 448,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_local_experts": 5,
        "num_experts_per_tok": 2,
        "router_jitter_noise": 0.01,
        "max_position_embeddings": 128,
        "sliding_window": None,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": True,
        "lm_head_bias": True,
        "bos_token_id": 1,
        "eos_token_id": 420,
        "pad_token_id": 420,
    },
    shapes=phimoe_shapes,
)


PHI3 = Architecture(
    vocabulary="phi3",
    config={
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "vocab_size": 448,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128,
        "original_max_position_embeddings": 128,
        "sliding_window": None,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "bos_token_id": 1,
        "eos_token_id": 420,
        "pad_token_id": 420,
    },
    shapes=phi3_shapes,
)
PHI4 = replace(
    PHI3,
    vocabulary="byte_level",
    config={
        **PHI3.config,
        "vocab_size": 340,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "rope_theta": 250000.0,
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0),
    },
)


def factors(pairs: int) -> Config:
    """LongRoPE's factors."""
    rng = np.random.default_rng(pairs)
    return {
        "short_factor": rng.uniform(1, 1.3, pairs).tolist(),
        "long_factor": rng.uniform(1, 8, pairs).tolist(),
    }


def long_rope(pairs: int, kind: str = "longrope", original: int = ORIGINAL) -> Config:
    """LongRoPE settings as the models were published with them."""
    return {
        "original_max_position_embeddings": original,
        "rope_scaling": {
            "type": kind,
            **factors(pairs),
            "original_max_position_embeddings": original,
        },
    }


def long_rope_with_scales(pairs: int) -> Config:
    """LongRoPE settings as Phi-3.5-MoE has them."""
    settings = long_rope(pairs)
    settings["rope_scaling"] |= {"short_mscale": 1.25, "long_mscale": 1.25}
    return settings


def long_rope_of_transformers_5(pairs: int, theta: float, fraction: float) -> Config:
    """LongRoPE settings in the layout of `transformers` 5."""
    return {
        "original_max_position_embeddings": ORIGINAL,
        "rope_theta": None,
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": theta,
            "partial_rotary_factor": fraction,
            "original_max_position_embeddings": ORIGINAL,
            **factors(pairs),
        },
    }


LARGE = {"hidden_size": 256, "intermediate_size": 512}  # rows that every type's block divides

PHI4_MINI = {
    "hidden_size": 96,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.75,
    "tie_word_embeddings": True,
    "sliding_window": 262144,
}

# Phi-1 and Phi-1.5 are "phi2", Phi-3.5-MoE is "phimoe with LongRoPE".
CASES: dict[str, tuple[Architecture, Config]] = {
    "Phi-3-mini-4k": (PHI3, {"sliding_window": WINDOW}),
    "Phi-3-mini-4k at its true window": (
        PHI3,
        {
            "sliding_window": 2047,
            "max_position_embeddings": 4096,
            "original_max_position_embeddings": 4096,
        },
    ),
    "Phi-3-mini-128k": (PHI3, {**long_rope(8, "su"), "sliding_window": 262144}),
    "Phi-3.5-mini": (PHI3, long_rope_of_transformers_5(8, 10000.0, 1.0)),
    "Phi-3-medium-4k": (
        PHI3,
        {"num_attention_heads": 8, "num_key_value_heads": 2, "sliding_window": WINDOW},
    ),
    "Phi-3-medium-128k": (
        PHI3,
        {**long_rope(4), "num_attention_heads": 8, "num_key_value_heads": 2},
    ),
    "Phi-4": (PHI4, {}),
    "Phi-4-mini": (PHI4, {**PHI4_MINI, **long_rope(6)}),
    "Phi-4-mini at its true length": (
        PHI4,
        {**PHI4_MINI, **long_rope(6, original=4096), "max_position_embeddings": 131072},
    ),
    "phi3 with everything": (
        PHI4,
        {**PHI4_MINI, **long_rope_of_transformers_5(6, 500.0, 0.75), "sliding_window": WINDOW},
    ),
    "phi2": (PHI2, {}),
    "phi2 grouped-query": (PHI2, {"num_key_value_heads": 2}),
    "phi2 with Phi-2's heads": (
        PHI2,
        {"hidden_size": 160, "num_attention_heads": 2, "num_key_value_heads": 2}
        | {"partial_rotary_factor": 0.4},
    ),
    "phi2 tied": (PHI2, {"tie_word_embeddings": True}),
    "phi2 with another theta": (
        PHI2,
        {
            "partial_rotary_factor": None,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 500.0,
                "partial_rotary_factor": 0.75,
            },
        },
    ),
    "phimoe": (PHIMOE, {}),
    "phimoe with a sliding window": (PHIMOE, {"sliding_window": WINDOW}),
    "phimoe with LongRoPE": (PHIMOE, long_rope_with_scales(8)),
    "phimoe large": (PHIMOE, {**LARGE, **long_rope_with_scales(32), "num_local_experts": 16}),
    "phi2 large": (PHI2, {**LARGE, "num_key_value_heads": 2}),
}

LENGTHS = [1, WINDOW - 1, WINDOW, WINDOW + 1, ORIGINAL - 1, ORIGINAL, ORIGINAL + 1, 2 * ORIGINAL]
KEPT = slice(None, None, 7)  # of the logits, in golden values
TRUE_LENGTHS = {
    "Phi-3-mini-4k at its true window": [2046, 2047, 2048, 4096],
    "Phi-4-mini at its true length": [4095, 4096, 4097, 8192],
}


def lengths_of(case: str) -> list[int]:
    """Lengths where a case could go wrong."""
    return TRUE_LENGTHS.get(case, LENGTHS)


def write_tiny_checkpoint(directory: Path, case: str, **changes: Any) -> Path:
    """Write a case's checkpoint and return its directory; a changed field that is None is left out."""
    architecture, config = CASES[case]
    fields = {**architecture.config, **config, **changes}
    config = {key: value for key, value in fields.items() if value is not None}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    write_vocabulary(directory, architecture.vocabulary)
    rng = np.random.default_rng(len(case))
    tensors = {name: _random(rng, name, shape) for name, shape in architecture.shapes(config)}
    if config.get("tie_word_embeddings"):
        del tensors["lm_head.weight"]
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def _random(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Weights large enough for attention to be far from uniform, that bfloat16 can hold."""
    if name.endswith("norm.weight"):
        values = rng.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        values = rng.normal(0, 0.5, shape)
    else:
        values = rng.standard_normal(shape) * 2 / math.sqrt(shape[-1])
    return (values.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)


def write_vocabulary(directory: Path, name: str) -> None:
    """Copy tokenizer files, or make those of GPT-2's way to split text."""
    source = "byte_level" if name == "gpt2_split" else name
    for file in (VOCABULARIES / source).glob("*token*"):
        shutil.copy(file, directory)
    if name == "gpt2_split":
        path = directory / "tokenizer.json"
        tokenizer = json.loads(path.read_text(encoding="utf-8"))
        tokenizer["pre_tokenizer"] = {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        }
        path.write_text(json.dumps(tokenizer), encoding="utf-8")


def tokens_of(length: int) -> list[int]:
    """A sequence of its own for each length."""
    return np.random.default_rng(length).integers(3, 340, length).tolist()
