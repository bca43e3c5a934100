"""An output file appears whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from phigguf.errors import InvalidArgument, OutputError
from phigguf.io.atomic import atomic_output


def test_appears_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    with atomic_output(target) as file:
        file.write(b"half")
        file.flush()
        assert not target.exists()
        file.write(b" and half")
    assert target.read_bytes() == b"half and half"
    assert os.listdir(tmp_path) == ["out.bin"]


def write_and_raise(target: Path, error: type[BaseException]) -> None:
    with atomic_output(target) as file:
        file.write(b"new")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, b"old"])
def test_an_exception_leaves_things_as_they_were(
    error: type[BaseException], before: bytes | None, tmp_path: Path
) -> None:
    target = tmp_path / "out.bin"
    if before is not None:
        target.write_bytes(before)
    with pytest.raises(error):
        write_and_raise(target, error)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([before] if before else [])


def test_replaces_an_existing_file_and_works_with_relative_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out.bin").write_bytes(b"old")
    with atomic_output("out.bin") as file:
        file.write(b"new")
    assert Path("out.bin").read_bytes() == b"new"


def test_a_full_disk_is_reported_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught, atomic_output(tmp_path / "out.bin"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.file == str(tmp_path / "out.bin")
    assert caught.value.value == os.strerror(errno.ENOSPC)
    assert os.listdir(tmp_path) == []


def test_other_operating_system_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_output(tmp_path / "out.bin"):
        (tmp_path / "absent").read_bytes()


def test_a_name_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 300)
    with pytest.raises(OutputError) as caught, atomic_output(target) as file:
        file.write(b"new")
    assert caught.value.file == str(target)
    assert os.listdir(tmp_path) == []


def test_directories_and_missing_directories_are_refused(tmp_path: Path) -> None:
    for target in (tmp_path, tmp_path / "absent" / "out.bin"):
        with pytest.raises(InvalidArgument) as caught, atomic_output(target):
            pass
        assert caught.value.file == str(target)
    assert os.listdir(tmp_path) == []


posix = pytest.mark.skipif(os.name != "posix", reason="concerns POSIX files")


@posix
def test_what_is_not_a_file_is_not_replaced(tmp_path: Path) -> None:
    # A pipe stands for every device: were the check broken, a test run by root that aimed at
    # /dev/null would replace it on the machine.
    target = tmp_path / "pipe"
    os.mkfifo(target)
    with pytest.raises(InvalidArgument) as caught, atomic_output(target):
        pass
    assert caught.value.file == str(target)
    assert stat.S_ISFIFO(target.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


@posix
def test_a_symbolic_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.bin"
    link.symlink_to(tmp_path / "real" / "out.bin")
    with atomic_output(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert (tmp_path / "real" / "out.bin").read_bytes() == b"new"


@posix
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    before = os.umask(0o027)
    try:
        with atomic_output(target) as file:
            file.write(b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
