"""What a conversion did to every tensor, as objects, a text table, HTML and JSON-ready data."""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Any


@dataclass(frozen=True)
class TensorReport:
    """One tensor of a conversion.

    Attributes
    ----------
    name
        As in the GGUF file.
    shape
        Slowest dimension first.
    source_type, type
        ggml's names of the types before and after.
    nbytes
        Size in the output file, without padding.
    rmse
        Root mean square difference between the values read and the values that the output
        decodes to; None in a dry run.
    note
        What a reader should know: a fallback, a missing importance matrix. Usually empty.
    """

    name: str
    shape: tuple[int, ...]
    source_type: str
    type: str
    nbytes: int
    rmse: float | None
    note: str = ""

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return prod(self.shape)


@dataclass(frozen=True)
class Report:
    """A conversion, done or, in a dry run, planned.

    Attributes
    ----------
    source, target
        The paths read and written.
    recipe
        Name of the recipe.
    tensors
        Every tensor in the order of the output file.
    seconds
        Time spent on tensors; None in a dry run.
    """

    source: str
    target: str
    recipe: str
    tensors: tuple[TensorReport, ...]
    seconds: float | None

    @property
    def dry_run(self) -> bool:
        """Whether nothing was written."""
        return self.seconds is None

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.parameters for tensor in self.tensors)

    @property
    def nbytes(self) -> int:
        """Size of all tensors in the output, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Average storage per weight, in bits."""
        return 8 * self.nbytes / self.parameters

    @property
    def weights_per_second(self) -> float | None:
        """Weights converted per second; None in a dry run."""
        return self.parameters / self.seconds if self.seconds else None

    @property
    def parameters_by_type(self) -> dict[str, int]:
        """Number of weights stored in each type, most used first."""
        counts: Counter[str] = Counter()
        for tensor in self.tensors:
            counts[tensor.type] += tensor.parameters
        return dict(counts.most_common())

    @property
    def summary(self) -> str:
        """One line on the whole file."""
        verb = "would write" if self.dry_run else "wrote"
        rate = (
            f", {self.weights_per_second / 1e6:.1f} M weights/s" if self.weights_per_second else ""
        )
        return (
            f"{self.recipe}: {verb} {self.target}, {len(self.tensors)} tensors, "
            f"{self.parameters / 1e6:.1f} M weights, {self.nbytes / 1e6:.1f} MB, "
            f"{self.bits_per_weight:.2f} bits per weight{rate}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "source": self.source,
            "target": self.target,
            "recipe": self.recipe,
            "dry_run": self.dry_run,
            "seconds": self.seconds,
            "parameters": self.parameters,
            "nbytes": self.nbytes,
            "bits_per_weight": self.bits_per_weight,
            "weights_per_second": self.weights_per_second,
            "tensors": [
                {
                    "name": tensor.name,
                    "shape": list(tensor.shape),
                    "source_type": tensor.source_type,
                    "type": tensor.type,
                    "nbytes": tensor.nbytes,
                    "rmse": tensor.rmse,
                    "note": tensor.note,
                }
                for tensor in self.tensors
            ],
        }

    def __str__(self) -> str:
        rows = [_HEADINGS, *(_cells(tensor) for tensor in self.tensors)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        lines = [_line(row, widths) for row in rows]
        return "\n".join([*lines, self.summary])

    def _repr_html_(self) -> str:
        """Show the report as a table in a notebook."""
        head = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(tensor)) + "</tr>"
            for tensor in self.tensors
        )
        caption = f"<caption>{html.escape(self.summary)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_HEADINGS = ("tensor", "shape", "from", "to", "bytes", "RMSE", "note")
_RIGHT_ALIGNED = {"bytes", "RMSE"}


def _cells(tensor: TensorReport) -> tuple[str, ...]:
    return (
        tensor.name,
        " x ".join(map(str, tensor.shape)),
        tensor.source_type,
        tensor.type,
        f"{tensor.nbytes:,}",
        "" if tensor.rmse is None else f"{tensor.rmse:.3g}",
        tensor.note,
    )


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    columns = zip(_HEADINGS, cells, widths, strict=True)
    return "  ".join(
        cell.rjust(width) if heading in _RIGHT_ALIGNED else cell.ljust(width)
        for heading, cell, width in columns
    ).rstrip()
