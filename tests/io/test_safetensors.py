"""Reading safetensors: equal to the reference library, in place, and closed to malformed files."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from phigguf.errors import Error, FileMissing, SafetensorsError
from phigguf.io.safetensors import SafetensorsFile
from safetensors_bytes import entry, safetensors_bytes


def read(path: Path, contents: bytes) -> SafetensorsFile:
    path.write_bytes(contents)
    return SafetensorsFile(path)


def test_tensors_equal_what_the_library_wrote(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {
        "float32": random.standard_normal((3, 5)).astype(np.float32),
        "float16": random.standard_normal((4, 2, 2)).astype(np.float16),
        "scalar": np.array(2.5, dtype=np.float64),
        "empty": np.zeros((0, 7), dtype=np.int64),
    }
    path = tmp_path / "model.safetensors"
    save_file(arrays, path, metadata={"format": "pt"})
    file = SafetensorsFile(path)
    assert file.metadata == {"format": "pt"}
    assert file.tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        tensor = file.tensors[name]
        assert tensor.shape == array.shape
        assert tensor.nbytes == array.nbytes
        assert tensor.data.tobytes() == array.tobytes()
    assert [file.tensors[name].dtype for name in arrays] == ["F32", "F16", "F64", "I64"]


def test_bfloat16_is_viewed_as_stored(tmp_path: Path) -> None:
    stored = np.array([0x3F80, 0xC000, 0x7F80], dtype="<u2")  # 1, -2, infinity
    contents = safetensors_bytes({"w": entry("BF16", [3], 0, 6)}, stored.tobytes())
    tensor = read(tmp_path / "model.safetensors", contents).tensors["w"]
    assert tensor.dtype == "BF16"
    np.testing.assert_array_equal(tensor.data.view("<u2"), stored)


def test_tensors_are_read_only_views_of_the_mapping(tmp_path: Path) -> None:
    size = 32 << 20
    path = tmp_path / "model.safetensors"
    save_file({"w": np.ones(size, dtype=np.uint8)}, path)
    tracemalloc.start()
    try:
        tensor = SafetensorsFile(path).tensors["w"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size // 100
    assert not tensor.data.flags.owndata
    assert not tensor.data.flags.writeable
    assert tensor.data[-1] == 1  # the file object is gone, its mapping is not


def test_header_order_is_kept(tmp_path: Path) -> None:
    header = {"b": entry("U8", [1], 0, 1), "a": entry("U8", [1], 1, 2)}
    file = read(tmp_path / "model.safetensors", safetensors_bytes(header, b"\1\2"))
    assert list(file.tensors) == ["b", "a"]


ONE = json.dumps(entry("F32", [1], 0, 4))

MALFORMED: dict[str, bytes] = {
    "empty file": b"",
    "shorter than a length": b"\1\2\3",
    "header longer than the file": safetensors_bytes({}, header_length=100),
    "header length of 2**63": safetensors_bytes({}, header_length=2**63),
    "header is no JSON": safetensors_bytes("{,}"),
    "header is a list": safetensors_bytes("[]"),
    "header nested without end": safetensors_bytes('{"a":' * 100_000),
    "name is not UTF-8": safetensors_bytes("{}").replace(b"{}", b"\xff\xff"),
    "name is half a surrogate pair": safetensors_bytes(f'{{"\\ud800": {ONE}}}', bytes(4)),
    "tensor given twice": safetensors_bytes(f'{{"w": {ONE}, "w": {ONE}}}', bytes(4)),
    "field given twice": safetensors_bytes(
        '{"w": {"dtype": "F32", "dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', bytes(4)
    ),
    "metadata key given twice": safetensors_bytes('{"__metadata__": {"a": "1", "a": "2"}}'),
    "offsets overlap": safetensors_bytes(
        {"v": entry("F32", [2], 0, 8), "w": entry("F32", [2], 4, 12)}, bytes(12)
    ),
    "offsets leave a hole": safetensors_bytes(
        {"v": entry("F32", [1], 0, 4), "w": entry("F32", [1], 8, 12)}, bytes(12)
    ),
    "offsets run backwards": safetensors_bytes({"w": entry("F32", [1], 4, 0)}, bytes(4)),
    "data past the end of the file": safetensors_bytes({"w": entry("F32", [2], 0, 8)}, bytes(4)),
    "data of no tensor": safetensors_bytes({"w": entry("F32", [1], 0, 4)}, bytes(8)),
    "fewer bytes than the shape": safetensors_bytes({"w": entry("F32", [2], 0, 4)}, bytes(4)),
    "more bytes than the type": safetensors_bytes({"w": entry("BF16", [1], 0, 4)}, bytes(4)),
    "unknown type": safetensors_bytes({"w": entry("F33", [1], 0, 4)}, bytes(4)),
    "negative size": safetensors_bytes({"w": entry("F32", [-1], 0, 4)}, bytes(4)),
    "shape whose product wraps": safetensors_bytes({"w": entry("F32", [2**62, 4], 0, 0)}),
    "no shape": safetensors_bytes({"w": {"dtype": "F32", "data_offsets": [0, 0]}}),
}


@pytest.mark.parametrize("contents", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_file_is_an_error_that_names_it(tmp_path: Path, contents: bytes) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(SafetensorsError) as caught:
        read(path, contents)
    assert str(path) in str(caught.value)


def test_duplicate_names_are_reported_by_name(tmp_path: Path) -> None:
    contents = safetensors_bytes(f'{{"w": {ONE}, "w": {ONE}}}', bytes(4))
    with pytest.raises(SafetensorsError, match="occurs twice") as caught:
        read(tmp_path / "model.safetensors", contents)
    assert caught.value.field == "w"


def test_truncation_anywhere_is_an_error(tmp_path: Path) -> None:
    header: dict[str, Any] = {"w": entry("F32", [4], 0, 16), "__metadata__": {"format": "pt"}}
    whole = safetensors_bytes(header, bytes(16))
    path = tmp_path / "model.safetensors"
    for size in range(len(whole)):
        with pytest.raises(SafetensorsError):
            read(path, whole[:size])


def test_missing_file_and_directory_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(FileMissing) as caught:
            SafetensorsFile(path)
        assert caught.value.file == str(path)


VALID = safetensors_bytes(
    {
        "model.norm.weight": entry("BF16", [2, 3], 0, 12),
        "lm_head.weight": entry("F32", [2], 12, 20),
        "__metadata__": {"format": "pt"},
    },
    bytes(20),
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    flips=st.lists(
        st.tuples(st.integers(0, len(VALID) - 1), st.integers(1, 255)), min_size=1, max_size=4
    )
)
def test_flipped_bytes_never_escape_as_another_error(
    tmp_path: Path, flips: list[tuple[int, int]]
) -> None:
    contents = bytearray(VALID)
    for position, mask in flips:
        contents[position] ^= mask
    try:
        file = read(tmp_path / "model.safetensors", bytes(contents))
    except Error:
        return
    assert sum(tensor.nbytes for tensor in file.tensors.values()) == 20
