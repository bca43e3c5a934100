"""safetensors files put together byte by byte, so that a test can make any of them wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    """A tensor's description in the header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_bytes(
    header: dict[str, Any] | str, data: bytes = b"", *, header_length: int | None = None
) -> bytes:
    """A whole file; `header_length` overrides the true one."""
    raw = (header if isinstance(header, str) else json.dumps(header)).encode()
    return (header_length or len(raw)).to_bytes(8, "little") + raw + data


def write_tensors(path: Path, *names: str) -> None:
    """A valid file with one small F32 tensor per name."""
    header = {name: entry("F32", [2], 8 * i, 8 * i + 8) for i, name in enumerate(names)}
    path.write_bytes(safetensors_bytes(header, bytes(8 * len(names))))
