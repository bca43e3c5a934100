"""Names and shapes of the tensors in Hugging Face checkpoints, by architecture.

Each function takes the sizes from ``config.json`` and yields the output weight also where it is tied
to the embedding; such checkpoints leave it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Config = Mapping[str, Any]
Shapes = Iterator[tuple[str, tuple[int, ...]]]


def phi2_shapes(config: Config) -> Shapes:
    """Yield the tensors of Phi-1, Phi-1.5 and Phi-2."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    kv = config["num_key_value_heads"] * hidden // config["num_attention_heads"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        yield from _biased(f"{layer}.input_layernorm", hidden)
        yield from _biased(f"{layer}.self_attn.q_proj", hidden, hidden)
        yield from _biased(f"{layer}.self_attn.k_proj", kv, hidden)
        yield from _biased(f"{layer}.self_attn.v_proj", kv, hidden)
        yield from _biased(f"{layer}.self_attn.dense", hidden, hidden)
        yield from _biased(f"{layer}.mlp.fc1", inner, hidden)
        yield from _biased(f"{layer}.mlp.fc2", hidden, inner)
    yield from _biased("model.final_layernorm", hidden)
    yield from _biased("lm_head", config["vocab_size"], hidden)


def phi3_shapes(config: Config) -> Shapes:
    """Yield the tensors of Phi-3, Phi-3.5, Phi-4 and Phi-4-mini."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    kv = config["num_key_value_heads"] * hidden // config["num_attention_heads"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        yield f"{layer}.input_layernorm.weight", (hidden,)
        yield f"{layer}.self_attn.qkv_proj.weight", (hidden + 2 * kv, hidden)
        yield f"{layer}.self_attn.o_proj.weight", (hidden, hidden)
        yield f"{layer}.post_attention_layernorm.weight", (hidden,)
        yield f"{layer}.mlp.gate_up_proj.weight", (2 * inner, hidden)
        yield f"{layer}.mlp.down_proj.weight", (hidden, inner)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (config["vocab_size"], hidden)


def phimoe_shapes(config: Config) -> Shapes:
    """Yield the tensors of Phi-3.5-MoE."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    kv = config["num_key_value_heads"] * hidden // config["num_attention_heads"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        yield from _biased(f"{layer}.input_layernorm", hidden)
        yield from _biased(f"{layer}.self_attn.q_proj", hidden, hidden)
        yield from _biased(f"{layer}.self_attn.k_proj", kv, hidden)
        yield from _biased(f"{layer}.self_attn.v_proj", kv, hidden)
        yield from _biased(f"{layer}.self_attn.o_proj", hidden, hidden)
        yield from _biased(f"{layer}.post_attention_layernorm", hidden)
        yield f"{layer}.block_sparse_moe.gate.weight", (config["num_local_experts"], hidden)
        for expert in range(config["num_local_experts"]):
            weights = f"{layer}.block_sparse_moe.experts.{expert}"
            yield f"{weights}.w1.weight", (inner, hidden)
            yield f"{weights}.w2.weight", (hidden, inner)
            yield f"{weights}.w3.weight", (inner, hidden)
    yield from _biased("model.norm", hidden)
    yield from _biased("lm_head", config["vocab_size"], hidden)


def _biased(name: str, *shape: int) -> Shapes:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
