"""Bounds-checked reading of GGUF's primitive values.

Every length that the file claims is compared with the bytes that the file has left before
anything of that length is read or allocated.
"""

from __future__ import annotations

import mmap
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from phigguf.errors import GGUFError
from phigguf.io.gguf_format import NUMBER_DTYPES, GGUFValueType

_UINT64 = struct.Struct("<Q")


class Cursor:
    """A position in a GGUF file that moves forward as values are read.

    Parameters
    ----------
    file
        The file's path, for errors.
    buffer
        The whole file.

    Notes
    -----
    Every method that reads takes the name of the field, and raises `GGUFError` with the file, that
    name and the value when the file's bytes cannot be what they claim to be.
    """

    def __init__(self, file: Path, buffer: mmap.mmap | bytes) -> None:
        self.file = file
        self.position = 0
        self.size = len(buffer)
        self._buffer = buffer

    @property
    def remaining(self) -> int:
        """Bytes between the position and the end of the file."""
        return self.size - self.position

    def error(self, problem: str, field: str, value: Any = None) -> GGUFError:
        """An error that names the file."""
        return GGUFError(problem, file=self.file, field=field, value=value)

    def take(self, count: int, field: str) -> bytes:
        """The next ``count`` bytes."""
        if count > self.remaining:
            raise self.error(
                f"needs more bytes than the {self.remaining} left in the file", field, count
            )
        start = self.position
        self.position += count
        return self._buffer[start : self.position]

    def number(self, kind: GGUFValueType, field: str) -> Any:
        """One integer, float or truth value, as a Python object."""
        return self.numbers(kind, 1, field)[0].item()

    def numbers(self, kind: GGUFValueType, count: int, field: str) -> npt.NDArray[Any]:
        """``count`` numbers or truth values, as a read-only array [count]."""
        dtype = NUMBER_DTYPES[kind]
        raw = self.take(count * dtype.itemsize, field)
        if kind is GGUFValueType.BOOL and (wrong := raw.strip(b"\0\1")):
            raise self.error("a truth value must be 0 or 1", field, wrong[0])
        return np.frombuffer(raw, dtype)

    def string(self, field: str) -> str:
        """One UTF-8 string."""
        length = self.number(GGUFValueType.UINT64, field)
        try:
            return str(self.take(length, field), "utf-8")
        except UnicodeDecodeError as error:
            raise self.error("the string is not UTF-8", field, error.object) from error

    def strings(self, count: int, field: str) -> list[str]:
        """``count`` UTF-8 strings."""
        if 8 * count > self.remaining:
            raise self.error(
                f"needs more bytes than the {self.remaining} left in the file", field, count
            )
        strings = self._sound_strings(count)
        while len(strings) < count:
            strings.append(self.string(f"{field}[{len(strings)}]"))
        return strings

    def _sound_strings(self, count: int) -> list[str]:
        """Up to ``count`` strings, ending before the first that is malformed.

        Vocabularies have 10^5 strings: calling `string` for each would take three times as long.
        """
        strings: list[str] = []
        append, read_length = strings.append, _UINT64.unpack_from
        buffer, size, end = self._buffer, self.size, self.position
        with suppress(struct.error, UnicodeDecodeError):
            for _ in range(count):
                start = end + 8
                stop = start + read_length(buffer, end)[0]
                if stop > size:
                    break
                append(buffer[start:stop].decode())
                end = stop
        self.position = end
        return strings
