"""Parsing of what precedes the tensor data in a GGUF file, checked against the file's size.

The rules are those of ggml's reader (ggml/src/gguf.cpp), some of them stricter: a tensor has one
to four dimensions, none of them zero, and nothing but padding follows the last tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from phigguf.errors import ShapeError, UnsupportedError
from phigguf.io.gguf_cursor import Cursor
from phigguf.io.gguf_format import (
    ALIGNMENT_KEY,
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_DIMENSION,
    MAX_KEY_BYTES,
    MAX_RANK,
    MAX_TENSOR_NAME_BYTES,
    READABLE_VERSIONS,
    ArrayOf,
    GGUFValueType,
    MetadataValue,
    align_up,
    is_alignment,
)
from phigguf.types import TensorType, tensor_type_by_id

# Bytes of the shortest possible entry: a key of one byte with a one-byte value, and a name of one
# byte with one dimension. They bound both counts by the size of the file.
_MIN_METADATA_BYTES = 8 + 1 + 4 + 1
_MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8


@dataclass(frozen=True)
class TensorEntry:
    """What a file says about one tensor.

    Parameters
    ----------
    name, type
        As in the file.
    shape
        In NumPy's order, the reverse of ggml's: the contiguous dimension comes last.
    offset
        Where the data begins, in bytes from the start of the data section.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of data, padding excluded."""
        return math.prod(self.shape[:-1]) * self.type.row_bytes(self.shape[-1])


@dataclass(frozen=True)
class GGUFHeader:
    """Everything that precedes the tensor data.

    Parameters
    ----------
    version
        2 or 3.
    alignment
        Of the data section and of each tensor in it, in bytes.
    metadata, tensors
        In the file's order.
    data_start
        Where the data section begins, in bytes from the start of the file.
    """

    version: int
    alignment: int
    metadata: dict[str, MetadataValue]
    tensors: dict[str, TensorEntry]
    data_start: int


def read_header(cursor: Cursor) -> GGUFHeader:
    """Parse and validate a file from its first byte.

    Raises
    ------
    GGUFError
        The file is malformed; the message says where.
    """
    version = _read_version(cursor)
    tensor_count = cursor.number(GGUFValueType.UINT64, "tensor count")
    metadata_count = cursor.number(GGUFValueType.UINT64, "metadata count")
    metadata = _read_metadata(cursor, metadata_count)
    alignment = _alignment(cursor, metadata)
    tensors = _read_tensors(cursor, tensor_count)
    data_start = align_up(cursor.position, alignment)
    _check_layout(cursor, tensors, alignment, data_start)
    return GGUFHeader(version, alignment, metadata, tensors, data_start)


def _read_version(cursor: Cursor) -> int:
    magic = cursor.take(len(MAGIC), "magic")
    if magic != MAGIC:
        raise cursor.error("not a GGUF file", "magic", magic)
    version: int = cursor.number(GGUFValueType.UINT32, "version")
    if version not in READABLE_VERSIONS:
        if version.to_bytes(4, "big") in [v.to_bytes(4, "little") for v in READABLE_VERSIONS]:
            raise cursor.error("big-endian GGUF files are not supported", "version", version)
        raise cursor.error("only versions 2 and 3 can be read", "version", version)
    return version


def _read_metadata(cursor: Cursor, count: int) -> dict[str, MetadataValue]:
    if count * _MIN_METADATA_BYTES > cursor.remaining:
        raise cursor.error("exceeds what the file can hold", "metadata count", count)
    metadata: dict[str, MetadataValue] = {}
    for index in range(count):
        field = f"metadata key {index}"
        key = cursor.string(field)
        if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
            raise cursor.error(f"must have 1 to {MAX_KEY_BYTES} bytes", field, key)
        if key in metadata:
            raise cursor.error("occurs twice", field, key)
        metadata[key] = _read_value(cursor, key)
    return metadata


def _read_value(cursor: Cursor, key: str) -> MetadataValue:
    kind = _read_value_type(cursor, key)
    if kind is GGUFValueType.STRING:
        return MetadataValue(kind, cursor.string(key))
    if kind is not GGUFValueType.ARRAY:
        return MetadataValue(kind, cursor.number(kind, key))
    element = _read_value_type(cursor, key)
    count = cursor.number(GGUFValueType.UINT64, key)
    if element is GGUFValueType.ARRAY:
        raise cursor.error("arrays of arrays are not supported", key, count)
    if element is GGUFValueType.STRING:
        return MetadataValue(ArrayOf(element), cursor.strings(count, key))
    return MetadataValue(ArrayOf(element), cursor.numbers(element, count, key))


def _read_value_type(cursor: Cursor, key: str) -> GGUFValueType:
    number = cursor.number(GGUFValueType.UINT32, key)
    try:
        return GGUFValueType(number)
    except ValueError as error:
        raise cursor.error("unknown metadata value type", key, number) from error


def _alignment(cursor: Cursor, metadata: dict[str, MetadataValue]) -> int:
    entry = metadata.get(ALIGNMENT_KEY, MetadataValue(GGUFValueType.UINT32, DEFAULT_ALIGNMENT))
    if entry.type is not GGUFValueType.UINT32:
        raise cursor.error("must be of type uint32", ALIGNMENT_KEY, str(entry.type))
    alignment: int = entry.value
    if not is_alignment(alignment):
        raise cursor.error("must be a power of two", ALIGNMENT_KEY, alignment)
    return alignment


def _read_tensors(cursor: Cursor, count: int) -> dict[str, TensorEntry]:
    if count * _MIN_TENSOR_BYTES > cursor.remaining:
        raise cursor.error("exceeds what the file can hold", "tensor count", count)
    tensors: dict[str, TensorEntry] = {}
    for index in range(count):
        field = f"tensor name {index}"
        name = cursor.string(field)
        if not 0 < len(name.encode()) <= MAX_TENSOR_NAME_BYTES:
            raise cursor.error(f"must have 1 to {MAX_TENSOR_NAME_BYTES} bytes", field, name)
        if name in tensors:
            raise cursor.error("occurs twice", field, name)
        tensors[name] = _read_tensor(cursor, name)
    return tensors


def _read_tensor(cursor: Cursor, name: str) -> TensorEntry:
    field = f"tensor {name}"
    rank = cursor.number(GGUFValueType.UINT32, field)
    if not 1 <= rank <= MAX_RANK:
        raise cursor.error(f"must have 1 to {MAX_RANK} dimensions", field, rank)
    dimensions = cursor.numbers(GGUFValueType.UINT64, rank, field).tolist()
    shape = tuple(reversed(dimensions))
    if not all(1 <= dimension <= MAX_DIMENSION for dimension in shape):
        raise cursor.error("every dimension must be from 1 to 2^63 - 1", field, shape)
    type_id = cursor.number(GGUFValueType.UINT32, field)
    offset = cursor.number(GGUFValueType.UINT64, field)
    try:
        kind = tensor_type_by_id(type_id)
        kind.row_bytes(shape[-1])
    except (UnsupportedError, ShapeError) as error:
        raise cursor.error(error.problem, field, error.value) from error
    return TensorEntry(name, shape, kind, offset)


def _check_layout(
    cursor: Cursor, tensors: dict[str, TensorEntry], alignment: int, data_start: int
) -> None:
    """Refuse overlaps, holes, misalignment, and data outside the file.

    Python's integers do not wrap, so no claimed size can be too large for these sums.
    """
    expected = 0
    for tensor in tensors.values():
        field = f"tensor {tensor.name}"
        if tensor.offset != expected:
            raise cursor.error(
                f"its data must start at offset {expected}, after the tensor before it",
                field,
                tensor.offset,
            )
        end = data_start + tensor.offset + tensor.nbytes
        if end > cursor.size:
            raise cursor.error(
                f"its data ends past the end of the file, which has {cursor.size} bytes", field, end
            )
        expected = align_up(tensor.offset + tensor.nbytes, alignment)
    if cursor.size > data_start + expected:
        raise cursor.error(
            "bytes follow the last tensor", "file size", cursor.size - data_start - expected
        )
