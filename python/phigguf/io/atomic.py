"""Output files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from phigguf.errors import InvalidArgument, OutputError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def atomic_output(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open ``path`` for writing so that it is replaced only when the block succeeds.

    The bytes go to a hidden file beside the target, which is renamed over it at the end. Any
    exception, ``KeyboardInterrupt`` included, removes that file and leaves the target as it was.
    A symbolic link is written through, not replaced.

    Raises
    ------
    InvalidArgument
        The target is a directory or a device, or its directory does not exist.
    OutputError
        The file cannot be created or renamed, or the disk is full.
    """
    target, temporary, file = _open_beside(path)
    try:
        with file:
            yield file
        _rename(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise _refused(path, error) from error
        raise


def _open_beside(path: str | os.PathLike[str]) -> tuple[Path, Path, BinaryIO]:
    """The file to replace, the one to write first, and the latter opened."""
    try:
        target = _writable_target(path)
        temporary = target.with_name(f".phigguf-{secrets.token_hex(8)}.part")
        # Mode "x" honours the user's umask, which the tempfile module does not.
        return target, temporary, open(temporary, "xb")
    except OSError as error:
        raise _refused(path, error) from error


def _writable_target(path: str | os.PathLike[str]) -> Path:
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise InvalidArgument("the output is a directory or a device, not a file", file=path)
    if not target.parent.is_dir():
        raise InvalidArgument(
            "the output's directory does not exist", file=path, value=str(target.parent)
        )
    return target


def _rename(temporary: Path, target: Path) -> None:
    try:
        os.replace(temporary, target)
    except OSError as error:
        raise _refused(target, error) from error


def _refused(path: str | os.PathLike[str], error: OSError) -> OutputError:
    return OutputError("the file cannot be written", file=path, value=error.strerror)
