"""Checkpoints to GGUF: llama.cpp's metadata, types and bytes; nothing lost, nothing half done."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_synthetic_checkpoint import Geometry, write_checkpoint
from safetensors.numpy import load_file, save_file

from conversion_cases import CASES, change_json, write_case
from phigguf import _core, hf_to_gguf
from phigguf.errors import (
    CheckpointError,
    ImatrixError,
    InvalidArgument,
    OutputError,
    QuantizationError,
    ShapeError,
    UnsupportedError,
)
from phigguf.io.gguf import GGUFFile, read_gguf
from phigguf.io.gguf_format import ArrayOf
from phigguf.io.imatrix import Imatrix
from phigguf.io.safetensors import SafetensorsFile
from phigguf.recipes import STOCK_RECIPES
from phigguf.report import Report
from small_models import HASHED, checkpoint, imatrix_for

GOLDEN = Path(__file__).parent / "golden"
RECORDED = json.loads((GOLDEN / "conversion.json").read_text())
RECIPE_BYTES = json.loads((GOLDEN / "recipes.json").read_text())["sha256"]
NORMS = {"output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"}


def convert(source: Path, target: Path, type_: str = "BF16", **options: Any) -> Report:
    return hf_to_gguf.convert(source, target, type_, progress=False, **options)


def shortened_hash(data: np.ndarray) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A checkpoint that a test may change."""
    directory = tmp_path / "model"
    write_checkpoint(directory, Geometry(448, 256, 512, 1, 4, 4))
    return directory


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """Where to write; the test ends with nothing or that file there, and no temporary file."""
    folder = tmp_path / "output"
    folder.mkdir()
    yield folder / "model.gguf"
    assert {file.name for file in folder.iterdir()} <= {"model.gguf"}


# --- Equal to llama.cpp ---


@pytest.fixture(scope="module", params=CASES)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A checkpoint and what llama.cpp's converter made of it."""
    name = request.param
    return write_case(tmp_path_factory.mktemp("case"), name), RECORDED[name]


def test_metadata_is_what_llama_cpps_converter_writes(recorded: Any, target: Path) -> None:
    directory, golden = recorded
    convert(directory, target, "Q8_0")
    with read_gguf(target) as file:
        entries = {
            key: [type_name(file, key), value]
            for key, value in file.metadata.items()
            if not key.startswith(("tokenizer.", "phigguf."))
        }
    expected = {**golden["metadata"]}
    if "phimoe.rope.scaling.attn_factor" in expected:
        # llama.cpp computes one from the lengths; `transformers` takes long_mscale for it.
        expected["phimoe.rope.scaling.attn_factor"] = ["float32", 1.25]
    assert entries == expected


def type_name(file: GGUFFile, key: str) -> str:
    kind = file.metadata_types[key]
    return f"array of {kind.element}" if isinstance(kind, ArrayOf) else str(kind)


@pytest.mark.parametrize("type_", ["f32", "bf16", "f16", "q8_0"])
def test_tensors_are_what_llama_cpps_converter_writes(
    recorded: Any, type_: str, target: Path
) -> None:
    directory, golden = recorded
    convert(directory, target, type_)
    with read_gguf(target) as file:
        tensors = {
            name: [tensor.type.name, list(tensor.shape), shortened_hash(tensor.data)]
            for name, tensor in file.tensors.items()
        }
    assert tensors == golden["tensors"][type_]


@pytest.fixture(scope="module", params=HASHED)
def quantized_case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A checkpoint, its importance matrix, and hashes of what llama.cpp's quantizer made of it."""
    folder = tmp_path_factory.mktemp("case")
    directory = checkpoint(folder / "model", request.param)
    convert(directory, folder / "f32.gguf", "F32")
    return directory, imatrix_for(folder / "f32.gguf"), RECIPE_BYTES[request.param]


@pytest.mark.parametrize("guided", [False, True], ids=["plain", "imatrix"])
@pytest.mark.parametrize("recipe", STOCK_RECIPES)
def test_bytes_are_llama_cpps_quantizers(
    quantized_case: Any, recipe: str, guided: bool, target: Path
) -> None:
    directory, imatrix, golden = quantized_case
    if STOCK_RECIPES[recipe].needs_imatrix and not guided:
        with pytest.raises(
            InvalidArgument, match=r"blk\.0\.\w+\.weight: Q2_K in a Q2_K_S file needs"
        ):
            convert(directory, target, recipe)
        return
    convert(directory, target, recipe, imatrix=imatrix if guided else None)
    with read_gguf(target) as file:
        hashes = {name: shortened_hash(tensor.data) for name, tensor in file.tensors.items()}
    assert hashes == golden[f"{recipe} with imatrix" if guided else recipe]


