"""Small Phi-3 checkpoints and importance matrices, the same in every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from make_synthetic_checkpoint import Geometry, write_checkpoint

from phigguf.io.gguf import read_gguf
from phigguf.io.imatrix import Imatrix

# Recipes look at depth and at how many query heads share a key-value head.
GEOMETRIES = {
    f"{layers} layers, {heads // kv_heads} per kv": Geometry(
        vocab_size=512,
        hidden_size=256,
        intermediate_size=256,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
    )
    for layers in (1, 2, 4, 8, 15, 32, 40)
    for heads, kv_heads in ((4, 4), (8, 2))
}
GEOMETRIES["2 layers, tied"] = Geometry(512, 256, 256, 2, 4, 4, tie_word_embeddings=True)

# For the recipes' answer to single types: blk.1.ffn_down matches twice, and a tensor that is named
# here does not count as one of its kind, so that the next one takes its place in a rule.
OVERRIDDEN = "8 layers, 1 per kv"
OVERRIDES = ((r"blk\.[01]\.(attn_qkv|ffn_down)", "Q8_0"), (r"blk\.1\.|blk\.7\.ffn_up", "Q5_1"))

# Whose tensors are compared byte by byte, not only by type.
HASHED = ("2 layers, 4 per kv", "2 layers, tied")


def checkpoint(directory: Path, case: str, dtype: str = "BF16") -> Path:
    """Write the checkpoint of a case and return its directory."""
    write_checkpoint(directory, GEOMETRIES[case], dtype=dtype, seed=len(case))
    return directory


def imatrix_for(gguf: Path) -> Imatrix:
    """Make up importances for every matrix of a file that a calibration would cover."""
    rng = np.random.default_rng(7)
    with read_gguf(gguf) as file:
        entries = {
            name: rng.chisquare(1, (1, tensor.shape[-1])).astype(np.float32)
            for name, tensor in sorted(file.tensors.items())
            if len(tensor.shape) == 2 and name != "token_embd.weight"
        }
    return Imatrix(Path("calibration.dat"), entries, ["calibration.txt"], 12)
