"""Reading GGUF files: mapped into memory, validated before use, split files joined."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from phigguf import _core
from phigguf.errors import FileMissing, GGUFError, InvalidArgument
from phigguf.io.gguf_cursor import Cursor
from phigguf.io.gguf_format import MetadataType, MetadataValue
from phigguf.io.gguf_header import TensorEntry, read_header
from phigguf.io.gguf_split import SPLIT_KEYS, check_shards, shard_paths
from phigguf.types import TensorType

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, eq=False)
class TensorInfo:
    """One tensor of a GGUF file.

    Parameters
    ----------
    name
        For example ``"blk.0.attn_q.weight"``.
    shape
        In NumPy's order, the reverse of ggml's: the contiguous dimension comes last.
    type
        How the elements are stored.
    data
        uint8 [*shape[:-1], row bytes]: a read-only view into the mapped file.
    file
        The file that holds the data; one of several for a split model.
    offset
        Where the data begins in that file, in bytes.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    data: npt.NDArray[np.uint8]
    file: Path
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of data, padding excluded."""
        return self.data.nbytes


class GGUFFile:
    """A GGUF model as mapped from its file or files; `read_gguf` makes one.

    Attributes
    ----------
    path
        The file that was asked for.
    shards
        All files of the model in order; just ``path`` when it is not split.
    version
        The format's version, 2 or 3.
    alignment
        Of the tensor data, in bytes.
    metadata
        Values by key, in the file's order: ``int``, ``float``, ``bool``, ``str``, ``list[str]``,
        or a read-only one-dimensional NumPy array. A split model's come from its first file. The
        three ``split.*`` keys describe files rather than the model and are left out.
    metadata_types
        The type that each value has in the file.
    tensors
        By name, in the file's order.
    """

    def __init__(self, path: Path, shards: list[_Shard]) -> None:
        header = shards[0].header
        self.path = path
        self.shards = [shard.path for shard in shards]
        self.version = header.version
        self.alignment = header.alignment
        entries = {k: v for k, v in header.metadata.items() if k not in SPLIT_KEYS}
        self.metadata: dict[str, Any] = {key: entry.value for key, entry in entries.items()}
        self.metadata_types: dict[str, MetadataType] = {
            key: entry.type for key, entry in entries.items()
        }
        self._tensors: dict[str, TensorInfo] | None = {
            name: shard.tensor(entry)
            for shard in shards
            for name, entry in shard.header.tensors.items()
        }

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """By name, in the file's order."""
        if self._tensors is None:
            raise InvalidArgument("the file has been closed", file=self.path)
        return self._tensors

    def typed_metadata(self) -> dict[str, MetadataValue]:
        """The metadata with its types: what `plan_layout` needs to write it unchanged."""
        return {
            key: MetadataValue(self.metadata_types[key], value)
            for key, value in self.metadata.items()
        }

    def map_cached(self) -> None:
        """Map what memory holds of the tensors, which saves a page fault for every few pages."""
        for path, tensors in groupby(self.tensors.values(), lambda tensor: tensor.file):
            with contextlib.suppress(OSError), open(path, "rb") as file:  # it may be gone by now
                for tensor in tensors:
                    _core.map_cached(tensor.data.reshape(-1), file.fileno(), tensor.offset)

    def close(self) -> None:
        """Let go of the mapping. Arrays taken from ``tensors`` before stay valid and keep it."""
        self._tensors = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        tensors = "closed" if self._tensors is None else f"{len(self._tensors)} tensors"
        return f"GGUFFile({str(self.path)!r}, {len(self.metadata)} metadata entries, {tensors})"


def read_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """Map a GGUF file (version 2 or 3, little-endian) and validate everything but the numbers.

    Tensor data is not read, and the file must not be shortened while it is in use. For a split
    model, ``name-00001-of-00003.gguf``, any of its files may be given; all of them are opened.

    Raises
    ------
    FileMissing
        The file, or another file of a split model, cannot be opened.
    GGUFError
        A file is malformed, or the files do not belong together.
    """
    path = Path(path)
    given = _Shard(path)
    paths = shard_paths(path, given.header)
    shards = [given if shard == path else _Shard(shard) for shard in paths]
    if len(shards) > 1:
        check_shards({shard.path: shard.header for shard in shards})
    return GGUFFile(path, shards)


class _Shard:
    """One mapped file and its header."""

    def __init__(self, path: Path) -> None:
        self.path = path
        mapping = _map_file(path)
        self.header = read_header(Cursor(path, mapping))
        self._bytes = np.frombuffer(mapping, np.uint8)

    def tensor(self, entry: TensorEntry) -> TensorInfo:
        begin = self.header.data_start + entry.offset
        data = self._bytes[begin : begin + entry.nbytes].reshape(*entry.shape[:-1], -1)
        return TensorInfo(entry.name, entry.shape, entry.type, data, self.path, begin)


def _map_file(path: Path) -> mmap.mmap | bytes:
    try:
        # Opening a named pipe would wait for a writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise GGUFError("not a regular file", file=path)
        with open(path, "rb") as file:
            # An empty file cannot be mapped.
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FileMissing("the file cannot be opened", file=path, value=reason) from error
    _ask_for_huge_pages(mapping)
    return mapping


def _ask_for_huge_pages(mapping: mmap.mmap) -> None:
    """Weights are read a tenth faster from a file that Linux caches in pages of 2 MB, which it decides as it reads it."""
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            mapping.madvise(mmap.MADV_HUGEPAGE)
