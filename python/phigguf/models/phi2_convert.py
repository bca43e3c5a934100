"""Phi-1, Phi-1.5 and Phi-2 in GGUF's terms: tensor names and hyper-parameter keys.

Covers every checkpoint of class ``PhiForCausalLM``. Keys and names are llama.cpp's; defaults are
those of `transformers`' ``PhiConfig``.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..io.gguf_format import MetadataValue, boolean, f32, u32
from .conversion import ConfigReader, Conversion, TensorSource
from .refusals import refuse_flags, refuse_present
from .rope_config import read_rope_config
from .sizes import Sizes, check_activation, read_sizes

ARCHITECTURE = "phi2"

_THETA = 10000.0  # what readers of a "phi2" file assume

_Shapes = tuple[str, str, tuple[int, ...]]  # GGUF's name, the checkpoint's name, the weight's shape


def conversion(config: ConfigReader) -> Conversion:
    """Describe the conversion of a checkpoint with this configuration.

    Raises
    ------
    CheckpointError
        A field is missing, of the wrong type or out of range.
    UnsupportedError
        The activation, a norm, the rotary embedding or the head size is none that GGUF's Phi-2 has.
    """
    check_activation(config, "gelu_new", "gelu_pytorch_tanh")
    refuse_flags(config, "qk_layernorm")
    refuse_present(config, "rms_norm_eps", "only layer norms are supported for Phi-2")
    sizes = read_sizes(config)
    tied = config.flag("tie_word_embeddings", False)
    tensors = {
        f"{ours}.{kind}": TensorSource(
            (f"{theirs}.{kind}",), shape if kind == "weight" else shape[:1]
        )
        for ours, theirs, shape in _biased(sizes)
        for kind in ("weight", "bias")
    }
    embedding = TensorSource(("model.embed_tokens.weight",), (sizes.vocab, sizes.hidden))
    tensors["token_embd.weight"] = embedding
    if tied:  # readers of a "phi2" file want an output weight in any case
        tensors["output.weight"] = embedding
    return Conversion(
        architecture=ARCHITECTURE,
        metadata=_metadata(config, sizes),
        tensors=tensors,
        generated={},
        repeats={"lm_head.weight": "model.embed_tokens.weight"} if tied else {},
    )


def _metadata(config: ConfigReader, sizes: Sizes) -> dict[str, MetadataValue]:
    rope = read_rope_config(config, sizes, theta=_THETA, fraction=0.5)
    values = {
        "context_length": u32(config.count("max_position_embeddings", 2048)),
        "embedding_length": u32(sizes.hidden),
        "feed_forward_length": u32(sizes.intermediate),
        "block_count": u32(sizes.layers),
        "attention.head_count": u32(sizes.heads),
        "attention.head_count_kv": u32(sizes.kv_heads),
        "attention.layer_norm_epsilon": f32(config.real("layer_norm_eps", 1e-5)),
        "rope.dimension_count": u32(rope.dims),
    }
    if rope.theta != _THETA:
        values["rope.freq_base"] = f32(rope.theta)
    prefixed = {f"{ARCHITECTURE}.{key}": value for key, value in values.items()}
    return {**prefixed, "tokenizer.ggml.add_bos_token": boolean(False)}


def _biased(sizes: Sizes) -> Iterator[_Shapes]:
    """Yield everything that has a weight and a bias."""
    hidden, inner, kv_rows = sizes.hidden, sizes.intermediate, sizes.kv_heads * sizes.head_dim
    yield "output_norm", "model.final_layernorm", (hidden,)
    yield "output", "lm_head", (sizes.vocab, hidden)
    for layer in range(sizes.layers):
        ours, theirs = f"blk.{layer}", f"model.layers.{layer}"
        yield f"{ours}.attn_norm", f"{theirs}.input_layernorm", (hidden,)
        yield f"{ours}.attn_q", f"{theirs}.self_attn.q_proj", (hidden, hidden)
        yield f"{ours}.attn_k", f"{theirs}.self_attn.k_proj", (kv_rows, hidden)
        yield f"{ours}.attn_v", f"{theirs}.self_attn.v_proj", (kv_rows, hidden)
        yield f"{ours}.attn_output", f"{theirs}.self_attn.dense", (hidden, hidden)
        yield f"{ours}.ffn_up", f"{theirs}.mlp.fc1", (inner, hidden)
        yield f"{ours}.ffn_down", f"{theirs}.mlp.fc2", (hidden, inner)
