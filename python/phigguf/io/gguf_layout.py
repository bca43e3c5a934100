"""Where everything of a GGUF file lies and what its header holds, from sizes alone.

The bytes equal those of the `gguf` package's writer for the same content; what lies between two
tensors is zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
