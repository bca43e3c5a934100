"""Writing GGUF files: the header first, from sizes alone, then the tensor data as a stream.

The bytes equal those of the `gguf` package's writer for the same content.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from phigguf.errors import InvalidArgument, ShapeError
from phigguf.io.gguf_encoding import encode_string, encode_value, pack
from phigguf.io.gguf_format import (
    ALIGNMENT_KEY,
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_DIMENSION,
    MAX_KEY_BYTES,
    MAX_RANK,
    MAX_TENSOR_NAME_BYTES,
    WRITTEN_VERSION,
    GGUFValueType,
    MetadataValue,
    align_up,
    is_alignment,
    u32,
)
from phigguf.types import TensorType

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that is going to be written.

    Parameters
    ----------
    name
        At most 63 bytes of UTF-8, which is what ggml can hold.
    shape
        One to four dimensions in NumPy's order; the last is a multiple of the block width.
    type
        How the elements are stored.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType

    @property
    def nbytes(self) -> int:
        """Bytes of data, padding excluded."""
        return math.prod(self.shape[:-1]) * self.type.row_bytes(self.shape[-1])


@dataclass(frozen=True)
class GGUFLayout:
    """Where everything of a file lies, known before any tensor data is.

    Parameters
    ----------
    header
        All bytes up to the first tensor's data.
    offsets
        Where each tensor's data begins, in bytes from the start of the file; in file order.
    size
        Bytes of the whole file.
    """

    header: bytes
    offsets: dict[str, int]
    size: int


def plan_layout(metadata: Mapping[str, MetadataValue], tensors: Sequence[TensorSpec]) -> GGUFLayout:
    """Encode the header of a GGUF file and place its tensors in the order given.

    The alignment is the value of ``general.alignment`` in the metadata, or 32.

    Raises
    ------
    InvalidArgument
        A key, a name or a value that GGUF cannot express.
    ShapeError
        A tensor with no or too many dimensions, or one that its type's blocks do not divide.
    """
    alignment = _alignment(metadata)
    parts = [
        MAGIC,
        pack(GGUFValueType.UINT32, WRITTEN_VERSION),
        pack(GGUFValueType.UINT64, len(tensors)),
        pack(GGUFValueType.UINT64, len(metadata)),
    ]
    for key, value in metadata.items():
        parts += [_encode_name(key, MAX_KEY_BYTES, "metadata key"), encode_value(key, value)]
    offsets: dict[str, int] = {}
    end = 0
    for tensor in tensors:
        if tensor.name in offsets:
            raise InvalidArgument("occurs twice", field="tensor name", value=tensor.name)
        nbytes = _checked_nbytes(tensor)
        parts.append(_encode_tensor(tensor, end))
        offsets[tensor.name] = end
        end = align_up(end + nbytes, alignment)
    header = b"".join(parts)
    header = header.ljust(align_up(len(header), alignment), b"\0")
    absolute = {name: len(header) + offset for name, offset in offsets.items()}
    return GGUFLayout(header, absolute, len(header) + end)


def _alignment(metadata: Mapping[str, MetadataValue]) -> int:
    value = metadata.get(ALIGNMENT_KEY, u32(DEFAULT_ALIGNMENT))
    alignment = value.value
    if (
        value.type is not GGUFValueType.UINT32
        or not isinstance(alignment, int)
        or not is_alignment(alignment)
    ):
        raise InvalidArgument(
            "must be a power of two of type uint32", field=ALIGNMENT_KEY, value=value
        )
    return alignment


def _encode_name(name: str, limit: int, field: str) -> bytes:
    encoded = encode_string(name, field)
    length = len(encoded) - 8
    if not 1 <= length <= limit:
        raise InvalidArgument(f"must have 1 to {limit} bytes", field=field, value=name)
    return encoded


def _checked_nbytes(tensor: TensorSpec) -> int:
    field = f"tensor {tensor.name}"
    shape = tensor.shape
    if not 1 <= len(shape) <= MAX_RANK or not all(1 <= size <= MAX_DIMENSION for size in shape):
        raise ShapeError(
            f"must have 1 to {MAX_RANK} dimensions, each from 1 to 2^63 - 1",
            field=field,
            value=shape,
        )
    try:
        return tensor.nbytes
    except ShapeError as error:
        raise ShapeError(error.problem, field=field, value=shape) from error


def _encode_tensor(tensor: TensorSpec, offset: int) -> bytes:
    return b"".join(
        [
            _encode_name(tensor.name, MAX_TENSOR_NAME_BYTES, "tensor name"),
            pack(GGUFValueType.UINT32, len(tensor.shape)),
            *(pack(GGUFValueType.UINT64, dimension) for dimension in reversed(tensor.shape)),
            pack(GGUFValueType.UINT32, tensor.type.id),
            pack(GGUFValueType.UINT64, offset),
        ]
    )


class GGUFWriter:
    """Writes a GGUF file from front to back; the header is written at once.

    Parameters
    ----------
    file
        Open for binary writing, at its beginning.
    metadata
        Typed values, in the order in which they are to be stored. ``general.alignment`` sets the
        alignment of the tensor data, 32 bytes without it.
    tensors
        In the order in which their data will come.

    Raises
    ------
    InvalidArgument, ShapeError
        As `plan_layout` does, before anything is written.

    Examples
    --------
    >>> with atomic_output("model.gguf") as file:
    ...     writer = GGUFWriter(file, {"general.architecture": string("phi3")}, specs)
    ...     for spec in specs:
    ...         writer.begin_tensor(spec.name)
    ...         writer.write(data_of(spec))
    ...     writer.finish()
    """

    def __init__(
        self,
        file: BinaryIO,
        metadata: Mapping[str, MetadataValue],
        tensors: Sequence[TensorSpec],
    ) -> None:
        self.layout = plan_layout(metadata, tensors)
        self._file = file
        self._waiting = list(reversed(tensors))
        self._current: TensorSpec | None = None
        self._missing = 0
        self._position = len(self.layout.header)
        file.write(self.layout.header)

    def begin_tensor(self, name: str) -> None:
        """Start the next tensor.

        Raises
        ------
        InvalidArgument
            It is another tensor's turn, or the one before lacks bytes.
        """
        self._check_complete()
        if not self._waiting or self._waiting[-1].name != name:
            turn = f"tensor {self._waiting[-1].name}" if self._waiting else "the end of the file"
            raise InvalidArgument(f"{turn} is next", field="tensor name", value=name)
        self._current = self._waiting.pop()
        self._missing = self._current.nbytes
        self._pad_to(self.layout.offsets[name])

    def write(self, data: ReadableBuffer) -> None:
        """Append bytes, C-contiguous, to the tensor begun last.

        Raises
        ------
        InvalidArgument
            They are more than the tensor has left, or no tensor was begun.
        """
        view = memoryview(data)
        if self._current is None or view.nbytes > self._missing:
            raise InvalidArgument(
                f"the tensor has room for {self._missing} more bytes",
                field=self._field(),
                value=view.nbytes,
            )
        self._file.write(view)
        self._missing -= view.nbytes
        self._position += view.nbytes

    def finish(self) -> None:
        """Pad the last tensor. The file stays open and is the caller's to close.

        Raises
        ------
        InvalidArgument
            A tensor has not been written, or not completely.
        """
        self._check_complete()
        if self._waiting:
            raise InvalidArgument(
                "the tensor has not been written", field=f"tensor {self._waiting[-1].name}"
            )
        self._pad_to(self.layout.size)

    def _check_complete(self) -> None:
        if self._missing:
            raise InvalidArgument(
                "the tensor lacks bytes", field=self._field(), value=self._missing
            )

    def _pad_to(self, position: int) -> None:
        self._file.write(bytes(position - self._position))
        self._position = position

    def _field(self) -> str:
        return "tensor data" if self._current is None else f"tensor {self._current.name}"
