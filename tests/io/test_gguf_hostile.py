"""Malformed and malicious GGUF files: each is refused by name, cheaply."""

from __future__ import annotations

import contextlib
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gguf_bytes import (
    ARRAY,
    BOOL,
    F32,
    INT32,
    Q4_0,
    STRING,
    UINT8,
    UINT32,
    UINT64,
    array,
    entry,
    gguf_file,
    tensor,
    text,
    uint32,
    uint64,
)
from phigguf.errors import Error, GGUFError
from phigguf.io.gguf import read_gguf

# What parsing may allocate beyond the file itself: no claim in these files, and several are
# of 2^40 bytes and more, may be believed.
MEMORY_LIMIT = 200_000

VALID = gguf_file(
    [
        entry("general.architecture", STRING, text("phi3")),
        entry("flag", BOOL, b"\1"),
        entry("tokens", ARRAY, array(STRING, 3, text("a") + text("é") + text(""))),
        entry("ids", ARRAY, array(INT32, 2, uint32(1) + uint32(2))),
    ],
    [tensor("a", [8, 2]), tensor("b", [32, 3], Q4_0, 64)],
    bytes(64 + 64),
)
HUGE = 2**64 - 1


def with_value(kind: int, payload: bytes) -> bytes:
    return gguf_file([entry("key", kind, payload)])


def with_tensors(*tensors: bytes, data: int = 4096) -> bytes:
    return gguf_file(tensors=tensors, data=bytes(data))


def with_alignment(kind: int, payload: bytes) -> bytes:
    return gguf_file([entry("general.alignment", kind, payload)], [tensor("a", [8])], bytes(32))


def nested_arrays(depth: int) -> bytes:
    return with_value(ARRAY, array(ARRAY, 1, b"") * depth + array(UINT8, 1, b"\0"))


