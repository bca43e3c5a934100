"""The tool that makes checkpoints in true geometry makes ones that convert and run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_synthetic_checkpoint import GEOMETRIES, write_checkpoint

import phigguf


@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_geometry_made_small(name: str, tmp_path: Path) -> None:
    geometry = replace(
        GEOMETRIES[name],
        vocab_size=512,
        hidden_size=256 if name == "tiny" else GEOMETRIES[name].num_attention_heads * 16,
        intermediate_size=256,
        num_hidden_layers=1,
    )
    write_checkpoint(tmp_path, geometry)
    recipe = "Q8_0" if geometry.hidden_size % 256 else "Q4_K_M"
    phigguf.convert(tmp_path, tmp_path / "model.gguf", recipe, progress=False)
    model = phigguf.load(tmp_path / "model.gguf")
    assert model.network.shape.window == (geometry.sliding_window or 0)
    assert model.network.rope.original_context == geometry.original_max_position_embeddings
    answers = model.generate(["abc", "a b c d"], max_tokens=3, temperature=0)
    assert [len(answer.token_ids) for answer in answers] == [3, 3]
    assert np.isfinite(model.logits([3, 4, 5])).all()
