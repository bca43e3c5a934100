"""The table of tensor types against ggml's own."""

from __future__ import annotations

import ctypes
from pathlib import Path

import libggml
import pytest
from gguf import GGMLQuantizationType

from phigguf import _core
from phigguf.errors import ShapeError, UnsupportedError
from phigguf.types import TENSOR_TYPES, tensor_type, tensor_type_by_id

REMOVED_IDS = [4, 5, 31, 32, 33, 36, 37, 38]


@pytest.fixture(scope="module")
def ggml() -> ctypes.CDLL:
    library = ctypes.CDLL(str(next(Path(libggml.__file__).parent.rglob("*ggml-base.*"))))
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_type_name.restype = ctypes.c_char_p
    return library


@pytest.mark.parametrize("kind", TENSOR_TYPES.values(), ids=lambda kind: kind.name)
def test_geometry_and_name_equal_ggml(kind, ggml: ctypes.CDLL) -> None:
    assert kind.block_width == ggml.ggml_blck_size(kind.id)
    assert kind.block_bytes == ggml.ggml_type_size(kind.id)
    assert kind.name.lower() == ggml.ggml_type_name(kind.id).decode().lower()
    assert tensor_type(kind.name) is tensor_type_by_id(kind.id) is kind


def test_names_equal_those_of_the_gguf_package() -> None:
    names = {kind.name: kind.value for kind in GGMLQuantizationType}
    assert names.items() <= {name: kind.id for name, kind in TENSOR_TYPES.items()}.items()


def test_no_type_is_missing_and_ids_are_in_order() -> None:
    ids = [kind.id for kind in TENSOR_TYPES.values()]
    assert ids == [number for number in range(43) if number not in REMOVED_IDS]


def test_native_types_are_those_of_the_extension() -> None:
    native = {name for name, kind in TENSOR_TYPES.items() if kind.native}
    assert native == {row["name"] for row in _core.tensor_types()}
    assert {"F32", "F16", "BF16", "Q8_0", "Q4_K"} <= native
    assert not tensor_type("I32").native


@pytest.mark.parametrize("number", [*REMOVED_IDS, -1, 43, 2**32 - 1])
def test_other_ids_are_errors(number: int) -> None:
    with pytest.raises(UnsupportedError) as caught:
        tensor_type_by_id(number)
    assert caught.value.value == number


@pytest.mark.parametrize("name", ["Q4_2", "q4_K", "", "F33"])
def test_other_names_are_errors(name: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        tensor_type(name)
    assert caught.value.value == name


def test_row_bytes() -> None:
    assert tensor_type("F32").row_bytes(3) == 12
    assert tensor_type("Q4_0").row_bytes(64) == 36
    assert tensor_type("Q4_K").row_bytes(512) == 288
    assert tensor_type("Q4_K").bits_per_element == 4.5


@pytest.mark.parametrize("cols", [0, -256, 1, 255, 257])
def test_rows_that_blocks_do_not_divide_are_errors(cols: int) -> None:
    with pytest.raises(ShapeError) as caught:
        tensor_type("Q4_K").row_bytes(cols)
    assert caught.value.value == cols
