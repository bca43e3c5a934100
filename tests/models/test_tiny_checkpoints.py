"""From checkpoint to logits, for every Phi text model: the numbers of `transformers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import phigguf
from conversion_cases import change_json
from gguf_files import gguf_content
from phigguf import _core
from phigguf.errors import CheckpointError, GGUFError, UnsupportedError
from phigguf.io.gguf import read_gguf
from phigguf.io.gguf_format import MetadataValue, f32, string, u32
from phigguf.io.gguf_layout import TensorSpec
from phigguf.io.imatrix import Imatrix
from phigguf.models.model import Model
from phigguf.types import tensor_type
from tiny_checkpoints import (
    CASES,
    KEPT,
    LENGTHS,
    ORIGINAL,
    lengths_of,
    tokens_of,
    write_tiny_checkpoint,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "tiny_logits.json").read_text())
NOISE = 1.5e-5  # of the logits' spread
QUANTIZABLE = [case for case in CASES if case.endswith("large")]


def identical(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def convert(directory: Path, case: str, **changes: Any) -> Path:
    write_tiny_checkpoint(directory, case)
    change_json(directory / "config.json", changes)
    phigguf.convert(directory, directory / "model.gguf", "F32", progress=False)
    return directory / "model.gguf"


def load(directory: Path, case: str, type_: str, **options: str) -> Model:
    write_tiny_checkpoint(directory, case)
    phigguf.convert(directory, directory / "model.gguf", type_, progress=False)
    return phigguf.load(directory / "model.gguf", **options)


@pytest.fixture(scope="module")
def model(case: str, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(tmp_path_factory.mktemp("tiny"), case, "F32", kv_type="F32")


@pytest.fixture(
    scope="module", params=[(case, type_) for case in QUANTIZABLE for type_ in ("F32", "Q4_K_M")]
)
def quantized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(tmp_path_factory.mktemp("tiny"), *request.param)


@pytest.mark.parametrize(
    ("case", "length"),
    [(case, length) for case in CASES for length in lengths_of(case)],
    scope="module",
)
def test_logits_are_those_of_transformers(case: str, model: Model, length: int) -> None:
    expected = np.array(GOLDEN[case][str(length)])
    logits = model.session().forward(tokens_of(length))[0, KEPT]
    assert np.abs(logits - expected).max() < NOISE * expected.std()


def test_pieces_do_not_show(quantized: Model) -> None:
    tokens = tokens_of(LENGTHS[-1])
    whole = quantized.logits(tokens)
    for pieces in ([1] * len(tokens), [19, 1, 60], [33, 47]):
        session, rows = quantized.session(), []
        for piece in pieces:
            rows.append(session.forward(tokens[len(session) :][:piece], last_only=False))
        # What came before LongRoPE's switch was rotated otherwise.
        kept = len(tokens) - (ORIGINAL if quantized.network.rope.is_long(len(tokens)) else 0)
        assert identical(np.concatenate(rows)[-kept:], whole[-kept:])


def test_instruction_sets_and_threads_do_not_show(quantized: Model) -> None:
    tokens = tokens_of(LENGTHS[-1])
    isa, threads, expected = _core.isa(), _core.num_threads(), quantized.logits(tokens)
    try:
        for name in _core.available_isas():
            _core.set_isa(name)
            for n in (1, 3):
                _core.set_num_threads(n)
                assert identical(quantized.logits(tokens), expected)
    finally:
        _core.set_isa(isa)
        _core.set_num_threads(threads)


# --- What cannot be honoured is refused by name ---


@pytest.mark.parametrize(
    ("case", "field", "value"),
    [
        ("phi2", "layer_norm_eps", 0),
        ("phi2", "partial_rotary_factor", 0.1),
        ("phi2", "partial_rotary_factor", 1.5),
        ("phi2", "num_key_value_heads", 3),
        ("phi2", "intermediate_size", "large"),
        ("phimoe", "num_local_experts", 1),
        ("phimoe", "rms_norm_eps", 0),
    ],
)
def test_configurations_that_are_wrong(tmp_path: Path, case: str, field: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=field):
        convert(tmp_path, case, **{field: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("phi2.rope.scaling.type", string("linear")),
        ("phi2.rope.scaling.factor", f32(2.0)),
        ("phi2.attention.sliding_window", u32(7)),
        ("phi2.rope.dimension_count", u32(7)),
        ("phi2.attention.layer_norm_epsilon", None),
        ("phimoe.expert_used_count", u32(3)),
        ("phimoe.expert_count", u32(1)),
        ("phimoe.expert_count", None),
        ("phimoe.rope.scaling.type", string("yarn")),
    ],
    ids=str,
)
def test_metadata_that_is_not_computed(tmp_path: Path, key: str, value: Any) -> None:
    path = rewritten(convert(tmp_path, key.partition(".")[0]), {key: value}, {})
    with pytest.raises((GGUFError, UnsupportedError), match=key):
        phigguf.load(path)


def rewritten(path: Path, metadata: dict[str, Any], tensors: dict[str, Any]) -> Path:
    """Write a changed F32 file beside another; entries that are None are left out."""
    with read_gguf(path) as file:
        entries = {
            key: MetadataValue(file.metadata_types[key], value)
            for key, value in file.metadata.items()
        }
        arrays = {name: t.data.view(np.float32) for name, t in file.tensors.items()} | tensors
        arrays = {name: array for name, array in arrays.items() if array is not None}
        specs = [TensorSpec(name, a.shape, tensor_type("F32")) for name, a in arrays.items()]
        changed = path.with_name("changed.gguf")
        kept = {key: value for key, value in (entries | metadata).items() if value is not None}
        changed.write_bytes(gguf_content(kept, specs, list(arrays.values())))
    return changed


def test_a_fused_projection_is_the_same_model(tmp_path: Path) -> None:
    """Older converters fuse the projections of queries, keys and values."""
    path = convert(tmp_path, "phi2 grouped-query")
    changes: dict[str, Any] = {}
    with read_gguf(path) as file:
        for layer in range(2):
            for kind in ("weight", "bias"):
                names = [f"blk.{layer}.attn_{part}.{kind}" for part in "qkv"]
                parts = [file.tensors[name].data.view(np.float32) for name in names]
                changes |= dict.fromkeys(names) | {
                    f"blk.{layer}.attn_qkv.{kind}": np.concatenate(parts)
                }
    fused, tokens = phigguf.load(rewritten(path, {}, changes)), tokens_of(19)
    assert identical(fused.logits(tokens), phigguf.load(path).logits(tokens))


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("phi2", "output.bias"),
        ("phi2", "blk.1.attn_v.bias"),
        ("phi2", "blk.0.ffn_up.weight"),
        ("phimoe", "blk.1.attn_norm.bias"),
        ("phimoe", "blk.0.ffn_gate_inp.weight"),
        ("phimoe", "blk.1.ffn_down_exps.weight"),
        ("phimoe with LongRoPE", "rope_factors_long.weight"),
    ],
)
def test_tensors_that_are_missing(tmp_path: Path, case: str, name: str) -> None:
    path = rewritten(convert(tmp_path, case), {}, {name: None})
    with pytest.raises(GGUFError, match=f"tensor {name}: the tensor is missing"):
        phigguf.load(path)


def test_a_missing_expert(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path, "phimoe")
    tensors = load_file(tmp_path / "model.safetensors")
    name = "model.layers.1.block_sparse_moe.experts.3.w2.weight"
    del tensors[name]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="the tensor is missing") as caught:
        phigguf.convert(tmp_path, tmp_path / "model.gguf", "F32", progress=False)
    assert caught.value.field == name


def test_two_attention_factors(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path, "phimoe with LongRoPE")
    config = json.loads((tmp_path / "config.json").read_text())
    scaling = {**config["rope_scaling"], "long_mscale": 1.5}
    change_json(tmp_path / "config.json", {"rope_scaling": scaling})
    with pytest.raises(
        UnsupportedError, match=r"rope_scaling\.long_mscale: .*short_mscale is 1.25"
    ):
        phigguf.convert(tmp_path, tmp_path / "model.gguf", "F32", progress=False)


def test_every_expert_follows_its_own_importance(tmp_path: Path) -> None:
    case, name = "phimoe large", "blk.0.ffn_down_exps.weight"
    write_tiny_checkpoint(tmp_path, case)
    rng = np.random.default_rng(3)
    importance = rng.chisquare(1, (16, 512)).astype(np.float32)
    imatrix = Imatrix(tmp_path / "calibration.dat", {name: importance}, [], 1)
    target = tmp_path / "model.gguf"
    phigguf.convert(tmp_path, target, "Q4_K", pure=True, imatrix=imatrix, progress=False)
    weights = load_file(tmp_path / "model.safetensors")
    with read_gguf(target) as file:
        for expert, columns in enumerate(importance):
            matrix = weights[f"model.layers.0.block_sparse_moe.experts.{expert}.w2.weight"]
            expected = phigguf.quantize(matrix, "Q4_K", imatrix=columns)
            assert identical(file.tensors[name].data[expert], expected)
