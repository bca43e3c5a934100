"""The layout and header of files against the gguf package's, byte for byte, and what it refuses."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gguf_files import gguf_content
from phigguf.errors import Error, InvalidArgument, ShapeError
from phigguf.io.gguf import read_gguf
from phigguf.io.gguf_format import (
    ArrayOf,
    GGUFValueType,
    MetadataValue,
    array,
    boolean,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    string,
    u8,
    u16,
    u32,
    u64,
)
from phigguf.io.gguf_layout import TensorSpec, plan_layout
from phigguf.types import tensor_type

ARCHITECTURE = {"general.architecture": string("phi3")}
METADATA: dict[str, MetadataValue] = {
    **ARCHITECTURE,
    "u8": u8(255),
    "i8": i8(-128),
    "u16": u16(65535),
    "i16": i16(-32768),
    "u32": u32(2**32 - 1),
    "i32": i32(-(2**31)),
    "u64": u64(2**64 - 1),
    "i64": i64(-(2**63)),
    "f32": f32(0.1),
    "infinite": f32(float("inf")),
    "f64": f64(1e300),
    "whole": f32(3),
    "yes": boolean(True),
    "no": boolean(False),
    "text": string("größer\n<|end|> \N{GRINNING FACE}\0"),
    "tokens": array(GGUFValueType.STRING, ["<s>", "", "▁the", "x" * 300]),
    "scores": array(GGUFValueType.FLOAT32, [0.1, -1.5, 1e-30]),
    "types": array(GGUFValueType.INT32, [1, -2, 2**31 - 1]),
    "flags": array(GGUFValueType.BOOL, [True, False]),
    "wide": array(GGUFValueType.UINT64, [2**64 - 1, 0]),
    "bytes": array(GGUFValueType.UINT8, [0, 255]),
}
SPECS = [
    TensorSpec("token_embd.weight", (3, 256), tensor_type("Q4_K")),
    TensorSpec("norm", (7,), tensor_type("F32")),
    TensorSpec("half", (3, 5), tensor_type("F16")),
    TensorSpec("cube", (2, 3, 32), tensor_type("Q8_0")),
    TensorSpec("four", (2, 1, 1, 9), tensor_type("BF16")),
    TensorSpec("foreign", (2, 256), tensor_type("IQ2_XS")),
]


def data_of(spec: TensorSpec) -> np.ndarray:
    generator = np.random.default_rng(spec.nbytes)
    return generator.integers(0, 256, spec.nbytes).astype(np.uint8)


def written(metadata: dict[str, MetadataValue], specs: Sequence[TensorSpec]) -> bytes:
    return gguf_content(metadata, specs, [data_of(spec) for spec in specs])


def written_by_gguf_package(
    metadata: dict[str, MetadataValue], specs: Sequence[TensorSpec]
) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "theirs.gguf"
        writer = gguf.GGUFWriter(path, metadata["general.architecture"].value)
        for key, value in metadata.items():
            if key == "general.alignment":
                writer.add_custom_alignment(value.value)
            elif isinstance(value.type, ArrayOf):
                element = gguf.GGUFValueType(value.type.element)
                writer.add_key_value(key, value.value, gguf.GGUFValueType.ARRAY, element)
            elif key != "general.architecture":
                writer.add_key_value(key, value.value, gguf.GGUFValueType(value.type))
        for spec in specs:
            rows = data_of(spec).reshape(*spec.shape[:-1], -1)
            kind = gguf.GGMLQuantizationType[spec.type.name]
            writer.add_tensor(spec.name, rows, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


@pytest.mark.parametrize("alignment", [None, 1, 8, 64, 4096])
def test_bytes_equal_the_gguf_packages(alignment: int | None) -> None:
    metadata = METADATA | ({} if alignment is None else {"general.alignment": u32(alignment)})
    assert written(metadata, SPECS) == written_by_gguf_package(metadata, SPECS)


def test_bytes_equal_the_gguf_packages_without_tensors() -> None:
    assert written(METADATA, []) == written_by_gguf_package(METADATA, [])


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=15)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGERS = {
    kind: st.integers(int(np.iinfo(kind.name.lower()).min), int(np.iinfo(kind.name.lower()).max))
    for kind in GGUFValueType
    if "INT" in kind.name
}
ELEMENTS: dict[GGUFValueType, st.SearchStrategy[Any]] = {
    **INTEGERS,
    GGUFValueType.FLOAT32: st.floats(width=32, allow_nan=False),
    GGUFValueType.FLOAT64: st.floats(allow_nan=False),
    GGUFValueType.BOOL: st.booleans(),
    GGUFValueType.STRING: TEXTS,
}


@st.composite
def metadata_values(draw: st.DrawFn) -> MetadataValue:
    kind = draw(st.sampled_from(list(ELEMENTS)))
    if draw(st.booleans()):
        return MetadataValue(kind, draw(ELEMENTS[kind]))
    return array(kind, draw(st.lists(ELEMENTS[kind], min_size=1, max_size=5)))


@st.composite
def tensor_specs(draw: st.DrawFn) -> list[TensorSpec]:
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    return [
        TensorSpec(
            name,
            (*draw(st.lists(st.integers(1, 3), max_size=3)), draw(st.integers(1, 3)) * width),
            tensor_type(kind),
        )
        for name in names
        for kind, width in [draw(st.sampled_from([("F32", 1), ("Q4_0", 32), ("Q6_K", 256)]))]
    ]


@settings(derandomize=True, deadline=None)
@given(values=st.dictionaries(NAMES, metadata_values(), max_size=6), specs=tensor_specs())
def test_any_content_equals_the_gguf_packages_and_reads_back(
    values: dict[str, MetadataValue], specs: list[TensorSpec]
) -> None:
    metadata = ARCHITECTURE | values
    content = written(metadata, specs)
    assert content == written_by_gguf_package(metadata, specs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ours.gguf"
        path.write_bytes(content)
        with read_gguf(path) as file:
            assert [(info.name, info.shape, info.type) for info in file.tensors.values()] == [
                (spec.name, spec.shape, spec.type) for spec in specs
            ]
            assert written(file.typed_metadata(), specs) == content


def test_a_file_read_and_written_again_is_the_same(tmp_path: Path) -> None:
    metadata = METADATA | {
        "empty texts": array(GGUFValueType.STRING, []),
        "empty floats": array(GGUFValueType.FLOAT64, []),
        "nan": f32(float("nan")),
    }
    path = tmp_path / "model.gguf"
    path.write_bytes(written(metadata, SPECS))
    with read_gguf(path) as file:
        assert file.metadata_types == {key: value.type for key, value in metadata.items()}
        specs = [TensorSpec(info.name, info.shape, info.type) for info in file.tensors.values()]
        assert specs == SPECS
        data = [info.data for info in file.tensors.values()]
        assert gguf_content(file.typed_metadata(), specs, data) == path.read_bytes()


def test_arrays_may_be_numpy_arrays_of_any_fitting_type() -> None:
    listed = {"a": array(GGUFValueType.INT16, [1, -2]), "b": array(GGUFValueType.FLOAT32, [0.1])}
    as_numpy = {
        "a": array(GGUFValueType.INT16, np.int64([1, -2])),
        "b": array(GGUFValueType.FLOAT32, np.float64([0.1])),
    }
    assert plan_layout(listed, []) == plan_layout(as_numpy, [])


def test_the_layout_is_known_before_any_data(tmp_path: Path) -> None:
    layout = plan_layout(METADATA, SPECS)
    path = tmp_path / "model.gguf"
    content = written(METADATA, SPECS)
    assert content.startswith(layout.header)
    assert layout.size == len(content)
    path.write_bytes(content)
    with read_gguf(path) as file:
        assert layout.offsets == {name: info.offset for name, info in file.tensors.items()}


# --- refusals ---

BAD_VALUES: dict[str, MetadataValue] = {
    "too large": u8(256),
    "negative": u64(-1),
    "past 64 bits": u64(2**64),
    "past 63 bits": i64(2**63),
    "below": i16(-32769),
    "a fraction": i32(1.5),
    "a truth value as a number": u32(True),
    "a number as a truth value": boolean(1),
    "a text as a number": u32("1"),
    "a number as a text": string(1),
    "None": u32(None),
    "past float32": f32(1e39),
    "half a surrogate pair": string("\ud83d"),
    "one element too large": array(GGUFValueType.UINT8, [1, 300, 2]),
    "mixed": array(GGUFValueType.INT32, [1, "a"]),
    "ragged": array(GGUFValueType.INT32, [[1], [1, 2]]),
    "two-dimensional": array(GGUFValueType.INT32, [[1, 2], [3, 4]]),
    "a two-dimensional NumPy array": array(GGUFValueType.INT32, np.ones((2, 2), np.int32)),
    "a scalar as an array": array(GGUFValueType.INT32, 1),
    "an array as a scalar": u32([1]),
    "a text as an array of texts": array(GGUFValueType.STRING, "abc"),
    "a number among texts": array(GGUFValueType.STRING, ["a", 1]),
    "an array of arrays": array(GGUFValueType.ARRAY, [[1]]),
    "an array without element type": MetadataValue(GGUFValueType.ARRAY, [1]),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_values_that_do_not_fit_their_type_are_refused(case: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        plan_layout({"key": BAD_VALUES[case]}, [])
    assert caught.value.field == "key"


@pytest.mark.parametrize("key", ["", "k" * 65536, "\udcff"])
def test_keys_that_gguf_cannot_hold_are_refused(key: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        plan_layout({key: u8(1)}, [])
    assert (caught.value.field, caught.value.value) == ("metadata key", key)


@pytest.mark.parametrize("value", [u32(0), u32(48), i32(32), u32("32"), string("32")])
def test_an_alignment_that_is_none_is_refused(value: MetadataValue) -> None:
    with pytest.raises(InvalidArgument) as caught:
        plan_layout({"general.alignment": value}, [])
    assert caught.value.field == "general.alignment"


F32 = tensor_type("F32")
BAD_TENSORS: dict[str, tuple[list[TensorSpec], type[Error], str]] = {
    "no name": ([TensorSpec("", (1,), F32)], InvalidArgument, "tensor name"),
    "name of 64 bytes": ([TensorSpec("é" * 32, (1,), F32)], InvalidArgument, "tensor name"),
    "twice": ([TensorSpec("a", (1,), F32)] * 2, InvalidArgument, "tensor name"),
    "rank 0": ([TensorSpec("a", (), F32)], ShapeError, "tensor a"),
    "rank 5": ([TensorSpec("a", (1,) * 5, F32)], ShapeError, "tensor a"),
    "no rows": ([TensorSpec("a", (0, 32), F32)], ShapeError, "tensor a"),
    "negative": ([TensorSpec("a", (-1, 32), F32)], ShapeError, "tensor a"),
    "past 63 bits": ([TensorSpec("a", (2**63, 1), F32)], ShapeError, "tensor a"),
    "half a block": ([TensorSpec("a", (2, 48), tensor_type("Q4_0"))], ShapeError, "tensor a"),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_tensors_that_gguf_cannot_hold_are_refused(case: str) -> None:
    specs, error, field = BAD_TENSORS[case]
    with pytest.raises(error) as caught:
        plan_layout(ARCHITECTURE, specs)
    assert caught.value.field == field
