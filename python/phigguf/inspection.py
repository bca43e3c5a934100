"""What is inside a GGUF file, for people (a table) and for programs (JSON-ready values)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from phigguf.io.gguf import GGUFFile, TensorInfo
from phigguf.types import TensorType

_VALUE_WIDTH = 60


@dataclass(frozen=True)
class TypeTotal:
    """What the tensors of one type add up to.

    Attributes
    ----------
    type
        ggml's type; `native` tells whether phigguf computes with it.
    tensors, weights, nbytes
        How many tensors, elements and bytes.
    """

    type: TensorType
    tensors: int
    weights: int
    nbytes: int


def type_totals(file: GGUFFile) -> list[TypeTotal]:
    """Return one total per tensor type in the file, the largest first."""
    tensors_of: dict[TensorType, list[TensorInfo]] = {}
    for tensor in file.tensors.values():
        tensors_of.setdefault(tensor.type, []).append(tensor)
    totals = [
        TypeTotal(
            kind,
            len(tensors),
            sum(math.prod(tensor.shape) for tensor in tensors),
            sum(tensor.nbytes for tensor in tensors),
        )
        for kind, tensors in tensors_of.items()
    ]
    return sorted(totals, key=lambda total: -total.nbytes)


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
        `file`, `shards`, `version`, `alignment`, `metadata`, `metadata_types`, `tensors` and
        `types`, the totals per tensor type; a float that is not finite becomes a string, because
        JSON has no word for it.
    """
    return {
        "file": str(file.path),
        "shards": [str(path) for path in file.shards],
        "version": file.version,
        "alignment": file.alignment,
        "metadata": {key: _json_value(value, arrays) for key, value in file.metadata.items()},
        "metadata_types": {key: str(kind) for key, kind in file.metadata_types.items()},
        "tensors": [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "type": tensor.type.name,
                "bytes": tensor.nbytes,
                "file": str(tensor.file),
                "offset": tensor.offset,
            }
            for tensor in file.tensors.values()
        ],
        "types": {
            total.type.name: {
                "tensors": total.tensors,
                "weights": total.weights,
                "bytes": total.nbytes,
                "native": total.type.native,
            }
            for total in type_totals(file)
        },
    }


def to_text(file: GGUFFile) -> str:
    """Return the file's header as tables: metadata, tensors, and totals per type and in all."""
    metadata = [
        (_printable(key), str(kind), _shown(file.metadata[key]))
        for key, kind in file.metadata_types.items()
    ]
    tensors = [
        (
            _printable(tensor.name),
            " x ".join(map(str, tensor.shape)),
            tensor.type.name,
            f"{tensor.nbytes:,}",
        )
        for tensor in file.tensors.values()
    ]
    totals = type_totals(file)
    return "\n".join(
        [
            f"{_printable(str(file.path))}: GGUF version {file.version}, alignment {file.alignment}"
            + (f", in {len(file.shards)} files" if len(file.shards) > 1 else ""),
            "",
            *_table(("key", "type", "value"), metadata, "<<<"),
            "",
            *_table(("tensor", "shape", "type", "bytes"), tensors, "<<<>"),
            "",
            *_table(
                ("type", "tensors", "weights", "bytes", "bits per weight", ""),
                [_total_row(total) for total in totals],
                "<>>>><",
            ),
            "",
            _sum_line(totals),
        ]
    )


def _total_row(total: TypeTotal) -> tuple[str, ...]:
    return (
        total.type.name,
        f"{total.tensors:,}",
        f"{total.weights:,}",
        f"{total.nbytes:,}",
        f"{8 * total.nbytes / total.weights:.4g}",
        "" if total.type.native else "phigguf cannot compute with it",
    )


def _sum_line(totals: Sequence[TypeTotal]) -> str:
    tensors = sum(total.tensors for total in totals)
    weights = sum(total.weights for total in totals)
    size = sum(total.nbytes for total in totals)
    bits = f", {8 * size / weights:.2f} bits per weight" if weights else ""
    return f"{tensors} tensors, {weights:,} weights, {size:,} bytes{bits}"


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
