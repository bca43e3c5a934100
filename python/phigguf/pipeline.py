"""From mapped tensors to a GGUF file in one pass.

Native code takes a few rows at a time from the mapped input, whatever tensor they belong to, and
each thread writes what it has made to its place in the file. Memory holds one such share for each
thread. Everything that can be refused is refused before the output is created.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from . import _core
from .errors import ImatrixError, InvalidArgument, UnsupportedError
from .io.atomic import atomic_output
from .io.gguf_format import MetadataValue
from .io.gguf_layout import TensorSpec, plan_layout
from .io.imatrix import Imatrix, read_imatrix
from .plan import PlanTensor
from .progress import progress_bar
from .report import Report, TensorReport
from .types import TensorType

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
    reports = _write(job, target, importance, threads or 0, progress)
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
    specs = [TensorSpec(planned.name, planned.shape, planned.type) for planned in job.planned]
    layout = plan_layout(job.metadata, specs)
    places = [_Place(*pair, layout.offsets[pair[1].name]) for pair in _pairs(job)]
    recodings = [
        place.recodings(columns) for place, columns in zip(places, importance, strict=True)
    ]
    weights = sum(math.prod(tensor.shape) for tensor in job.tensors)
    with (
        atomic_output(target) as file,
        progress_bar(weights, "weight", wanted=progress) as bar,
    ):
        file.write(layout.header)
        file.truncate(layout.size)
        for place in places:
            bar.update(place.copy_what_is_only_stored(file))
        file.flush()
        squared_errors = iter(
            _core.recode_to_file(list(chain(*recodings)), file.fileno(), threads, bar.update)
        )
    return tuple(
        _report(*pair, rmse=_rmse(pair[0], islice(squared_errors, len(own))))
        for pair, own in zip(_pairs(job), recodings, strict=True)
    )


@dataclass(frozen=True)
class _Place:
    """A tensor's type and offset in the file to be written."""

    tensor: SourceTensor
    planned: PlanTensor
    offset: int

    def recodings(self, importance: Floats | None) -> list[_core.Recoding]:
        """Return what native code is to do for each matrix; importance is [matrices, cols]."""
        source, target = self.tensor.type, self.planned.type
        if not source.native:
            return []
        # Coding a block again could change it, so a quantized tensor that keeps its type is
        # copied; decoding it shows that its scales are finite.
        keep = source == target and source.block_width > 1
        return [
            _core.Recoding(
                matrix.rows,
                source.name,
                "F32" if keep else target.name,
                self.tensor.shape[-1],
                offset,
                None if importance is None else importance[index],
                keep_source=keep,
                file=matrix.file,
                name=matrix.name,
            )
            for index, (matrix, offset) in enumerate(self._matrices())
        ]

    def copy_what_is_only_stored(self, file: BinaryIO) -> int:
        """Write a tensor of a type that native code does not know; return its number of weights."""
        if self.tensor.type.native:
            return 0
        for matrix, offset in self._matrices():
            file.seek(offset)
            file.write(matrix.rows.data)
        return math.prod(self.tensor.shape)

    def _matrices(self) -> Iterator[tuple[SourceMatrix, int]]:
        offset = self.offset
        for matrix in self.tensor.matrices:
            yield matrix, offset
            offset += len(matrix.rows) * self.planned.type.row_bytes(self.tensor.shape[-1])


def _rmse(tensor: SourceTensor, squared_errors: Iterable[float]) -> float:
    return math.sqrt(sum(squared_errors) / math.prod(tensor.shape))


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
