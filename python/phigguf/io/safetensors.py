"""safetensors files: validated by the safetensors library, then mapped and viewed in place."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError, FileMissing, SafetensorsError
from .files import map_file, regular_file_size
from .json_file import parse_json_object

_LENGTH_BYTES = 8  # the header's length, little-endian, opens the file


@dataclass(frozen=True, eq=False)
class SafeTensor:
    """One tensor of a mapped safetensors file.

    Attributes
    ----------
    dtype
        The file's own name of the element type: ``"F32"``, ``"F16"``, ``"BF16"``, ...
    shape
        Sizes, slowest dimension first; ``()`` for a scalar.
    data
        uint8 [nbytes], read-only, little-endian. A view of the mapped file: no weights are
        copied, and the mapping lives as long as any of its views.
    file
        Where it lies; a checkpoint may have several files.
    """

    dtype: str
    shape: tuple[int, ...]
    data: npt.NDArray[np.uint8]
    file: Path

    @property
    def nbytes(self) -> int:
        """Size of the tensor in bytes."""
        return self.data.nbytes


class SafetensorsFile:
    """A safetensors file, mapped.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    path
        The file.
    tensors
        Every tensor by name, in the header's order.
    metadata
        The header's free-form strings (``__metadata__``).

    Raises
    ------
    FileMissing
        The path is not a regular file or cannot be opened.
    SafetensorsError
        The header is malformed: longer than the file, not JSON, a key given twice, an unknown
        element type, offsets that overlap, leave holes, or do not fit the shape or the file.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        _validate(self.path)
        contents = map_file(self.path)
        header = _parse_header(contents, self.path)
        self.metadata: dict[str, str] = header.pop("__metadata__", None) or {}
        payload = contents[_LENGTH_BYTES + _header_length(contents) :]
        self.tensors = {
            name: _view(payload, entry, self.path, name) for name, entry in header.items()
        }


def _validate(path: Path) -> None:
    regular_file_size(path)
    try:
        with safe_open(path, framework="np"):
            pass
    except OSError as error:
        raise FileMissing("cannot be opened", file=path, value=str(error)) from error
    except SafetensorError as error:
        raise SafetensorsError(str(error), file=path) from error


def _header_length(contents: npt.NDArray[np.uint8]) -> int:
    return int.from_bytes(contents[:_LENGTH_BYTES].tobytes(), "little")


def _parse_header(contents: npt.NDArray[np.uint8], path: Path) -> dict[str, Any]:
    # The library keeps the last of two equal keys; parsing again here refuses both.
    length = _header_length(contents)
    header = contents[_LENGTH_BYTES : _LENGTH_BYTES + length].tobytes()
    try:
        return parse_json_object(header.decode(), path)
    except (CheckpointError, UnicodeDecodeError) as error:
        field = error.field if isinstance(error, CheckpointError) else None
        problem = error.problem if isinstance(error, CheckpointError) else "header is not UTF-8"
        raise SafetensorsError(problem, file=path, field=field) from error


def _view(
    payload: npt.NDArray[np.uint8], entry: dict[str, Any], path: Path, name: str
) -> SafeTensor:
    begin, end = entry["data_offsets"]
    data = payload[begin:end]
    if data.nbytes != end - begin:
        raise SafetensorsError("data lies past the end of the file", file=path, field=name)
    return SafeTensor(entry["dtype"], tuple(entry["shape"]), data, path)
