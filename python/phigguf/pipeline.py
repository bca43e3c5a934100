"""From mapped tensors to a GGUF file in one pass, a tile of rows at a time.

Memory holds two tiles: one is written while the next is made. The input is mapped and the output
is streamed. Everything that can be refused is refused before the output is created.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from .errors import ImatrixError, InvalidArgument, QuantizationError, UnsupportedError
from .io.atomic import atomic_output
from .io.gguf_format import MetadataValue
from .io.gguf_writer import GGUFWriter, TensorSpec
from .io.imatrix import Imatrix, read_imatrix
from .plan import PlanTensor
from .progress import progress_bar
from .report import Report, TensorReport
from .types import TensorType, tensor_type
from .write_behind import TileBuffers, WriteBehind

TILE_WEIGHTS = 1 << 21  # enough to keep four threads busy, and at most 8 MB on either side

_ROW = re.compile(r"\brow (\d+)")

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SourceMatrix:
    """A matrix where it lies.

    Attributes
    ----------
    rows
        uint8 [rows, row bytes].
    file, name
        Where it comes from, for messages.
    """

    rows: Bytes
    file: str
    name: str


@dataclass(frozen=True, eq=False)
class SourceTensor:
    """A tensor to be written.

    Attributes
    ----------
    name
        In the file to be written.
    shape
        Slowest dimension first.
    type
        How the source stores it.
    matrices
        One, or one per expert, each with its own row of an importance matrix.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    matrices: tuple[SourceMatrix, ...]

    @property
    def origin(self) -> SourceMatrix:
        """The first matrix, which messages on the whole tensor name."""
        return self.matrices[0]


@dataclass(frozen=True)
class Job:
    """Everything that decides the bytes of one output file.

    Attributes
    ----------
    source
        The path read, for the report.
    metadata
        Of the output.
    recipe
        The recipe's name.
    tensors, planned
        The same tensors in the same order, as they are and as they will be.
    imatrix
        Importance of each column, by tensor name.
    allow_requantize
        Whether a quantized tensor may be quantized again.
    """

    source: str
    metadata: Mapping[str, MetadataValue]
    recipe: str
    tensors: Sequence[SourceTensor]
    planned: Sequence[PlanTensor]
    imatrix: Imatrix | None = None
    allow_requantize: bool = False


def open_imatrix(imatrix: str | os.PathLike[str] | Imatrix | None) -> Imatrix | None:
    """Read an importance matrix if it is given by path."""
    return imatrix if imatrix is None or isinstance(imatrix, Imatrix) else read_imatrix(imatrix)


def run(
    job: Job,
    target: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    threads: int | None = None,
    progress: bool = True,
) -> Report:
    """Write the output file, or only report what would be written.

    Parameters
    ----------
    job
        What to write.
    target
        Where.
    dry_run
        Check and report; write nothing.
    threads
        How many to use; as many as `num_threads` says unless given.
    progress
        Show a progress bar where somebody can watch it.

    Raises
    ------
    InvalidArgument
        A tensor is already quantized and may not be quantized again, needs an importance matrix
        and has none, or the target cannot be written to.
    ImatrixError
        The importance matrix does not fit a tensor.
    UnsupportedError
        A tensor's present type cannot be decoded.
    QuantizationError
        A value is NaN or infinite, or does not fit the new type.
    OutputError
        The output cannot be written.
    """
    importance = [_importance(job, *pair, dry_run) for pair in _pairs(job)]
    if dry_run:
        reports = tuple(_report(*pair, rmse=None) for pair in _pairs(job))
        return Report(job.source, os.fspath(target), job.recipe, reports, seconds=None)
    _refuse_overwriting_source(job, target)
    started = time.perf_counter()
    reports = _write(job, target, importance, threads or _core.num_threads(), progress)
    seconds = time.perf_counter() - started
    return Report(job.source, os.fspath(target), job.recipe, reports, seconds)


def _pairs(job: Job) -> Iterator[tuple[SourceTensor, PlanTensor]]:
    return zip(job.tensors, job.planned, strict=True)


def _importance(
    job: Job, tensor: SourceTensor, planned: PlanTensor, dry_run: bool
) -> Floats | None:
    """Check that a tensor can be converted; return its importance [matrices, cols], if any."""
    if tensor.type == planned.type:
        return None
    if not tensor.type.native:
        raise UnsupportedError(
            "cannot be decoded",
            file=tensor.origin.file,
            field=tensor.origin.name,
            value=tensor.type.name,
        )
    if tensor.type.block_width > 1 and not job.allow_requantize:
        raise InvalidArgument(
            "is already quantized, and quantizing it again loses more; allow it or start from "
            "the original weights",
            file=tensor.origin.file,
            field=tensor.origin.name,
            value=tensor.type.name,
        )
    importance = _weights(job.imatrix, tensor)
    if importance is None and planned.needs_imatrix and not dry_run:
        raise InvalidArgument(
            f"{planned.type.name} in a {job.recipe} file needs an importance matrix",
            file=tensor.origin.file,
            field=tensor.name,
        )
    return importance


