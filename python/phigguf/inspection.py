"""What is inside a GGUF file, for people (a table) and for programs (JSON-ready values)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from phigguf.io.gguf import GGUFFile

_VALUE_WIDTH = 60


def to_dict(file: GGUFFile, *, arrays: bool = False) -> dict[str, Any]:
    """Return the file's header as values that JSON can hold.

    Parameters
    ----------
    file
        An open GGUF file.
    arrays
        Write metadata arrays out in full; otherwise only their length is given.

    Returns
    -------
    dict
        `version`, `alignment`, `metadata` and `tensors`; a float that is not finite becomes a
        string, because JSON has no word for it.
    """
    return {
        "file": str(file.path),
        "version": file.version,
        "alignment": file.alignment,
        "metadata": {key: _json_value(value, arrays) for key, value in file.metadata.items()},
        "tensors": [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "type": tensor.type.name,
                "bytes": tensor.nbytes,
            }
            for tensor in file.tensors.values()
        ],
    }


def to_text(file: GGUFFile) -> str:
    """Return the file's header as two tables, metadata and tensors, and a line of totals."""
    metadata = [(key, _shown(value)) for key, value in file.metadata.items()]
    tensors = [
        (
            _printable(tensor.name),
            " x ".join(map(str, tensor.shape)),
            tensor.type.name,
            f"{tensor.nbytes:,}",
        )
        for tensor in file.tensors.values()
    ]
    weights = sum(math.prod(tensor.shape) for tensor in file.tensors.values())
    size = sum(tensor.nbytes for tensor in file.tensors.values())
    bits = f", {8 * size / weights:.2f} bits per weight" if weights else ""
    return "\n".join(
        [
            f"{file.path}: GGUF version {file.version}, alignment {file.alignment}",
            "",
            *_table(("key", "value"), metadata, "<<"),
            "",
            *_table(("tensor", "shape", "type", "bytes"), tensors, "<<<>"),
            "",
            f"{len(tensors)} tensors, {weights:,} weights, {size:,} bytes{bits}",
        ]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], alignment: str) -> list[str]:
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(
            f"{cell:{side}{width}}"
            for cell, side, width in zip(row, alignment, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def _is_array(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _json_value(value: Any, arrays: bool) -> Any:
    if _is_array(value):
        if not arrays:
            return {"length": len(value)}
        return [_json_value(item, arrays) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _shown(value: Any) -> str:
    if _is_array(value):
        start = ", ".join(_shown(item) for item in value[:4])
        return _cut(f"{len(value)} x [{start}{', ...' if len(value) > 4 else ''}]")
    return _cut(_printable(value) if isinstance(value, str) else str(value))


def _printable(text: str) -> str:
    """Escape what a terminal would obey: a file must not be able to move the cursor."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _cut(text: str) -> str:
    return text if len(text) <= _VALUE_WIDTH else text[: _VALUE_WIDTH - 3] + "..."
