"""GGUF to GGUF: the same bytes as converting directly, and llama.cpp's rules on requantizing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_synthetic_checkpoint import Geometry, write_checkpoint

from gguf_files import gguf_content
from phigguf import gguf_to_gguf, hf_to_gguf
from phigguf.errors import (
    FileMissing,
    GGUFError,
    InvalidArgument,
    QuantizationError,
    ShapeError,
    UnsupportedError,
)
from phigguf.io.gguf import read_gguf
from phigguf.io.gguf_format import MetadataValue, string, u16, u32
from phigguf.io.gguf_layout import TensorSpec
from phigguf.recipes import RECIPES
from phigguf.report import Report
from phigguf.types import tensor_type
from small_models import imatrix_for


def quantize_file(source: Path, target: Path, type_: str, **options: Any) -> Report:
    return gguf_to_gguf.quantize_file(source, target, type_, progress=False, **options)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint."""
    directory = tmp_path_factory.mktemp("checkpoint") / "model"
    write_checkpoint(directory, Geometry(448, 256, 512, 2, 4, 2))
    return directory


@pytest.fixture(scope="module")
def source(model: Path) -> Path:
    """The checkpoint as a BF16 file."""
    path = model.parent / "model-BF16.gguf"
    hf_to_gguf.convert(model, path, "BF16", progress=False)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "quantized.gguf"


