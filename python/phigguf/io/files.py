"""Regular files, read whole within a limit or mapped; what cannot be opened is `FileMissing`."""

from __future__ import annotations

import mmap
import stat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import Error, FileMissing


def regular_file_size(path: Path) -> int:
    """Size in bytes of a regular file.

    Opening anything else, a named pipe for example, could block for ever.

    Raises
    ------
    FileMissing
        The path is not a regular file or cannot be reached.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise _missing(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise FileMissing("is not a regular file", file=path)
    return status.st_size


def read_bytes(path: Path, limit: int, too_large: type[Error]) -> bytes:
    """Read a file of at most `limit` bytes.

    Raises
    ------
    FileMissing
        The path is not a regular file or cannot be opened.
    too_large
        The file is larger.
    """
    size = regular_file_size(path)
    if size > limit:
        raise too_large(f"is larger than {limit} bytes", file=path, value=size)
    try:
        return path.read_bytes()
    except OSError as error:
        raise _missing(path, error) from error


def map_file(path: Path) -> npt.NDArray[np.uint8]:
    """Map a file that is not empty: uint8 [size], read-only, alive as long as any view of it.

    Raises
    ------
    FileMissing
        The path is not a regular file or cannot be mapped.
    """
    regular_file_size(path)
    try:
        with path.open("rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise _missing(path, error) from error
    return np.frombuffer(mapping, dtype=np.uint8)


def _missing(path: Path, error: OSError | ValueError) -> FileMissing:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return FileMissing("cannot be opened", file=path, value=reason)
