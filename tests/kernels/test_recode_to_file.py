"""Matrices recoded into a file: the bytes and errors of memory, in place, whoever writes them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from kernels.recode import recode, row_bytes
from phigguf import _core
from phigguf.errors import QuantizationError, ShapeError

COLS = 512
ROWS = (1, 700, 3, 1030)  # more than a share's 256 rows, and fewer
TYPES = ("Q4_K", "Q8_0", "F32", "BF16")


def matrices() -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.standard_normal((rows, COLS)).astype(np.float16) for rows in ROWS]


def recodings(sources: list[np.ndarray]) -> list[_core.Recoding]:
    """Each matrix after the one before, with a gap of a byte."""
    made, offset = [], 5
    for index, (source, target_type) in enumerate(zip(sources, TYPES, strict=True)):
        made.append(
            _core.Recoding(
                source.view(np.uint8),
                "F16",
                target_type,
                COLS,
                offset,
                file="a file",
                name=f"matrix {index}",
            )
        )
        offset += len(source) * row_bytes(target_type, COLS) + 1
    return made


def write(path: Path, made: list[_core.Recoding], threads: int = 2) -> list[float]:
    with path.open("wb") as file:
        return _core.recode_to_file(made, file.fileno(), threads, lambda weights: None)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_bytes_are_those_of_memory_in_their_places(isa: str, tmp_path: Path, threads: int) -> None:
    sources = matrices()
    expected = b"\0" * 5 + b"\0".join(
        recode(source.view(np.uint8), "F16", target_type, COLS).tobytes()
        for source, target_type in zip(sources, TYPES, strict=True)
    )
    write(tmp_path / "file", recodings(sources), threads)
    assert (tmp_path / "file").read_bytes() == expected


def test_squared_errors_are_those_of_memory(isa: str, tmp_path: Path) -> None:
    sources = matrices()
    errors = write(tmp_path / "file", recodings(sources))
    for source, target_type, error in zip(sources, TYPES, errors, strict=True):
        target = np.empty((len(source), row_bytes(target_type, COLS)), np.uint8)
        rows = source.view(np.uint8)
        assert error == _core.recode(rows, "F16", target, target_type, COLS, None, 1, True)
    assert errors == write(tmp_path / "file", recodings(sources), threads=1)


def test_source_bytes_can_be_kept_and_are_checked(tmp_path: Path) -> None:
    blocks = recode(matrices()[1].view(np.uint8), "F16", "Q8_0", COLS)
    kept = _core.Recoding(blocks, "Q8_0", "F32", COLS, 3, keep_source=True, name="kept")
    assert write(tmp_path / "file", [kept]) == [0.0]
    assert (tmp_path / "file").read_bytes() == b"\0" * 3 + blocks.tobytes()
    blocks[650, :2] = np.frombuffer(np.float16(np.inf).tobytes(), np.uint8)
    with pytest.raises(QuantizationError, match=r"kept, row 650, column .*not finite"):
        write(tmp_path / "file", [kept])


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_problem_in_order_is_named(tmp_path: Path, threads: int) -> None:
    sources = matrices()
    sources[1][600, 7] = np.nan
    sources[2][0, 0] = np.inf
    sources[3][:] = np.nan
    with pytest.raises(QuantizationError, match="matrix 1, row 600, column 7") as caught:
        write(tmp_path / "file", recodings(sources), threads)
    assert caught.value.file == "a file"


def test_a_file_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        (tmp_path / "file").open("rb") as file,
        pytest.raises(OSError, match=os.strerror(9)),  # EBADF
    ):
        _core.recode_to_file(recodings(matrices()), file.fileno(), 2, lambda weights: None)


@pytest.mark.parametrize("threads", [1, 2])
def test_progress_counts_every_weight(tmp_path: Path, threads: int) -> None:
    counts: list[int] = []
    with (tmp_path / "file").open("wb") as file:
        _core.recode_to_file(recodings(matrices()), file.fileno(), threads, counts.append)
    assert sum(counts) == sum(ROWS) * COLS


def test_an_exception_in_progress_ends_the_work(tmp_path: Path) -> None:
    def interrupted(weights: int) -> None:
        raise KeyboardInterrupt

    with (tmp_path / "file").open("wb") as file, pytest.raises(KeyboardInterrupt):
        _core.recode_to_file(recodings(matrices()), file.fileno(), 2, interrupted)


def test_arguments_are_checked_when_a_recoding_is_made() -> None:
    source = matrices()[0].view(np.uint8)
    with pytest.raises(ShapeError, match="source"):
        _core.Recoding(source, "F16", "Q4_K", 256, 0)
    with pytest.raises(ShapeError, match="multiple of Q4_K"):
        _core.Recoding(source[:, :96].copy(), "F16", "Q4_K", 48, 0)
    importance = np.where(np.arange(COLS) == 3, -1, 1).astype(np.float32)
    with pytest.raises(QuantizationError, match="imatrix, column 3"):
        _core.Recoding(source, "F16", "Q4_K", COLS, 0, importance)


def test_no_matrix_is_no_work(tmp_path: Path) -> None:
    assert write(tmp_path / "file", []) == []
    assert (tmp_path / "file").read_bytes() == b""