# --- The checkpoint ---


def test_bfloat16_norms_become_float32(model: Path, target: Path) -> None:
    convert(model, target)
    with read_gguf(target) as file:
        types = {name: tensor.type.name for name, tensor in file.tensors.items()}
    assert {name for name, type_ in types.items() if type_ == "F32"} == NORMS
    assert {type_ for name, type_ in types.items() if name not in NORMS} == {"BF16"}


@pytest.mark.parametrize("dtype", ["F32", "F16"])
def test_other_element_types(tmp_path: Path, dtype: str, target: Path) -> None:
    write_checkpoint(tmp_path / "model", Geometry(448, 256, 512, 1, 4, 4), dtype=dtype)
    convert(tmp_path / "model", target, "F32")
    stored = load_file(tmp_path / "model" / "model.safetensors")
    with read_gguf(target) as file:
        values = file.tensors["blk.0.ffn_down.weight"].data.view(np.float32)
    np.testing.assert_array_equal(
        values, stored["model.layers.0.mlp.down_proj.weight"].astype(np.float32)
    )


@pytest.mark.parametrize("shift", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("type_", ["F32", "BF16", "Q4_K", "Q8_0"])
def test_weights_at_odd_addresses_give_the_same_file(
    tmp_path: Path, dtype: str, type_: str, shift: int
) -> None:
    directory = checkpoint(tmp_path / "model", "1 layers, 1 per kv", dtype=dtype)
    aligned, shifted = tmp_path / "aligned.gguf", tmp_path / "shifted.gguf"
    convert(directory, aligned, type_)
    path = directory / "model.safetensors"
    contents = path.read_bytes()
    length = int.from_bytes(contents[:8], "little")
    header = contents[8 : 8 + length] + b" " * shift  # which JSON passes over
    path.write_bytes(len(header).to_bytes(8, "little") + header + contents[8 + length :])
    tensors = SafetensorsFile(path).tensors.values()
    assert {tensor.data.ctypes.data % 4 for tensor in tensors} == {shift}
    convert(directory, shifted, type_)
    assert shifted.read_bytes() == aligned.read_bytes()


def test_shards_give_the_same_file(model: Path, tmp_path: Path, target: Path) -> None:
    sharded = tmp_path / "sharded" / "model"
    write_checkpoint(sharded, Geometry(448, 256, 512, 1, 4, 4), shard_bytes=400_000)
    assert len(list(sharded.glob("model-*.safetensors"))) > 2
    convert(model, tmp_path / "single.gguf", "Q4_K_M")
    convert(sharded, target, "Q4_K_M")
    assert target.read_bytes() == (tmp_path / "single.gguf").read_bytes()


def rewrite(directory: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Change the weights of a checkpoint, as float32."""
    weights = SafetensorsFile(directory / "model.safetensors").tensors
    values = {
        name: (w.data.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(w.shape)
        for name, w in weights.items()
    }
    change(values)
    save_file(values, directory / "model.safetensors")


def tie(directory: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    change_json(directory / "config.json", {"tie_word_embeddings": True})
    rewrite(directory, change)


def test_tied_output_that_repeats_the_embedding_is_not_written(model: Path, target: Path) -> None:
    def repeat(weights: dict[str, np.ndarray]) -> None:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].copy()

    tie(model, repeat)
    convert(model, target)
    with read_gguf(target) as file:
        assert "output.weight" not in file.tensors


def test_tied_output_that_differs_is_refused(model: Path, target: Path) -> None:
    tie(model, lambda weights: None)
    with pytest.raises(CheckpointError, match=r"lm_head\.weight: differs from .* tied to"):
        convert(model, target)


def test_stored_rotary_frequencies_are_ignored(model: Path, target: Path) -> None:
    def add(weights: dict[str, np.ndarray]) -> None:
        weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(32, np.float32)

    rewrite(model, add)
    assert len(convert(model, target).tensors) == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("model.norm.weight"), r"model\.norm\.weight: the tensor is missing"),
        (
            lambda w: w.update(bias=np.ones(2, np.float32)),
            r"bias: is no tensor of a Phi3ForCausalLM",
        ),
        (
            lambda w: w.update({"model.norm.weight": np.ones(255, np.float32)}),
            r"model\.safetensors: model\.norm\.weight: should have the shape \(256,\).*\(255,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_the_configuration(
    model: Path, target: Path, change: Any, message: str
) -> None:
    rewrite(model, change)
    with pytest.raises(CheckpointError, match=message):
        convert(model, target)


def test_unreadable_element_type(model: Path, target: Path) -> None:
    def store_integers(weights: dict[str, np.ndarray]) -> None:
        weights["model.norm.weight"] = np.ones(256, np.int8)

    rewrite(model, store_integers)
    with pytest.raises(UnsupportedError, match=r"model\.norm\.weight: only F32, F16.*'I8'"):
        convert(model, target)


LONG_ROPE = {
    "type": "longrope",
    "short_factor": [1.0] * 32,
    "long_factor": [2.0] * 32,
}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, UnsupportedError, r"architectures.*'LlamaFor"),
        ({"hidden_act": "gelu"}, UnsupportedError, r"hidden_act: unknown activation.*'gelu'"),
        (
            {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
            UnsupportedError,
            r"rope_scaling\.type: unknown rotary embedding.*'dynamic'",
        ),
        ({"head_dim": 96}, UnsupportedError, r"head_dim: only heads of .* = 64.*96"),
        ({"hidden_size": None}, CheckpointError, r"config\.json: hidden_size: is missing"),
        ({"hidden_size": 256.0}, CheckpointError, r"hidden_size: should be an integer.*256\.0"),
        ({"hidden_size": 258}, CheckpointError, r"hidden_size: should be a multiple of the 4"),
        ({"num_key_value_heads": 3}, CheckpointError, r"num_key_value_heads: should divide the 4"),
        ({"num_attention_heads": 0}, CheckpointError, r"num_attention_heads: should be an integer"),
        ({"num_hidden_layers": 10**6}, CheckpointError, r"num_hidden_layers: .*from 1 to 512"),
        ({"rms_norm_eps": math.nan}, CheckpointError, r"rms_norm_eps: should be a finite number"),
        ({"rms_norm_eps": -1e-5}, CheckpointError, r"rms_norm_eps: should be a finite number"),
        ({"rope_theta": math.inf}, CheckpointError, r"rope_theta: should be a finite number"),
        ({"tie_word_embeddings": 1}, CheckpointError, r"tie_word_embeddings: should be true or"),
        ({"partial_rotary_factor": 0.02}, CheckpointError, r"partial_rotary_factor: gives 1 of 64"),
        ({"partial_rotary_factor": 2.0}, CheckpointError, r"gives 128 of 64 dimensions"),
        ({"rope_scaling": [1]}, CheckpointError, r"rope_scaling: should be an object"),
        (
            {"rope_scaling": {**LONG_ROPE, "long_factor": [1.0] * 31}},
            CheckpointError,
            r"rope_scaling\.long_factor: should be a list of 32 numbers",
        ),
        (
            {"rope_scaling": {**LONG_ROPE, "short_factor": [0.0] * 32}},
            CheckpointError,
            r"rope_scaling\.short_factor: should hold finite numbers above zero",
        ),
        (
            {"original_max_position_embeddings": 1},
            CheckpointError,
            r"original_max_position_embeddings: should be an integer from 2",
        ),
    ],
)
def test_configurations_that_cannot_be_honoured(
    model: Path, target: Path, changes: Any, error: type[Exception], message: str
) -> None:
    change_json(model / "config.json", changes)
    with pytest.raises(error, match=message):
        convert(model, target)


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ({}, math.sqrt(1 + math.log(32) / math.log(4096))),
        ({"factor": 4.0}, math.sqrt(1 + math.log(4) / math.log(4096))),
        ({"attention_factor": 1.5}, 1.5),
        ({"factor": 0.5}, 1.0),
    ],
)
@pytest.mark.parametrize("kind", ["longrope", "su", "yarn"])
def test_attention_factor_is_transformers(
    model: Path, target: Path, kind: str, scaling: dict[str, float], expected: float
) -> None:
    changes = {
        "max_position_embeddings": 131072,
        "rope_scaling": {**LONG_ROPE, "type": kind, **scaling},
    }
    change_json(model / "config.json", changes)
    convert(model, target)
    with read_gguf(target) as file:
        assert file.metadata["phi3.rope.scaling.attn_factor"] == np.float32(expected)
        factors = file.tensors["rope_factors_long.weight"].data.view(np.float32)
    np.testing.assert_array_equal(factors, np.full(32, 2, np.float32))


def test_generation_defaults_of_the_wrong_type(model: Path, target: Path) -> None:
    change_json(model / "generation_config.json", {"top_k": "40"})
    with pytest.raises(CheckpointError, match=r"generation_config\.json: top_k: .*'40'"):
        convert(model, target)


def test_model_card_that_is_not_yaml(model: Path, target: Path) -> None:
    (model / "README.md").write_text("---\nlicense: [\n---\n")
    with pytest.raises(CheckpointError, match=r"README\.md: front matter is not YAML"):
        convert(model, target)


# --- Values ---


@pytest.mark.parametrize(
    ("type_", "value", "message"),
    [
        ("Q4_K_M", math.nan, r"only finite values.*got nan"),
        ("F32", math.inf, r"only finite values.*got inf"),
        ("F16", 65536.0, r"past the range of F16.*got 65536\.0"),
        ("Q8_0", 1e30, r"scale is past float16, which Q8_0"),
        ("Q4_K_S", 1e30, r"scale is past float16, which Q4_K"),
    ],
)
@pytest.mark.parametrize("row", [3, 250])
def test_a_value_that_cannot_be_stored_is_located(
    model: Path,
    target: Path,
    type_: str,
    value: float,
    message: str,
    row: int,
) -> None:
    def spoil(weights: dict[str, np.ndarray]) -> None:
        weights["model.layers.0.mlp.down_proj.weight"][row, 5] = value

    rewrite(model, spoil)
    place = rf"model\.safetensors: model\.layers\.0\.mlp\.down_proj\.weight, row {row}\b.*"
    with pytest.raises(QuantizationError, match=place + message):
        convert(model, target, type_)
    assert not target.exists()


def test_a_row_that_does_not_fit(tmp_path: Path, target: Path) -> None:
    write_checkpoint(tmp_path / "model", Geometry(448, 96, 128, 1, 4, 4))
    with pytest.raises(ShapeError, match=r"token_embd\.weight: rows do not fit Q4_K"):
        convert(tmp_path / "model", target, "Q4_K_M")
    report = convert(tmp_path / "model", target, "Q4_K_M", allow_fallback=True)
    notes = {tensor.name: (tensor.type, tensor.note) for tensor in report.tensors}
    assert notes["blk.0.attn_output.weight"] == ("Q5_0", "rows do not fit Q4_K")
    assert notes["output_norm.weight"] == ("F32", "")


def test_threads_change_nothing(model: Path, target: Path) -> None:
    one = convert(model, target, "Q4_K_M", threads=1)
    expected = target.read_bytes()
    three = convert(model, target, "Q4_K_M", threads=3)
    assert target.read_bytes() == expected
    assert three.tensors == one.tensors


def test_memory_does_not_grow_with_the_model(tmp_path: Path, target: Path) -> None:
    geometry = Geometry(448, 1024, 8192, 1, 4, 4)
    write_checkpoint(tmp_path / "model", geometry)
    convert(tmp_path / "model", target, "Q8_0")  # imports and caches
    tracemalloc.start()
    try:
        report = convert(tmp_path / "model", target, "F32")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.nbytes > 100e6
    assert peak < 20e6


# --- The report ---


def test_report_tells_what_was_done(model: Path, target: Path) -> None:
    report = convert(model, target, "Q4_K_M")
    by_name = {tensor.name: tensor for tensor in report.tensors}
    head = by_name["output.weight"]
    assert (head.source_type, head.type, head.shape) == ("BF16", "Q6_K", (448, 256))
    assert head.nbytes == 448 * 210
    assert by_name["output_norm.weight"].rmse == 0
    with read_gguf(target) as file:
        assert list(file.tensors) == [tensor.name for tensor in report.tensors]
        decoded = np.empty((448, 1024), np.uint8)
        _core.recode(file.tensors["output.weight"].data, "Q6_K", decoded, "F32", 256)
    stored = SafetensorsFile(model / "model.safetensors").tensors
    original = (stored["lm_head.weight"].data.view(np.uint16).astype(np.uint32) << 16).view("f4")
    difference = original.astype(np.float64) - decoded.view("f4").ravel()
    # As in kernels/test_quantize.py, halved by the root.
    assert head.rmse == pytest.approx(math.sqrt(np.mean(difference**2)), rel=9 * 2**-24)
    assert report.nbytes == sum(tensor.nbytes for tensor in report.tensors)
    assert json.loads(json.dumps(report.to_dict()))["tensors"][0]["name"] == "output.weight"
    lines = str(report).splitlines()
    assert lines[0].split() == ["tensor", "shape", "from", "to", "bytes", "RMSE", "note"]
    assert lines[-1].startswith(f"Q4_K_M: wrote {target}, 9 tensors, ")
    assert report._repr_html_().count("<tr>") == 10


def test_dry_run_writes_nothing_and_reports_the_same_types(model: Path, target: Path) -> None:
    planned = convert(model, target, "Q4_K_M", dry_run=True)
    assert not target.exists()
    assert planned.dry_run
    done = convert(model, target, "Q4_K_M")
    assert not done.dry_run
    assert [(t.name, t.type, t.nbytes) for t in planned.tensors] == [
        (t.name, t.type, t.nbytes) for t in done.tensors
    ]
    assert {tensor.rmse for tensor in planned.tensors} == {None}


def test_dry_run_says_where_an_importance_matrix_is_needed(model: Path, target: Path) -> None:
    report = convert(model, target, "Q2_K_S", dry_run=True)
    notes = {tensor.name: tensor.note for tensor in report.tensors}
    assert notes["blk.0.ffn_up.weight"] == "needs an importance matrix"
    assert notes["output.weight"] == ""


def test_no_progress_bar_in_a_pipe(
    model: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hf_to_gguf.convert(model, target, "Q8_0")
    assert capsys.readouterr() == ("", "")


# --- Importance matrices ---


def importance(entries: dict[str, np.ndarray]) -> Imatrix:
    return Imatrix(Path("some.dat"), entries, ["text"], 3)


def test_an_importance_matrix_is_named_in_the_metadata(model: Path, target: Path) -> None:
    convert(model, target, "Q4_K_M", imatrix=importance({"output.weight": np.ones((1, 256), "f4")}))
    with read_gguf(target) as file:
        entries = {k: v for k, v in file.metadata.items() if k.startswith("quantize.")}
    assert entries == {
        "quantize.imatrix.file": "some.dat",
        "quantize.imatrix.dataset": "text",
        "quantize.imatrix.entries_count": 1,
        "quantize.imatrix.chunks_count": 3,
    }


def test_an_importance_matrix_of_the_wrong_width(model: Path, target: Path) -> None:
    with pytest.raises(ImatrixError, match=r"some\.dat: output\.weight: has 255 values"):
        convert(
            model, target, "Q4_K_M", imatrix=importance({"output.weight": np.ones((1, 255), "f4")})
        )


def test_an_entry_for_the_embedding_that_cannot_be_its_is_ignored(
    model: Path, target: Path
) -> None:
    convert(model, target, "Q4_K_M")
    plain = read_gguf(target).tensors["token_embd.weight"].data.copy()
    convert(
        model, target, "Q4_K_M", imatrix=importance({"token_embd.weight": np.ones((1, 9), "f4")})
    )
    np.testing.assert_array_equal(read_gguf(target).tensors["token_embd.weight"].data, plain)


# --- Interrupted ---


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "No space left on device"), OutputError),
    ],
)
def test_an_interrupted_conversion_leaves_what_was_there(
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
    target: Path,
    raised: BaseException,
    expected: type[BaseException],
) -> None:
    target.write_bytes(b"before")

    def interrupted(*_: object) -> None:
        raise raised

    monkeypatch.setattr(_core, "recode_to_file", interrupted)
    with pytest.raises(expected):
        convert(model, target)
    assert target.read_bytes() == b"before"


def test_the_output_may_not_be_the_input(model: Path) -> None:
    weights = model / "model.safetensors"
    before = weights.read_bytes()
    with pytest.raises(InvalidArgument, match="would replace its own input"):
        convert(model, weights)
    assert weights.read_bytes() == before


def test_the_source_is_named_as_given(model: Path, target: Path) -> None:
    assert convert(model, target).source == os.fspath(model)