def write_gguf(
    path: Path,
    tensors: dict[str, np.ndarray],
    type_: str = "F32",
    metadata: dict[str, MetadataValue] | None = None,
) -> Path:
    """Write a small Phi-3 file with these tensors."""
    entries = {
        "general.architecture": string("phi3"),
        "phi3.block_count": u32(1),
        "phi3.attention.head_count": u32(4),
    }
    specs = [TensorSpec(name, data.shape, tensor_type(type_)) for name, data in tensors.items()]
    content = gguf_content({**entries, **(metadata or {})}, specs, list(tensors.values()))
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("guided", [False, True], ids=["plain", "imatrix"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_detour_over_a_file_changes_no_byte(
    model: Path, source: Path, recipe: str, guided: bool, tmp_path: Path
) -> None:
    imatrix = imatrix_for(source) if guided or RECIPES[recipe].needs_imatrix else None
    direct, detour = tmp_path / "direct.gguf", tmp_path / "detour.gguf"
    hf_to_gguf.convert(model, direct, recipe, imatrix=imatrix, progress=False)
    quantize_file(source, detour, recipe, imatrix=imatrix)
    assert detour.read_bytes() == direct.read_bytes()


def test_options_are_those_of_convert(model: Path, source: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "overrides": {"attn_output": "Q5_0"},
        "output_type": "Q8_0",
        "embedding_type": "BF16",
        "pure": True,
    }
    direct, detour = tmp_path / "direct.gguf", tmp_path / "detour.gguf"
    hf_to_gguf.convert(model, direct, "Q3_K_M", progress=False, **options)
    quantize_file(source, detour, "Q3_K_M", **options)
    assert detour.read_bytes() == direct.read_bytes()
    with read_gguf(detour) as file:
        types = {name: tensor.type.name for name, tensor in file.tensors.items()}
    assert types["blk.1.attn_output.weight"] == "Q5_0"
    assert types["blk.1.ffn_down.weight"] == "Q3_K"


def test_a_recipe_of_our_own_is_named_in_the_file_until_another_takes_its_place(
    model: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    hf_to_gguf.convert(model, first, "Q4_K_M_DOWN8", progress=False)
    quantize_file(first, second, "Q8_0", allow_requantize=True)
    with read_gguf(first) as ours, read_gguf(second) as stock:
        assert ours.metadata["phigguf.recipe"] == "Q4_K_M_DOWN8"
        assert ours.metadata["general.file_type"] == 15
        assert ours.tensors["blk.0.ffn_down.weight"].type.name == "Q8_0"
        assert "phigguf.recipe" not in stock.metadata
        assert stock.metadata["general.file_type"] == 7


def test_metadata_is_kept_with_its_types_and_marked_at_the_end(
    tmp_path: Path, target: Path
) -> None:
    weight = np.ones((2, 32), np.float32)
    extra = {"some.number": u16(7), "general.file_type": u32(0), "other": string("text")}
    write_gguf(tmp_path / "source.gguf", {"blk.0.ffn_up.weight": weight}, metadata=extra)
    quantize_file(tmp_path / "source.gguf", target, "Q8_0")
    with read_gguf(target) as file:
        assert list(file.typed_metadata().items())[3:] == [
            ("some.number", u16(7)),
            ("other", string("text")),
            ("general.quantization_version", u32(2)),
            ("general.file_type", u32(7)),
        ]


def test_the_alignment_is_kept(tmp_path: Path, target: Path) -> None:
    weights = {f"blk.0.{name}.weight": np.ones((3, 32), np.float32) for name in ("a", "b")}
    extra = {"general.alignment": u32(256)}
    write_gguf(tmp_path / "source.gguf", weights, metadata=extra)
    quantize_file(tmp_path / "source.gguf", target, "Q8_0")
    with read_gguf(target) as file:
        assert file.alignment == 256
        assert [tensor.offset % 256 for tensor in file.tensors.values()] == [0, 0]


def test_quantized_input_is_refused_unless_allowed(
    source: Path, tmp_path: Path, target: Path
) -> None:
    small = tmp_path / "q8_0.gguf"
    quantize_file(source, small, "Q8_0")
    with pytest.raises(
        InvalidArgument, match=r"q8_0\.gguf: output\.weight: is already quantized.*'Q8_0'"
    ):
        quantize_file(small, target, "Q4_K_M")
    assert not target.exists()
    report = quantize_file(small, target, "Q4_K_M", allow_requantize=True)
    assert report.tensors[0].source_type == "Q8_0"
    # Through Q8_0 is not the same as straight from BF16.
    quantize_file(source, tmp_path / "straight.gguf", "Q4_K_M")
    assert target.read_bytes() != (tmp_path / "straight.gguf").read_bytes()


def test_a_quantized_tensor_that_keeps_its_type_is_copied(source: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.gguf", tmp_path / "twice.gguf"
    quantize_file(source, once, "Q2_K")
    report = quantize_file(once, twice, "Q2_K")
    assert twice.read_bytes() == once.read_bytes()
    assert {tensor.rmse for tensor in report.tensors} == {0}


def test_a_copied_tensor_with_a_scale_that_is_not_finite_is_refused(
    tmp_path: Path, target: Path
) -> None:
    blocks = np.zeros((4, 34), np.uint8)
    blocks[2, :2] = np.frombuffer(np.float16(np.nan).tobytes(), np.uint8)
    blocks[2, 2] = 1
    path = tmp_path / "source.gguf"
    spec = TensorSpec("blk.0.ffn_up.weight", (4, 32), tensor_type("Q8_0"))
    metadata = {
        "general.architecture": string("phi3"),
        "phi3.block_count": u32(1),
        "phi3.attention.head_count": u32(4),
    }
    path.write_bytes(gguf_content(metadata, [spec], [blocks]))
    with pytest.raises(QuantizationError, match=r"blk\.0\.ffn_up\.weight, row 2\b.*not finite"):
        quantize_file(path, target, "Q8_0")
    assert not target.exists()


def test_types_that_are_only_stored_are_copied_and_not_converted(
    tmp_path: Path, target: Path
) -> None:
    path = tmp_path / "source.gguf"
    data = np.arange(8, dtype=np.int32)
    write_gguf(path, {"blk.0.table": data}, "I32")
    quantize_file(path, target, "Q8_0")
    with read_gguf(target) as file:
        np.testing.assert_array_equal(file.tensors["blk.0.table"].data.view(np.int32), data)
    write_gguf(path, {"blk.0.ffn_up.weight": np.ones((2, 32))}, "F64")
    with pytest.raises(UnsupportedError, match=r"ffn_up\.weight: cannot be decoded.*'F64'"):
        quantize_file(path, target, "Q8_0")


def test_expert_matrices_have_their_own_importance(tmp_path: Path, target: Path) -> None:
    rng = np.random.default_rng(3)
    experts = rng.standard_normal((3, 4, 256)).astype(np.float32)
    name = "blk.0.ffn_up_exps.weight"
    path = write_gguf(tmp_path / "source.gguf", {name: experts})
    imatrix = imatrix_for(write_gguf(tmp_path / "flat.gguf", {name: experts.reshape(12, 256)}))
    weights = rng.chisquare(1, (3, 256)).astype(np.float32)
    imatrix.entries[name] = weights
    quantize_file(path, target, "Q4_K_S", imatrix=imatrix)
    stacked = read_gguf(target).tensors[name].data.copy()
    for expert in range(3):
        single = "blk.0.ffn_up.weight"
        write_gguf(path, {single: experts[expert]})
        imatrix.entries[single] = weights[expert : expert + 1]
        quantize_file(path, target, "Q4_K_S", imatrix=imatrix)
        np.testing.assert_array_equal(read_gguf(target).tensors[single].data, stacked[expert])


def test_split_input_becomes_one_file(source: Path, tmp_path: Path, target: Path) -> None:
    with read_gguf(source) as file:
        metadata, tensors = file.typed_metadata(), list(file.tensors.values())
        halves = [tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]]
        for index, half in enumerate(halves):
            split = {
                "split.no": u16(index),
                "split.count": u16(2),
                "split.tensors.count": MetadataValue(u32(0).type, len(tensors)),
            }
            specs = [TensorSpec(tensor.name, tensor.shape, tensor.type) for tensor in half]
            entries = {**(metadata if index == 0 else {}), **split}
            content = gguf_content(entries, specs, [tensor.data for tensor in half])
            (tmp_path / f"part-{index + 1:05d}-of-00002.gguf").write_bytes(content)
    quantize_file(tmp_path / "part-00002-of-00002.gguf", target, "Q4_K_M")
    quantize_file(source, tmp_path / "whole.gguf", "Q4_K_M")
    assert target.read_bytes() == (tmp_path / "whole.gguf").read_bytes()


def test_rows_that_do_not_fit(tmp_path: Path, target: Path) -> None:
    path = write_gguf(tmp_path / "source.gguf", {"blk.0.ffn_up.weight": np.ones((2, 96), "f4")})
    with pytest.raises(ShapeError, match=r"blk\.0\.ffn_up\.weight: rows do not fit Q4_K"):
        quantize_file(path, target, "Q4_K_M")
    report = quantize_file(path, target, "Q4_K_M", allow_fallback=True)
    assert [(t.type, t.note) for t in report.tensors] == [("Q5_0", "rows do not fit Q4_K")]


def test_dry_run_writes_nothing(source: Path, target: Path) -> None:
    report = quantize_file(source, target, "Q4_K_M", dry_run=True)
    assert report.dry_run
    assert not target.exists()


def test_the_output_may_not_be_the_input(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "source.gguf", {"blk.0.ffn_up.weight": np.ones((2, 32), "f4")})
    link = tmp_path / "link.gguf"
    link.symlink_to(path)
    before = path.read_bytes()
    with pytest.raises(InvalidArgument, match="would replace its own input"):
        quantize_file(path, link, "Q8_0")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "error"), [(None, FileMissing), (b"", GGUFError), (b"GGUF\3\0\0\0", GGUFError)]
)
def test_bad_input_leaves_no_output(
    tmp_path: Path, target: Path, content: bytes | None, error: type[Exception]
) -> None:
    path = tmp_path / "bad.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=r"bad\.gguf"):
        quantize_file(path, target, "Q8_0")
    assert not target.exists()


def test_another_architecture_is_refused(tmp_path: Path, target: Path) -> None:
    metadata = {
        "general.architecture": string("llama"),
        "llama.block_count": u32(1),
        "llama.attention.head_count": u32(1),
    }
    weight = {"blk.0.ffn_up.weight": np.ones((2, 32), np.float32)}
    path = write_gguf(tmp_path / "source.gguf", weight, metadata=metadata)
    with pytest.raises(UnsupportedError, match=r"general\.architecture: .*'llama'"):
        quantize_file(path, target, "Q8_0")
