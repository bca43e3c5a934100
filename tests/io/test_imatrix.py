"""Importance matrices: both formats, llama.cpp's float32 arithmetic, and malformed files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phigguf.errors import Error, FileMissing, ImatrixError
from phigguf.io.imatrix import read_imatrix

NAME = "blk.0.attn_qkv.weight"
# Over many orders of magnitude, a zero and a denormal included.
SUMS = np.append(np.random.default_rng(0).lognormal(0, 9, 254), [0, 3e-42]).astype(np.float32)


def number(value: int) -> bytes:
    return struct.pack("<i", value)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return number(len(raw)) + raw


def dat_entry(name: str | bytes, calls: int, values: Any) -> bytes:
    array = np.asarray(values, dtype="<f4")
    return text(name) + number(calls) + number(array.size) + array.tobytes()


def dat_file(*entries: bytes, trailer: bytes = number(12) + text("wiki.txt")) -> bytes:
    return number(len(entries)) + b"".join(entries) + trailer


def read(path: Path, contents: bytes) -> Any:
    path.write_bytes(contents)
    return read_imatrix(path)


@pytest.fixture
def dat(tmp_path: Path) -> Path:
    return tmp_path / "imatrix.dat"


def test_dat_values_are_divided_by_the_calls(dat: Path) -> None:
    contents = dat_file(dat_entry(NAME, 7, SUMS), dat_entry("output.weight", 1, [2.0]))
    imatrix = read(dat, contents)
    assert imatrix.entries.keys() == {NAME, "output.weight"}
    assert imatrix.entries[NAME].dtype == np.float32
    # Division in float32, one rounding each: what C++ does with float / int.
    expected = [[np.float32(value) / np.float32(7) for value in SUMS]]
    np.testing.assert_array_equal(imatrix.entries[NAME], expected)
    assert imatrix.datasets == ["wiki.txt"]
    assert imatrix.chunks == 12


def test_dat_without_calls_is_taken_as_it_is(dat: Path) -> None:
    imatrix = read(dat, dat_file(dat_entry(NAME, 0, SUMS)))
    np.testing.assert_array_equal(imatrix.entries[NAME], [SUMS])


@pytest.mark.parametrize(
    ("trailer", "chunks", "datasets"),
    [(b"", 0, []), (number(5), 5, []), (number(5) + number(0), 5, [])],
)
def test_dat_of_older_writers(dat: Path, trailer: bytes, chunks: int, datasets: list[str]) -> None:
    imatrix = read(dat, dat_file(dat_entry(NAME, 1, [1.0]), trailer=trailer))
    assert (imatrix.chunks, imatrix.datasets) == (chunks, datasets)


ENTRY = dat_entry(NAME, 2, [1.0, 2.0])

MALFORMED_DAT: dict[str, bytes] = {
    "empty": b"",
    "no entries": dat_file(trailer=b""),
    "negative number of entries": number(-1),
    "more entries than bytes": number(2**31 - 1) + ENTRY,
    "negative name length": number(1) + number(-1) + ENTRY[4:],
    "huge name length": number(1) + number(2**31 - 1) + ENTRY[4:],
    "no name": dat_file(dat_entry("", 2, [1.0])),
    "name is not UTF-8": dat_file(dat_entry(b"\xff", 2, [1.0])),
    "name holds a NUL": dat_file(dat_entry("a\0b", 2, [1.0])),
    "name given twice": dat_file(ENTRY, ENTRY),
    "negative calls": dat_file(dat_entry(NAME, -1, [1.0])),
    "no values": dat_file(dat_entry(NAME, 2, [])),
    "negative number of values": dat_file(text(NAME) + number(1) + number(-4)),
    "huge number of values": dat_file(text(NAME) + number(1) + number(2**31 - 1)),
    "value is not a number": dat_file(dat_entry(NAME, 2, [1.0, np.nan])),
    "value is infinite": dat_file(dat_entry(NAME, 2, [1.0, np.inf])),
    "value is negative": dat_file(dat_entry(NAME, 2, [1.0, -1.0])),
    "negative chunks": dat_file(ENTRY, trailer=number(-3)),
    "chunks cut off": dat_file(ENTRY, trailer=b"\1\0"),
    "data set cut off": dat_file(ENTRY, trailer=number(1) + number(9) + b"wiki"),
    "data set is not UTF-8": dat_file(ENTRY, trailer=number(1) + text(b"\xfe")),
    "bytes left over": dat_file(ENTRY) + b"\0",
}


@pytest.mark.parametrize("contents", MALFORMED_DAT.values(), ids=MALFORMED_DAT.keys())
def test_malformed_dat_is_an_error_that_names_the_file(dat: Path, contents: bytes) -> None:
    with pytest.raises(ImatrixError) as caught:
        read(dat, contents)
    assert caught.value.file == str(dat)


def test_truncated_dat_is_an_error_wherever_it_ends(dat: Path) -> None:
    whole = dat_file(ENTRY)
    entries_end = 4 + len(ENTRY)
    for size in set(range(len(whole))) - {entries_end, entries_end + 4}:
        with pytest.raises(ImatrixError):
            read(dat, whole[:size])


def test_missing_file_and_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.dat", tmp_path):
        with pytest.raises(FileMissing):
            read_imatrix(path)


METADATA: dict[str, Any] = {
    "imatrix.datasets": ["a.txt", "b.txt"],
    "imatrix.chunk_count": 3,
    "imatrix.chunk_size": 512,
}


def write_gguf(path: Path, tensors: dict[str, Any], metadata: dict[str, Any] = METADATA) -> None:
    writer = gguf.GGUFWriter(path, arch="")
    writer.add_type("imatrix")
    for key, value in metadata.items():
        if isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_int32(key, value) if value < 0 else writer.add_uint32(key, value)
    for name, values in tensors.items():
        writer.add_tensor(name, np.asarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def floats(values: Any) -> np.ndarray[Any, Any]:
    return np.asarray(values, dtype=np.float32)


def pair(name: str, sums: Any, counts: Any) -> dict[str, Any]:
    return {f"{name}.in_sum2": floats(sums), f"{name}.counts": floats(counts)}


@pytest.fixture
def gguf_path(tmp_path: Path) -> Path:
    return tmp_path / "imatrix.gguf"


def test_gguf_sums_are_divided_by_the_counts(gguf_path: Path) -> None:
    write_gguf(gguf_path, pair(NAME, [SUMS], [[1536]]))
    imatrix = read_imatrix(gguf_path)
    expected = [[np.float32(value) / np.float32(1536) for value in SUMS]]
    assert imatrix.entries.keys() == {NAME}
    np.testing.assert_array_equal(imatrix.entries[NAME], expected)
    assert imatrix.entries[NAME].dtype == np.float32
    assert imatrix.datasets == ["a.txt", "b.txt"]
    assert imatrix.chunks == 3


def test_gguf_experts_have_their_own_counts(gguf_path: Path) -> None:
    write_gguf(gguf_path, pair(NAME, [[6, 9], [6, 9], [6, 9], [6, 9]], [[3], [0], [0.4], [2.5]]))
    entry = read_imatrix(gguf_path).entries[NAME]
    # A count of 2.5 rounds to 3, away from zero; an expert never reached gets ones.
    np.testing.assert_array_equal(entry, [[2, 3], [1, 1], [1, 1], [2, 3]])


def test_weights_have_the_shape_of_the_tensor(dat: Path) -> None:
    imatrix = read(dat, dat_file(dat_entry(NAME, 1, range(6))))
    weights = imatrix.weights(NAME, cols=3, matrices=2)
    np.testing.assert_array_equal(weights, [[0, 1, 2], [3, 4, 5]])
    assert imatrix.weights("absent", cols=3) is None
    with pytest.raises(ImatrixError, match="6 values") as caught:
        imatrix.weights(NAME, cols=3)
    assert caught.value.field == NAME


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in METADATA.items() if key not in keys}


GOOD = pair(NAME, [[1, 2]], [[1]])

MALFORMED_GGUF: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no importances": ({"token_embd.weight": floats([1])}, METADATA),
    "sums without counts": ({f"{NAME}.in_sum2": floats([[1, 2]])}, METADATA),
    "counts without sums": (GOOD | {"other.counts": floats([[1]])}, METADATA),
    "sums do not fit the counts": (pair(NAME, [[1, 2, 3]], [[1], [1]]), METADATA),
    "more counts than sums": (pair(NAME, [[1]], [[1], [1]]), METADATA),
    "sums are float16": (GOOD | {f"{NAME}.in_sum2": np.ones((1, 2), np.float16)}, METADATA),
    "counts are integers": (GOOD | {f"{NAME}.counts": np.ones((1, 1), np.int32)}, METADATA),
    "a sum is not a number": (pair(NAME, [[1, np.nan]], [[1]]), METADATA),
    "a sum is negative": (pair(NAME, [[1, -2]], [[1]]), METADATA),
    "a sum is infinite": (pair(NAME, [[1, np.inf]], [[1]]), METADATA),
    "a count is not a number": (pair(NAME, [[1, 2]], [[np.nan]]), METADATA),
    "a count is negative": (pair(NAME, [[1, 2]], [[-1]]), METADATA),
    "a count is infinite": (pair(NAME, [[1, 2]], [[np.inf]]), METADATA),
    "no data sets": (GOOD, without("imatrix.datasets")),
    "no chunk count": (GOOD, without("imatrix.chunk_count")),
    "no chunk size": (GOOD, without("imatrix.chunk_size")),
    "data sets are one string": (GOOD, METADATA | {"imatrix.datasets": "a.txt"}),
    "chunk count is a string": (GOOD, METADATA | {"imatrix.chunk_count": "3"}),
    "chunk count is negative": (GOOD, METADATA | {"imatrix.chunk_count": -3}),
}


@pytest.mark.parametrize(
    ("tensors", "metadata"), MALFORMED_GGUF.values(), ids=MALFORMED_GGUF.keys()
)
def test_malformed_gguf_is_an_error_that_names_the_file(
    gguf_path: Path, tensors: dict[str, Any], metadata: dict[str, Any]
) -> None:
    write_gguf(gguf_path, tensors, metadata)
    with pytest.raises(ImatrixError) as caught:
        read_imatrix(gguf_path)
    assert caught.value.file == str(gguf_path)


def test_truncated_gguf_is_an_imatrix_error(gguf_path: Path) -> None:
    write_gguf(gguf_path, GOOD)
    with pytest.raises(ImatrixError):
        read(gguf_path, gguf_path.read_bytes()[:-40])


VALID = dat_file(ENTRY, dat_entry("output.weight", 3, [0.5]))


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    flips=st.lists(
        st.tuples(st.integers(0, len(VALID) - 1), st.integers(1, 255)), min_size=1, max_size=4
    )
)
def test_flipped_bytes_give_valid_values_or_an_error(
    dat: Path, flips: list[tuple[int, int]]
) -> None:
    contents = bytearray(VALID)
    for position, mask in flips:
        contents[position] ^= mask
    try:
        imatrix = read(dat, bytes(contents))
    except Error:
        return
    for entry in imatrix.entries.values():
        assert np.isfinite(entry).all()
        assert (entry >= 0).all()
