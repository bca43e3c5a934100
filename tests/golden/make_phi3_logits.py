"""Write phi3_logits.json: the last token's logits of tiny Phi-3 models, by `transformers`.

    python tests/golden/make_phi3_logits.py

Needs torch and transformers. Weights are those of tests/tiny_phi3.py; everything is computed in
float64 but for what `transformers` does in float32 of its own accord.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import Phi3Config, Phi3ForCausalLM

sys.path.insert(0, str(Path(__file__).parents[1]))

from models.phi3_cases import CASES, LENGTHS, tokens_of
from tiny_phi3 import Tiny, tensors_of

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_up": "mlp.gate_up_proj",
    "ffn_down": "mlp.down_proj",
}


def their_name(name: str) -> str:
    """Translate a GGUF tensor's name."""
    parts = name.removesuffix(".weight").split(".")
    prefix = f"model.layers.{parts[1]}." if parts[0] == "blk" else ""
    return f"{prefix}{NAMES[parts[-1]]}.weight"


def model_of(tiny: Tiny) -> Phi3ForCausalLM:
    """Build the model with the tiny model's weights."""
    tensors = {name: torch.from_numpy(value) for name, value in tensors_of(tiny).items()}
    factors = {
        f"{kind}_factor": tensors.pop(f"rope_factors_{kind}.weight").tolist()
        for kind in ("short", "long")
        if tiny.original
    }
    original = tiny.original or tiny.context
    config = Phi3Config(
        vocab_size=tiny.vocab,
        hidden_size=tiny.hidden,
        intermediate_size=tiny.inner,
        num_hidden_layers=tiny.layers,
        num_attention_heads=tiny.heads,
        num_key_value_heads=tiny.kv_heads,
        max_position_embeddings=tiny.context,
        original_max_position_embeddings=original,
        sliding_window=tiny.window or None,
        tie_word_embeddings=tiny.tied,
        rms_norm_eps=1e-5,
        rope_parameters={
            "rope_type": "longrope" if tiny.original else "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": tiny.rotary / tiny.head_dim,
            **({"original_max_position_embeddings": original} if factors else {}),
            **factors,
        },
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        attn_implementation="eager",
    )
    model = Phi3ForCausalLM(config).eval()
    missing, unexpected = model.load_state_dict(
        {their_name(name): tensor for name, tensor in tensors.items()}, strict=False
    )
    assert not unexpected
    assert missing == (["lm_head.weight"] if tiny.tied else [])
    return model.double()


def main() -> None:
    """Write the file."""
    logits = {}
    for name, tiny in CASES.items():
        model = model_of(tiny)
        with torch.no_grad():
            logits[name] = {
                length: model(torch.tensor([tokens_of(length)])).logits[0, -1].tolist()
                for length in LENGTHS
            }
    path = Path(__file__).with_name("phi3_logits.json")
    rounded = json.loads(json.dumps(logits), parse_float=lambda text: round(float(text), 7))
    path.write_text(json.dumps(rounded, separators=(",", ":")).replace("]", "]\n") + "\n")


if __name__ == "__main__":
    main()
