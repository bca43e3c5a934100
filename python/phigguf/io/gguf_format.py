"""What the GGUF format fixes: limits, metadata value types and alignment, for reader and writer.

A file is a header (magic, version, tensor count, metadata count), metadata entries, tensor
entries, padding, and tensor data, all little-endian. Strings are a 64-bit length and UTF-8. Each
tensor starts where the one before it ends, rounded up to the alignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

MAGIC = b"GGUF"
WRITTEN_VERSION = 3
READABLE_VERSIONS = (2, 3)

ALIGNMENT_KEY = "general.alignment"
DEFAULT_ALIGNMENT = 32

MAX_RANK = 4
MAX_DIMENSION = 2**63 - 1
MAX_KEY_BYTES = 2**16 - 1
MAX_TENSOR_NAME_BYTES = 63  # ggml keeps names in 64 bytes with a terminating NUL


class GGUFValueType(IntEnum):
    """The number that stands for a metadata value's type in the file."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class ArrayOf:
    """The type of a metadata array: one dimension, one element type."""

    element: GGUFValueType

    def __str__(self) -> str:
        return f"array[{self.element}]"


MetadataType: TypeAlias = GGUFValueType | ArrayOf

# One letter per type, with the same meaning in `struct` and in NumPy.
NUMBER_CODES: dict[GGUFValueType, str] = {
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
}
NUMBER_DTYPES: dict[GGUFValueType, np.dtype[Any]] = {
    kind: np.dtype(f"<{code}") for kind, code in NUMBER_CODES.items()
}


@dataclass(frozen=True)
class MetadataValue:
    """A metadata value together with the type that it has in the file."""

    type: MetadataType
    value: Any


def u8(value: int) -> MetadataValue:
    """An unsigned 8-bit integer."""
    return MetadataValue(GGUFValueType.UINT8, value)


def i8(value: int) -> MetadataValue:
    """A signed 8-bit integer."""
    return MetadataValue(GGUFValueType.INT8, value)


def u16(value: int) -> MetadataValue:
    """An unsigned 16-bit integer."""
    return MetadataValue(GGUFValueType.UINT16, value)


def i16(value: int) -> MetadataValue:
    """A signed 16-bit integer."""
    return MetadataValue(GGUFValueType.INT16, value)


def u32(value: int) -> MetadataValue:
    """An unsigned 32-bit integer."""
    return MetadataValue(GGUFValueType.UINT32, value)


def i32(value: int) -> MetadataValue:
    """A signed 32-bit integer."""
    return MetadataValue(GGUFValueType.INT32, value)


def u64(value: int) -> MetadataValue:
    """An unsigned 64-bit integer."""
    return MetadataValue(GGUFValueType.UINT64, value)


def i64(value: int) -> MetadataValue:
    """A signed 64-bit integer."""
    return MetadataValue(GGUFValueType.INT64, value)


def f32(value: float) -> MetadataValue:
    """A 32-bit float; the value is rounded to nearest when it is written."""
    return MetadataValue(GGUFValueType.FLOAT32, value)


def f64(value: float) -> MetadataValue:
    """A 64-bit float."""
    return MetadataValue(GGUFValueType.FLOAT64, value)


def boolean(value: bool) -> MetadataValue:
    """A truth value."""
    return MetadataValue(GGUFValueType.BOOL, value)


def string(value: str) -> MetadataValue:
    """A text."""
    return MetadataValue(GGUFValueType.STRING, value)


def array(element: GGUFValueType, values: Sequence[Any] | npt.NDArray[Any]) -> MetadataValue:
    """A one-dimensional array of numbers, truth values or texts."""
    return MetadataValue(ArrayOf(element), values)


def is_alignment(value: int) -> bool:
    """Whether ``value`` can be a file's alignment: a power of two."""
    return value > 0 and value & (value - 1) == 0


def align_up(position: int, alignment: int) -> int:
    """The first multiple of ``alignment`` at or after ``position``."""
    return -(-position // alignment) * alignment
