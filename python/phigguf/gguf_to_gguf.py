"""From one GGUF file to another of a different recipe."""

from __future__ import annotations

import os

from .gguf_metadata import quantized
from .io.gguf import TensorInfo, read_gguf
from .io.imatrix import Imatrix
from .pipeline import Job, SourceMatrix, SourceTensor, open_imatrix, run
from .plan import Choices, Geometry, Overrides, PlanTensor, layout_order, plan
from .recipes import find_recipe
from .report import Report


def quantize_file(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    type: str,
    *,
    imatrix: str | os.PathLike[str] | Imatrix | None = None,
    overrides: Overrides | None = None,
    output_type: str | None = None,
    embedding_type: str | None = None,
    pure: bool = False,
    allow_fallback: bool = False,
    allow_requantize: bool = False,
    dry_run: bool = False,
    threads: int | None = None,
    progress: bool = True,
) -> Report:
    """Quantize a GGUF file, or change its float type.

    For a recipe without changes the output equals llama.cpp's, byte for byte.

    Parameters
    ----------
    src
        The file to read; of a split model, any of its files.
    dst
        The one file to write. It appears when it is complete, and is not touched otherwise.
    type
        A recipe such as ``"Q4_K_M"``, or a type such as ``"BF16"``.
    allow_requantize
        Accept tensors that are quantized already: they lose more than the original would.
    imatrix, overrides, output_type, embedding_type, pure, allow_fallback, dry_run, threads, progress
        As for `convert`.

    Raises
    ------
    FileMissing, GGUFError
        The file is missing or malformed.
    UnsupportedError
        The architecture or a type is unknown.
    ShapeError
        A row does not fit its type's block, and falling back is not allowed.
    QuantizationError
        A weight is NaN or infinite, or does not fit the new type.
    InvalidArgument, ImatrixError, OutputError
        Another argument cannot be used.
    """
    recipe = find_recipe(type)
    choices = Choices.from_names(
        overrides=overrides,
        output_type=output_type,
        embedding_type=embedding_type,
        pure=pure,
        allow_fallback=allow_fallback,
    )
    importance = open_imatrix(imatrix)
    with read_gguf(src) as file:
        tensors = [_source(tensor) for tensor in file.tensors.values()]
        tensors.sort(key=lambda tensor: layout_order(tensor.name))
        planned = plan(
            recipe,
            [PlanTensor(tensor.name, tensor.shape, tensor.type) for tensor in tensors],
            Geometry.from_metadata(file.metadata, os.fspath(src)),
            has_imatrix=importance is not None,
            choices=choices,
        )
        job = Job(
            source=os.fspath(src),
            metadata=quantized(file.typed_metadata(), recipe, importance),
            recipe=recipe.name,
            tensors=tensors,
            planned=planned,
            imatrix=importance,
            allow_requantize=allow_requantize,
        )
        return run(job, dst, dry_run=dry_run, threads=threads, progress=progress)


def _source(tensor: TensorInfo) -> SourceTensor:
    rows_and_bytes = (1, *tensor.data.shape)[-2:]
    return SourceTensor(
        name=tensor.name,
        shape=tensor.shape,
        type=tensor.type,
        matrices=tuple(
            SourceMatrix(rows, os.fspath(tensor.file), tensor.name)
            for rows in tensor.data.reshape(-1, *rows_and_bytes)
        ),
    )
