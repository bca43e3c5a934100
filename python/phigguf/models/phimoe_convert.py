"""Phi-3.5-MoE in GGUF's terms: Phi-3's hyper-parameters, biases, and experts stacked by kind.

Covers ``PhiMoEForCausalLM`` checkpoints, as published, and ``PhimoeForCausalLM``, the name of the
class in `transformers`. Keys and names are llama.cpp's; defaults are those of ``PhimoeConfig``.
LongRoPE's attention factor is what the configuration calls ``short_mscale`` and ``long_mscale``,
where llama.cpp's converter computes one from the lengths as for Phi-3.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import UnsupportedError
from ..io.gguf_format import u32
from .conversion import ConfigReader, Conversion, TensorSource
from .phi3_convert import RopeSettings, factor_tensors, hyperparameters, read_rope
from .phimoe import ARCHITECTURE, CHOICES, JITTER
from .refusals import refuse_flags
from .sizes import Sizes, check_activation, read_sizes

_DEFAULTS = {"max_position_embeddings": 131072, "sliding_window": 0}


def conversion(config: ConfigReader) -> Conversion:
    """Describe the conversion of a checkpoint with this configuration.

    Raises
    ------
    CheckpointError
        A field is missing, of the wrong type or out of range.
    UnsupportedError
        A setting is none that GGUF's Phi-3.5-MoE has.
    """
    given = {key: value for key, value in config.config.items() if value is not None}
    config = ConfigReader({**_DEFAULTS, **given}, config.file)
    check_activation(config, "silu", "swish")
    refuse_flags(config, "mlp_bias", "qk_layernorm")
    _check_fixed(config)
    sizes = read_sizes(config)
    rope = _read_rope(config, sizes)
    experts = config.count("num_local_experts", 16, at_least=CHOICES)
    metadata = {
        **hyperparameters(ARCHITECTURE, config, sizes, rope),
        f"{ARCHITECTURE}.expert_used_count": u32(CHOICES),
        f"{ARCHITECTURE}.expert_count": u32(experts),
    }
    return Conversion(
        architecture=ARCHITECTURE,
        metadata=metadata,
        tensors=_tensors(sizes, experts),
        generated=factor_tensors(rope),
    )


def _check_fixed(config: ConfigReader) -> None:
    """Refuse settings for which GGUF has no key, unless they are those of Phi-3.5-MoE."""
    fixed = {
        "num_experts_per_tok": (config.count("num_experts_per_tok", CHOICES), CHOICES),
        "router_jitter_noise": (config.real("router_jitter_noise", JITTER), JITTER),
        "attention_bias": (config.flag("attention_bias", False), True),
        "lm_head_bias": (config.flag("lm_head_bias", False), True),
        "tie_word_embeddings": (config.flag("tie_word_embeddings", False), False),
    }
    for field, (value, wanted) in fixed.items():
        if value != wanted:
            raise UnsupportedError(
                f"only {wanted} is supported for Phi-3.5-MoE",
                file=config.file,
                field=field,
                value=value,
            )


def _read_rope(config: ConfigReader, sizes: Sizes) -> RopeSettings:
    rope = read_rope(config, sizes, "longrope", theta=1e6)
    if rope.dims != sizes.head_dim:
        raise UnsupportedError(
            "only whole heads are rotated in Phi-3.5-MoE",
            file=config.file,
            field="partial_rotary_factor",
            value=rope.dims / sizes.head_dim,
        )
    scaling = config.section("rope_parameters", "rope_scaling")
    if rope.long_factors is None or scaling is None:
        return rope
    short, long = scaling.real("short_mscale"), scaling.real("long_mscale")
    if short != long:
        raise UnsupportedError(
            f"GGUF has one attention factor, and short_mscale is {short}",
            file=config.file,
            field=f"{scaling.prefix}long_mscale",
            value=long,
        )
    return replace(rope, attention_factor=long)


def _tensors(sizes: Sizes, experts: int) -> dict[str, TensorSource]:
    hidden, kv_rows = sizes.hidden, sizes.kv_heads * sizes.head_dim
    biased = {
        "output_norm": ("model.norm", (hidden,)),
        "output": ("lm_head", (sizes.vocab, hidden)),
    }
    tensors = {
        "token_embd.weight": TensorSource(("model.embed_tokens.weight",), (sizes.vocab, hidden))
    }
    for layer in range(sizes.layers):
        ours, theirs = f"blk.{layer}", f"model.layers.{layer}"
        biased |= {
            f"{ours}.attn_norm": (f"{theirs}.input_layernorm", (hidden,)),
            f"{ours}.attn_q": (f"{theirs}.self_attn.q_proj", (hidden, hidden)),
            f"{ours}.attn_k": (f"{theirs}.self_attn.k_proj", (kv_rows, hidden)),
            f"{ours}.attn_v": (f"{theirs}.self_attn.v_proj", (kv_rows, hidden)),
            f"{ours}.attn_output": (f"{theirs}.self_attn.o_proj", (hidden, hidden)),
            f"{ours}.ffn_norm": (f"{theirs}.post_attention_layernorm", (hidden,)),
        }
        tensors |= _expert_tensors(ours, f"{theirs}.block_sparse_moe", sizes, experts)
    for our_name, (their_name, shape) in biased.items():
        tensors[f"{our_name}.weight"] = TensorSource((f"{their_name}.weight",), shape)
        tensors[f"{our_name}.bias"] = TensorSource((f"{their_name}.bias",), shape[:1])
    return tensors


def _expert_tensors(ours: str, theirs: str, sizes: Sizes, count: int) -> dict[str, TensorSource]:
    hidden, inner = sizes.hidden, sizes.intermediate
    kinds = {
        "gate": ("w1", inner, hidden),
        "down": ("w2", hidden, inner),
        "up": ("w3", inner, hidden),
    }
    stacked = {
        f"{ours}.ffn_{kind}_exps.weight": TensorSource(
            tuple(f"{theirs}.experts.{i}.{name}.weight" for i in range(count)), (rows, cols)
        )
        for kind, (name, rows, cols) in kinds.items()
    }
    router = TensorSource((f"{theirs}.gate.weight",), (count, hidden))
    return {f"{ours}.ffn_gate_inp.weight": router, **stacked}
