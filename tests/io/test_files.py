"""Opening files: only regular ones, only up to a limit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from phigguf.errors import CheckpointError, FileMissing
from phigguf.io.files import map_file, read_bytes, regular_file_size


def read(path: Path) -> object:
    return read_bytes(path, limit=4, too_large=CheckpointError)


@pytest.mark.parametrize("opening", [read, map_file, regular_file_size])
def test_only_regular_files_are_opened(tmp_path: Path, opening: Callable[[Path], object]) -> None:
    (tmp_path / "dangling").symlink_to("absent")
    with pytest.raises(FileMissing, match="not a regular file"):
        opening(tmp_path)
    for name in ("absent", "dangling", "nul\0", "a" * 5000):
        with pytest.raises(FileMissing) as caught:
            opening(tmp_path / name)
        assert caught.value.file == str(tmp_path / name)


def test_files_are_read_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1234")
    assert read(path) == b"1234"
    path.write_bytes(b"12345")
    with pytest.raises(CheckpointError, match="larger than 4 bytes") as caught:
        read(path)
    assert caught.value.value == 5


def test_a_mapping_is_read_only_and_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1234")
    mapping = map_file(path)
    assert not mapping.flags.writeable
    np.testing.assert_array_equal(mapping, [49, 50, 51, 52])


def test_an_empty_file_cannot_be_mapped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(FileMissing):
        map_file(path)