# name: (file, the field that the error names, the value that it quotes)
CASES: dict[str, tuple[bytes, str, object]] = {
    # the header
    "empty": (b"", "magic", 4),
    "magic cut": (b"GGU", "magic", 4),
    "magic wrong": (b"GGML" + VALID[4:], "magic", b"GGML"),
    "version cut": (b"GGUF\3\0", "version", 4),
    "version 0": (gguf_file(version=0), "version", 0),
    "version 1": (gguf_file(version=1), "version", 1),
    "version 4": (gguf_file(version=4), "version", 4),
    "big-endian": (gguf_file(version=0x03000000), "version", 0x03000000),
    "big-endian version 2": (gguf_file(version=0x02000000), "version", 0x02000000),
    "header cut": (VALID[:20], "metadata count", 8),
    # counts
    "metadata count huge": (gguf_file(metadata_count=HUGE), "metadata count", HUGE),
    "metadata count wraps": (gguf_file(metadata_count=2**63), "metadata count", 2**63),
    "metadata count past file": (gguf_file(metadata_count=3), "metadata count", 3),
    "tensor count huge": (gguf_file(tensor_count=HUGE), "tensor count", HUGE),
    "tensor count wraps": (
        gguf_file(tensor_count=2**64 // 33 + 1),
        "tensor count",
        2**64 // 33 + 1,
    ),
    "tensor count past file": (gguf_file(tensor_count=2), "tensor count", 2),
    "array count huge": (with_value(ARRAY, array(UINT64, HUGE, b"")), "key", 8 * HUGE),
    "array count wraps": (with_value(ARRAY, array(UINT64, 2**61 + 1, b"")), "key", 2**64 + 8),
    "string count huge": (with_value(ARRAY, array(STRING, HUGE, b"")), "key", HUGE),
    "string count wraps": (with_value(ARRAY, array(STRING, 2**61, b"")), "key", 2**61),
    # strings
    "key length huge": (gguf_file([text(b"k" * 32, HUGE)]), "metadata key 0", HUGE),
    "string length huge": (with_value(STRING, text(b"", HUGE)), "key", HUGE),
    "string length wraps": (with_value(STRING, text(b"abc", 2**63)), "key", 2**63),
    "token longer than 2^31": (
        with_value(ARRAY, array(STRING, 2, text("a") + text("b", 2**31 + 1))),
        "key[1]",
        2**31 + 1,
    ),
    "token length cut": (
        gguf_file([entry("key", ARRAY, array(STRING, 2, text("abcdefgh") + b"\1"))], alignment=1),
        "key[1]",
        8,
    ),
    "string not UTF-8": (with_value(STRING, text(b"a\xff")), "key", b"a\xff"),
    "token not UTF-8": (
        with_value(ARRAY, array(STRING, 2, text("a") + text(b"\xc3"))),
        "key[1]",
        b"\xc3",
    ),
    "key not UTF-8": (gguf_file([entry(b"\xff", UINT8, b"\0")]), "metadata key 0", b"\xff"),
    "key empty": (gguf_file([entry("", UINT8, b"\0\0")]), "metadata key 0", ""),
    "key too long": (
        gguf_file([entry("k" * 65536, UINT8, b"\0")]),
        "metadata key 0",
        "k" * 65536,
    ),
    "key twice": (gguf_file([entry("key", UINT8, b"\0")] * 2), "metadata key 1", "key"),
    "value type unknown": (with_value(13, uint64(0)), "key", 13),
    "element type unknown": (with_value(ARRAY, array(99, 1, uint64(0))), "key", 99),
    "bool 2": (with_value(BOOL, b"\2"), "key", 2),
    "bool array 255": (with_value(ARRAY, array(BOOL, 3, b"\0\xff\1")), "key", 255),
    "array of arrays": (nested_arrays(1), "key", 1),
    "deep nested arrays": (nested_arrays(10_000), "key", 1),
    "nested arrays that multiply": (
        with_value(ARRAY, array(ARRAY, 2**32, array(ARRAY, 2**32, b""))),
        "key",
        2**32,
    ),
    # alignment
    "alignment 0": (with_alignment(UINT32, uint32(0)), "general.alignment", 0),
    "alignment 13": (with_alignment(UINT32, uint32(13)), "general.alignment", 13),
    "alignment int32": (with_alignment(INT32, uint32(32)), "general.alignment", "int32"),
    "alignment string": (with_alignment(STRING, text("32")), "general.alignment", "string"),
    # tensor names and shapes
    "name empty": (with_tensors(tensor("", [8])), "tensor name 0", ""),
    "name 64 bytes": (with_tensors(tensor("n" * 64, [8])), "tensor name 0", "n" * 64),
    "name length huge": (with_tensors(text("", HUGE)), "tensor name 0", HUGE),
    "name twice": (
        with_tensors(tensor("a", [8]), tensor("a", [8], offset=32)),
        "tensor name 1",
        "a",
    ),
    "rank 0": (with_tensors(tensor("a", [])), "tensor a", 0),
    "rank 5": (with_tensors(tensor("a", [1] * 5)), "tensor a", 5),
    "rank 1,000,000": (with_tensors(tensor("a", [8], rank=1_000_000)), "tensor a", 1_000_000),
    "rank huge": (with_tensors(tensor("a", [8], rank=2**32 - 1)), "tensor a", 2**32 - 1),
    "dimension 0": (with_tensors(tensor("a", [8, 0])), "tensor a", (0, 8)),
    "dimension negative": (with_tensors(tensor("a", [2**64 - 8])), "tensor a", (2**64 - 8,)),
    # types
    **{
        f"type {kind}": (with_tensors(tensor("a", [256], kind)), "tensor a", kind)
        for kind in (4, 5, 31, 32, 33, 36, 37, 38, 43, 2**31, 2**32 - 1)
    },
    "row not a multiple of the block": (with_tensors(tensor("a", [33], Q4_0)), "tensor a", 33),
    # sizes and extent
    "elements wrap": (
        with_tensors(tensor("a", [2**62, 4, 1, 1])),
        "tensor a",
        96 + 2**66,
    ),
    "bytes wrap": (with_tensors(tensor("a", [32, 2**42 + 1])), "tensor a", 96 + 128 * (2**42 + 1)),
    "padding wraps": (
        with_tensors(tensor("a", [2**62 - 1])),
        "tensor a",
        64 + 4 * (2**62 - 1),
    ),
    "sum of sizes wraps": (
        with_tensors(tensor("a", [2**61]), tensor("b", [2**61], offset=2**63)),
        "tensor a",
        96 + 2**63,
    ),
    "data past the end": (with_tensors(tensor("a", [9]), data=32), "tensor a", 64 + 36),
    "data missing": (with_tensors(tensor("a", [1]), data=0), "tensor a", 64 + 4),
    "header padding missing": (
        gguf_file(tensors=[tensor("a", [1])], alignment=1),
        "tensor a",
        64 + 4,
    ),
    # layout
    "offset huge": (with_tensors(tensor("a", [8], offset=HUGE)), "tensor a", HUGE),
    "offset past the end": (with_tensors(tensor("a", [8], offset=4096)), "tensor a", 4096),
    "hole": (with_tensors(tensor("a", [8]), tensor("b", [8], offset=64)), "tensor b", 64),
    "overlap": (with_tensors(tensor("a", [16]), tensor("b", [8], offset=32)), "tensor b", 32),
    "same place": (with_tensors(tensor("a", [8]), tensor("b", [8])), "tensor b", 0),
    "misaligned": (with_tensors(tensor("a", [9]), tensor("b", [8], offset=36)), "tensor b", 36),
    "out of order": (
        with_tensors(tensor("a", [8], offset=32), tensor("b", [8])),
        "tensor a",
        32,
    ),
    "aligned otherwise than said": (
        gguf_file(
            [entry("general.alignment", UINT32, uint32(64))],
            [tensor("a", [8]), tensor("b", [8], offset=32)],
            bytes(128),
            alignment=64,
        ),
        "tensor b",
        32,
    ),
    "trailing bytes": (VALID + b"\0", "file size", 1),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_by_name_without_allocating_what_is_claimed(case: str, tmp_path: Path) -> None:
    content, field, value = CASES[case]
    path = tmp_path / "hostile.gguf"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(GGUFError) as caught:
            read_gguf(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.file == str(path)
    assert caught.value.field == field
    assert caught.value.value == value
    assert peak < MEMORY_LIMIT + 4 * len(content)


def test_the_file_that_the_cases_vary_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "valid.gguf"
    path.write_bytes(VALID)
    with read_gguf(path) as file:
        assert list(file.metadata) == ["general.architecture", "flag", "tokens", "ids"]
        assert [tensor.data.shape for tensor in file.tensors.values()] == [(2, 32), (3, 18)]


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    padding = 10
    for size in range(len(VALID) - padding):
        path.write_bytes(VALID[:size])
        with pytest.raises(GGUFError):
            read_gguf(path)


def test_the_padding_after_the_last_tensor_may_be_absent(tmp_path: Path) -> None:
    path = tmp_path / "unpadded.gguf"
    path.write_bytes(VALID[:-10])
    with read_gguf(path) as file:
        assert file.tensors["b"].nbytes == 54


flips = st.lists(
    st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=4
)


@settings(
    max_examples=2000,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(flips=flips, size=st.integers(0, len(VALID)) | st.just(len(VALID)))
@example(flips=[(VALID.index(uint32(F32) + uint64(0)), 24)], size=len(VALID))
def test_damaged_bytes_raise_nothing_but_phigguf_errors(
    flips: list[tuple[int, int]], size: int, tmp_path: Path
) -> None:
    damaged = bytearray(VALID)
    for position, value in flips:
        damaged[position] = value
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damaged[:size])
    # Anything but phigguf's own errors escapes and fails the test.
    with contextlib.suppress(Error), read_gguf(path) as file:
        for info in file.tensors.values():
            assert info.nbytes == info.data.size <= size
            assert info.data.sum() >= 0
