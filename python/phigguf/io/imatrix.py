"""Importance matrices of llama.cpp: how strongly each input column of a weight matrix is used.

For every weight matrix, calibration accumulates the squares of its inputs per column. Two file
formats exist. The newer one is a GGUF file with the sums and the number of summed rows; the older
one (``.dat``) holds means times a number of calls. Both are reduced here to the float32 means
that llama.cpp's quantizer works with, by the same float32 operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import GGUFError, ImatrixError
from .files import map_file, regular_file_size
from .gguf import GGUFFile, TensorInfo, read_gguf
from .gguf_format import MAGIC

Floats = npt.NDArray[np.float32]

_SUMS, _COUNTS = ".in_sum2", ".counts"


@dataclass(frozen=True, eq=False)
class Imatrix:
    """Importances by tensor name.

    Attributes
    ----------
    path
        The file they came from.
    entries
        float32 [matrices, cols] by GGUF tensor name; one matrix except in mixtures of experts.
        An older file does not tell experts apart and has all of them in one row; see `weights`.
    datasets
        The calibration texts, as far as the file names them.
    chunks
        How many chunks of text were used; 0 where the file does not say.
    """

    path: Path
    entries: dict[str, Floats]
    datasets: list[str]
    chunks: int

    def weights(self, name: str, cols: int, matrices: int = 1) -> Floats | None:
        """Importances for a tensor of `matrices` matrices with `cols` columns.

        Returns
        -------
        float32 [matrices, cols], or None where the file has nothing on this tensor.

        Raises
        ------
        ImatrixError
            The file's entry has another size.
        """
        entry = self.entries.get(name)
        if entry is None:
            return None
        if entry.size != matrices * cols:
            raise ImatrixError(
                f"has {entry.size} values where the tensor has {matrices} x {cols} columns",
                file=self.path,
                field=name,
            )
        return entry.reshape(matrices, cols)


def read_imatrix(path: str | PathLike[str]) -> Imatrix:
    """Read an importance matrix, in either of llama.cpp's formats.

    Raises
    ------
    FileMissing
        The path is not a regular file or cannot be opened.
    ImatrixError
        The file is truncated or malformed, or holds values that no calibration gives: negative,
        infinite or not a number.
    """
    path = Path(path)
    contents = map_file(path) if regular_file_size(path) else np.zeros(0, dtype=np.uint8)
    is_gguf = contents[: len(MAGIC)].tobytes() == MAGIC
    return _read_gguf(path) if is_gguf else _DatReader(path, contents).read()


def _check_values(values: Floats, path: Path, name: str) -> Floats:
    valid = np.isfinite(values) & (values >= 0)
    if not valid.all():
        raise ImatrixError(
            "a value is negative or not finite",
            file=path,
            field=name,
            value=float(values[~valid][0]),
        )
    return values


# --- GGUF ---


def _read_gguf(path: Path) -> Imatrix:
    try:
        file = read_gguf(path)
    except GGUFError as error:
        raise ImatrixError(
            error.problem, file=error.file, field=error.field, value=error.value
        ) from error
    names = {
        tensor.removesuffix(suffix)
        for tensor in file.tensors
        for suffix in (_SUMS, _COUNTS)
        if tensor.endswith(suffix)
    }
    if not names:
        raise ImatrixError("is a GGUF file without importances", file=path)
    _count(file, "imatrix.chunk_size")  # of no use here, but llama.cpp takes no file without it
    return Imatrix(
        path=path,
        entries={name: _mean(file, name) for name in sorted(names)},
        datasets=_datasets(file),
        chunks=_count(file, "imatrix.chunk_count"),
    )


def _datasets(file: GGUFFile) -> list[str]:
    value = file.metadata.get("imatrix.datasets")
    if not isinstance(value, list):
        raise ImatrixError(
            "should be an array of strings", file=file.path, field="imatrix.datasets", value=value
        )
    return value


def _count(file: GGUFFile, key: str) -> int:
    value = file.metadata.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ImatrixError("should be a count", file=file.path, field=key, value=value)
    return value


def _mean(file: GGUFFile, name: str) -> Floats:
    """Sums divided by counts; a matrix that calibration never reached weighs all columns alike."""
    counts = _floats(file, name + _COUNTS).reshape(-1, 1)
    sums = _floats(file, name + _SUMS).reshape(-1)
    if counts.size == 0 or sums.size == 0 or sums.size % counts.size:
        raise ImatrixError(
            f"{sums.size} sums do not fit {counts.size} counts", file=file.path, field=name
        )
    # Halves round up, as lround does for numbers that are not negative.
    rows = np.floor(counts.astype(np.float64) + 0.5).astype(np.float32)
    reached = rows > 0
    means = sums.reshape(len(rows), -1) / np.where(reached, rows, np.float32(1))
    return np.where(reached, means, np.float32(1))


def _floats(file: GGUFFile, tensor: str) -> Floats:
    info: TensorInfo | None = file.tensors.get(tensor)
    if info is None:
        raise ImatrixError("sums and counts should come in pairs", file=file.path, field=tensor)
    if info.type.name != "F32":
        raise ImatrixError("should be F32", file=file.path, field=tensor, value=info.type.name)
    return _check_values(info.data.view("<f4"), file.path, tensor)


# --- The older format ---


class _DatReader:
    """int32 count, then per entry: name, calls, values; then perhaps the chunks and the text."""

    def __init__(self, path: Path, contents: npt.NDArray[np.uint8]) -> None:
        self._path = path
        self._data = contents
        self._position = 0

    def read(self) -> Imatrix:
        n_entries = self._int("number of entries", least=1)
        entries: dict[str, Floats] = {}
        for index in range(n_entries):
            name = self._string(f"name of entry {index}")
            if not name or name in entries:
                problem = "an entry's name is repeated" if name else "an entry has no name"
                raise ImatrixError(problem, file=self._path, field=f"entry {index}", value=name)
            entries[name] = self._mean(name)
        chunks = self._int("chunk count") if self._left() else 0
        datasets = [self._string("data set")] if self._left() else []
        if self._left():
            raise ImatrixError(f"{self._left()} bytes follow the last entry", file=self._path)
        return Imatrix(self._path, entries, [text for text in datasets if text], chunks)

    def _mean(self, name: str) -> Floats:
        calls = self._int(f"{name}: number of calls")
        n_values = self._int(f"{name}: number of values", least=1)
        values = np.frombuffer(self._take(4 * n_values, name).tobytes(), dtype="<f4")
        _check_values(values, self._path, name)
        means = values / np.float32(calls) if calls else values
        return means.reshape(1, n_values)

    def _int(self, field: str, least: int = 0) -> int:
        value = int.from_bytes(self._take(4, field).tobytes(), "little", signed=True)
        if value < least:
            raise ImatrixError("is out of range", file=self._path, field=field, value=value)
        return value

    def _string(self, field: str) -> str:
        raw = self._take(self._int(f"length of {field}"), field).tobytes()
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise ImatrixError("is not UTF-8", file=self._path, field=field, value=raw) from error
        if "\0" in text:
            raise ImatrixError("holds a NUL character", file=self._path, field=field, value=text)
        return text

    def _take(self, size: int, field: str) -> npt.NDArray[np.uint8]:
        if size > self._left():
            raise ImatrixError(
                f"is truncated: {size} bytes wanted, {self._left()} left",
                file=self._path,
                field=field,
            )
        self._position += size
        return self._data[self._position - size : self._position]

    def _left(self) -> int:
        return len(self._data) - self._position
