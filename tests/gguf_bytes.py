"""GGUF files put together byte by byte, so that a test can make any of them wrong.

Nothing of phigguf is used here: the format is written down a second time, on purpose.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

UINT8, UINT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 0, 2, 4, 5, 6, 7, 8, 9, 10
F32, Q4_0 = 0, 2


def uint16(value: int) -> bytes:
    return struct.pack("<H", value)


def uint32(value: int) -> bytes:
    return struct.pack("<I", value)


def uint64(value: int) -> bytes:
    return struct.pack("<Q", value)


def float32(value: float) -> bytes:
    return struct.pack("<f", value)


def text(value: str | bytes, length: int | None = None) -> bytes:
    """A string; `length` overrides the claimed length."""
    raw = value.encode() if isinstance(value, str) else value
    return uint64(len(raw) if length is None else length) + raw


def entry(key: str | bytes, kind: int, payload: bytes) -> bytes:
    """A metadata entry."""
    return text(key) + uint32(kind) + payload


def array(element: int, count: int, payload: bytes) -> bytes:
    """The payload of an array entry."""
    return uint32(element) + uint64(count) + payload


def tensor(
    name: str | bytes,
    dimensions: Sequence[int],
    kind: int = F32,
    offset: int = 0,
    rank: int | None = None,
) -> bytes:
    """A tensor entry; dimensions in ggml's order, `rank` overrides how many are claimed."""
    count = len(dimensions) if rank is None else rank
    sizes = b"".join(map(uint64, dimensions))
    return text(name) + uint32(count) + sizes + uint32(kind) + uint64(offset)


def gguf_file(
    metadata: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    version: int = 3,
    alignment: int = 32,
    metadata_count: int | None = None,
    tensor_count: int | None = None,
) -> bytes:
    """A whole file; the counts override the true ones."""
    header = b"".join(
        [
            b"GGUF",
            uint32(version),
            uint64(len(tensors) if tensor_count is None else tensor_count),
            uint64(len(metadata) if metadata_count is None else metadata_count),
            *metadata,
            *tensors,
        ]
    )
    return header + bytes(-len(header) % alignment) + data
