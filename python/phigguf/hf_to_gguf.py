"""From a Hugging Face checkpoint to a GGUF file of any recipe, in one pass."""

from __future__ import annotations

import math
import os

import numpy as np

from .errors import CheckpointError, UnsupportedError
from .gguf_metadata import identity, quantized
from .io.added_token_rules import added_token_metadata
from .io.checkpoint import Checkpoint, open_checkpoint
from .io.gguf_format import string
from .io.imatrix import Imatrix
from .io.safetensors import SafeTensor
from .models.conversion import Conversion, TensorSource
from .models.conversions import conversion_of
from .pipeline import Bytes, Job, SourceMatrix, SourceTensor, open_imatrix, run
from .plan import Choices, Geometry, Overrides, PlanTensor, is_quantizable, layout_order, plan
from .recipes import find_recipe
from .report import Report
from .types import TensorType, tensor_type

# Element types of safetensors files that are ggml types of the same name.
_READABLE = ("F32", "F16", "BF16")
# What older checkpoints store although it follows from the configuration.
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq",)


def convert(
    src_dir: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    type: str = "BF16",
    *,
    imatrix: str | os.PathLike[str] | Imatrix | None = None,
    overrides: Overrides | None = None,
    output_type: str | None = None,
    embedding_type: str | None = None,
    pure: bool = False,
    allow_fallback: bool = False,
    dry_run: bool = False,
    threads: int | None = None,
    progress: bool = True,
) -> Report:
    """Convert a Hugging Face checkpoint to a GGUF file.

    Weights go straight from the mapped checkpoint to their final type, a few megabytes at a time.
    For a recipe without changes, the types, the bytes and the metadata are those that llama.cpp's
    converter (to F32) and quantizer give.

    Parameters
    ----------
    src_dir
        The checkpoint: ``config.json``, safetensors and a tokenizer.
    dst
        The file to write. It appears when it is complete, and is not touched otherwise.
    type
        A recipe such as ``"Q4_K_M"``, or a type such as ``"BF16"``.
    imatrix
        An importance matrix, or the path of its file.
    overrides
        Types of single tensors: regular expressions, searched in the tensor's name, with a type.
        The first that matches decides.
    output_type, embedding_type
        Types of the output weight and of the token embedding.
    pure
        Give every weight the recipe's default type.
    allow_fallback
        Let a tensor whose rows do not fit a type's block take a larger type instead of raising.
    dry_run
        Report what would be written; write nothing.
    threads
        How many to use; all cores unless given.
    progress
        Show a progress bar where somebody can watch it.

    Raises
    ------
    FileMissing, CheckpointError, SafetensorsError, TokenizerError
        The checkpoint is incomplete or malformed.
    UnsupportedError
        The architecture, one of its settings, or a type is unknown.
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
    checkpoint = open_checkpoint(src_dir)
    conversion = conversion_of(checkpoint)
    tensors = _sources(checkpoint, conversion)
    metadata = {
        "general.architecture": string(conversion.architecture),
        **identity(checkpoint, {tensor.name: tensor.shape for tensor in tensors}),
        **conversion.metadata,
        **checkpoint.vocabulary.metadata(),
        **added_token_metadata(checkpoint.vocabulary),
    }
    values = {key: entry.value for key, entry in metadata.items()}
    planned = plan(
        recipe,
        [PlanTensor(tensor.name, tensor.shape, _kept_type(tensor)) for tensor in tensors],
        Geometry.from_metadata(values, os.fspath(src_dir)),
        has_imatrix=importance is not None,
        choices=choices,
    )
    job = Job(
        source=os.fspath(src_dir),
        metadata=quantized(metadata, recipe, importance),
        recipe=recipe.name,
        tensors=tensors,
        planned=planned,
        imatrix=importance,
    )
    return run(job, dst, dry_run=dry_run, threads=threads, progress=progress)


def _kept_type(tensor: SourceTensor) -> TensorType:
    """Return the type that a tensor has unless a recipe changes it: F32 for all but weights."""
    return tensor.type if is_quantizable(tensor.name, tensor.shape) else tensor_type("F32")


def _sources(checkpoint: Checkpoint, conversion: Conversion) -> list[SourceTensor]:
    """Return every tensor to be written, checked, in the order of the file."""
    _check_nothing_left_over(checkpoint, conversion)
    sources = [_source(checkpoint, name, source) for name, source in conversion.tensors.items()]
    config = os.fspath(checkpoint.path / "config.json")
    for name, values in conversion.generated.items():
        data = values.view(np.uint8).reshape(1, -1)
        matrix = SourceMatrix(data, config, name)
        sources.append(SourceTensor(name, values.shape, tensor_type("F32"), (matrix,)))
    return sorted(sources, key=lambda tensor: layout_order(tensor.name))


def _source(checkpoint: Checkpoint, name: str, source: TensorSource) -> SourceTensor:
    parts = [_part(checkpoint, part, source.shape) for part in source.parts]
    types = {part.dtype for part in parts}
    if len(types) > 1:
        raise CheckpointError(
            f"is not stored like {source.parts[0]}", file=checkpoint.path, field=source.parts[-1]
        )
    shape = source.shape if len(parts) == 1 else (len(parts), *source.shape)
    rows = math.prod(source.shape[:-1])
    return SourceTensor(
        name=name,
        shape=shape,
        type=tensor_type(parts[0].dtype),
        matrices=tuple(
            SourceMatrix(part.data.reshape(rows, -1), os.fspath(part.file), name)
            for part, name in zip(parts, source.parts, strict=True)
        ),
    )


def _part(checkpoint: Checkpoint, name: str, shape: tuple[int, ...]) -> SafeTensor:
    tensor = checkpoint.tensors.get(name)
    if tensor is None:
        raise CheckpointError("the tensor is missing", file=checkpoint.path, field=name)
    if tensor.shape != shape:
        raise CheckpointError(
            f"should have the shape {shape}, by config.json",
            file=tensor.file,
            field=name,
            value=tensor.shape,
        )
    if tensor.dtype not in _READABLE:
        raise UnsupportedError(
            f"only {', '.join(_READABLE)} weights can be read",
            file=tensor.file,
            field=name,
            value=tensor.dtype,
        )
    return tensor


def _check_nothing_left_over(checkpoint: Checkpoint, conversion: Conversion) -> None:
    """Refuse weights that the output would silently lose."""
    used = {part for source in conversion.tensors.values() for part in source.parts}
    for name in sorted(checkpoint.tensors.keys() - used):
        if name.endswith(_IGNORED_SUFFIXES) or _repeats(checkpoint, conversion, name):
            continue
        raise CheckpointError(
            f"is no tensor of a {checkpoint.architecture}", file=checkpoint.path, field=name
        )


def _repeats(checkpoint: Checkpoint, conversion: Conversion, name: str) -> bool:
    repeated = checkpoint.tensors.get(conversion.repeats.get(name, ""))
    if repeated is None:
        return False
    if not _equal(checkpoint.tensors[name].data, repeated.data):
        raise CheckpointError(
            "differs from the tensor that it is tied to", file=checkpoint.path, field=name
        )
    return True


def _equal(left: Bytes, right: Bytes) -> bool:
    """Compare in pieces, since comparing makes a truth value per byte."""
    step = 1 << 22
    return left.size == right.size and all(
        np.array_equal(left[i : i + step], right[i : i + step]) for i in range(0, left.size, step)
    )
