"""Small checkpoints and importance matrices, the same in every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from make_synthetic_checkpoint import Geometry, config, write_checkpoint

from phigguf.io.gguf import read_gguf
from phigguf.io.imatrix import Imatrix
from tiny_checkpoints import CASES, LARGE, write_tiny_checkpoint

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

# Of other architectures: a depth at which every rule on layers shows, and one to compare bytes at.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "phi2, 9 layers": ("phi2", {**LARGE, "num_hidden_layers": 9}),
    "phi2, 4 layers, 4 per kv": (
        "phi2",
        {**LARGE, "num_hidden_layers": 4, "num_key_value_heads": 1},
    ),
    "phi2, 2 layers": ("phi2", {**LARGE, "num_hidden_layers": 2}),
    "phimoe, 9 layers": ("phimoe", {**LARGE, "num_hidden_layers": 9}),
    "phimoe, 2 layers": ("phimoe", {**LARGE, "num_hidden_layers": 2}),
}

# For the recipes' answer to single types: blk.1.ffn_down matches twice, and a tensor that is named
# here does not count as one of its kind, so that the next one takes its place in a rule.
OVERRIDDEN = "8 layers, 1 per kv"
OVERRIDES = ((r"blk\.[01]\.(attn_qkv|ffn_down)", "Q8_0"), (r"blk\.1\.|blk\.7\.ffn_up", "Q5_1"))

# Whose tensors are compared byte by byte, not only by type.
HASHED = ("2 layers, 4 per kv", "2 layers, tied", "phi2, 2 layers", "phimoe, 2 layers")


def checkpoint(directory: Path, case: str, dtype: str = "BF16") -> Path:
    """Write the checkpoint of a case and return its directory."""
    if case in OTHERS:
        name, changes = OTHERS[case]
        return write_tiny_checkpoint(directory, name, **changes)
    write_checkpoint(directory, GEOMETRIES[case], dtype=dtype, seed=len(case))
    return directory


def config_of(case: str) -> dict[str, Any]:
    """Return a case's ``config.json``."""
    if case not in OTHERS:
        return config(GEOMETRIES[case])
    name, changes = OTHERS[case]
    architecture, settings = CASES[name]
    return {**architecture.config, **settings, **changes}


def imatrix_for(gguf: Path) -> Imatrix:
    """Make up importances for every matrix of a file that a calibration would cover.

    Each expert has its own.
    """
    rng = np.random.default_rng(7)
    with read_gguf(gguf) as file:
        entries = {
            name: np.atleast_2d(rng.chisquare(1, (*tensor.shape[:-2], tensor.shape[-1])))
            for name, tensor in sorted(file.tensors.items())
            if len(tensor.shape) >= 2 and name != "token_embd.weight"
        }
    entries = {name: values.astype(np.float32) for name, values in entries.items()}
    return Imatrix(Path("calibration.dat"), entries, ["calibration.txt"], 12)