def _weights(imatrix: Imatrix | None, tensor: SourceTensor) -> Floats | None:
    if imatrix is None:
        return None
    try:
        return imatrix.weights(tensor.name, tensor.shape[-1], len(tensor.matrices))
    except ImatrixError:
        # An embedding is looked up, not multiplied: llama.cpp ignores an entry that cannot be its.
        if tensor.name == "token_embd.weight":
            return None
        raise


def _refuse_overwriting_source(job: Job, target: str | os.PathLike[str]) -> None:
    if not os.path.exists(target):
        return
    for file in {matrix.file for tensor in job.tensors for matrix in tensor.matrices}:
        if os.path.exists(file) and os.path.samefile(file, target):
            raise InvalidArgument("the output would replace its own input", file=target)


def _write(
    job: Job,
    target: str | os.PathLike[str],
    importance: Sequence[Floats | None],
    threads: int,
    progress: bool,
) -> tuple[TensorReport, ...]:
    weights = sum(math.prod(tensor.shape) for tensor in job.tensors)
    specs = [TensorSpec(planned.name, planned.shape, planned.type) for planned in job.planned]
    recoders = [_Recoder(tensor, planned.type, threads) for tensor, planned in _pairs(job)]
    buffers = TileBuffers(max((recoder.tile_bytes for recoder in recoders), default=0))
    reports = []
    with (
        atomic_output(target) as file,
        progress_bar(weights, "weight", wanted=progress) as bar,
        WriteBehind(GGUFWriter(file, job.metadata, specs)) as writer,
    ):
        for (tensor, planned), recoder, columns in zip(
            _pairs(job), recoders, importance, strict=True
        ):
            writer.begin_tensor(tensor.name)
            squared_error = 0.0
            for tile in recoder.tiles(columns, buffers):
                writer.write(tile.data)
                squared_error += tile.squared_error
                bar.update(len(tile.data) * tensor.shape[-1])
            rmse = math.sqrt(squared_error / math.prod(tensor.shape))
            reports.append(_report(tensor, planned, rmse=rmse))
        writer.finish()
    return tuple(reports)


class _Tile(NamedTuple):
    """Rows as the output stores them: the source's own, or in one of the buffers."""

    data: Bytes
    squared_error: float


class _Recoder:
    """Turns one tensor's rows into another type, a tile at a time."""

    def __init__(self, tensor: SourceTensor, target: TensorType, threads: int) -> None:
        self.tensor = tensor
        self.cols = tensor.shape[-1]
        self.threads = threads
        # Coding a block again could change it, so a quantized tensor that keeps its type is
        # copied; decoding it shows that its scales are finite.
        self.is_copy = tensor.type == target and (target.block_width > 1 or not target.native)
        self.target = tensor_type("F32") if self.is_copy else target
        rows = max(1, TILE_WEIGHTS * max(1, threads // 4) // self.cols)
        self.tile_rows = min(rows, len(tensor.origin.rows))
        self.tile_bytes = self.tile_rows * self.target.row_bytes(self.cols)

    def tiles(self, importance: Floats | None, buffers: TileBuffers) -> Iterator[_Tile]:
        """Yield the tensor in order; importance is [matrices, cols]."""
        for index, matrix in enumerate(self.tensor.matrices):
            columns = None if importance is None else importance[index]
            for start in range(0, len(matrix.rows), self.tile_rows):
                rows = matrix.rows[start : start + self.tile_rows]
                if self.tensor.type.native:
                    with _naming(matrix, first_row=start):
                        recoded = self._recode(rows, columns, buffers)
                yield _Tile(rows, 0.0) if self.is_copy else recoded

    def _recode(self, rows: Bytes, columns: Floats | None, buffers: TileBuffers) -> _Tile:
        recoded = buffers.take(len(rows), self.target.row_bytes(self.cols))
        squared_error = _core.recode(
            rows,
            self.tensor.type.name,
            recoded,
            self.target.name,
            self.cols,
            columns,
            threads=self.threads,
            measure_error=not self.is_copy,
        )
        return _Tile(recoded, squared_error)


@contextmanager
def _naming(matrix: SourceMatrix, *, first_row: int) -> Iterator[None]:
    """Complete an error about a tile's rows: name the file, the tensor and the row within it."""
    try:
        yield
    except QuantizationError as error:
        place = _ROW.sub(lambda row: f"row {first_row + int(row[1])}", error.field or "")
        raise QuantizationError(
            error.problem, file=matrix.file, field=f"{matrix.name}, {place}", value=error.value
        ) from error


def _report(tensor: SourceTensor, planned: PlanTensor, *, rmse: float | None) -> TensorReport:
    rows = math.prod(planned.shape[:-1])
    notes = []
    if planned.wanted:
        notes.append(f"rows do not fit {planned.wanted.name}")
    if planned.needs_imatrix and rmse is None:
        notes.append("needs an importance matrix")
    return TensorReport(
        name=planned.name,
        shape=planned.shape,
        source_type=tensor.type.name,
        type=planned.type.name,
        nbytes=rows * planned.type.row_bytes(planned.shape[-1]),
        rmse=rmse,
        note="; ".join(notes),
    )
