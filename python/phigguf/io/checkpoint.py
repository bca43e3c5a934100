"""Hugging Face checkpoint directories: configuration, weights (one file or shards), vocabulary."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, FileMissing, UnsupportedError
from .chat_template import read_chat_templates
from .json_file import read_json_object, read_json_object_if_present, typed
from .safetensors import SafeTensor, SafetensorsFile
from .vocabulary import Vocabulary, read_vocabulary

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An opened checkpoint. Weights are views of mapped files; nothing model-sized is copied.

    Attributes
    ----------
    path
        The directory.
    config, generation_config, tokenizer_config
        The JSON files of those names; the last two are empty where the file is absent.
    architecture
        The first of ``config.json``'s ``architectures``.
    tensors
        Every weight by its Hugging Face name.
    """

    path: Path
    config: dict[str, Any]
    generation_config: dict[str, Any]
    tokenizer_config: dict[str, Any]
    architecture: str
    tensors: dict[str, SafeTensor]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary as GGUF stores it; read when first asked for."""
        return read_vocabulary(self.path, self.config)

    @cached_property
    def chat_template(self) -> str | None:
        """The default chat template, if the checkpoint has one."""
        return read_chat_templates(self.path, self.tokenizer_config).get("default")


def open_checkpoint(directory: str | PathLike[str]) -> Checkpoint:
    """Open a checkpoint directory as `transformers` saves it.

    Parameters
    ----------
    directory
        Holds ``config.json`` and either ``model.safetensors`` or shards listed in
        ``model.safetensors.index.json``.

    Raises
    ------
    FileMissing
        The directory, ``config.json``, the weights or a shard does not exist.
    CheckpointError
        A file is malformed, or the index and its shards disagree. The error names file and field.
    SafetensorsError
        A weight file is malformed.
    UnsupportedError
        The weights are already quantized, or are saved in pickle files only.
    """
    path = Path(directory)
    if not os.path.isdir(path):
        problem = "is not a directory" if os.path.lexists(path) else "no such checkpoint directory"
        raise FileMissing(problem, file=path)
    config_path = path / "config.json"
    config = read_json_object(config_path)
    _refuse_quantized(config, config_path)
    return Checkpoint(
        path=path,
        config=config,
        generation_config=read_json_object_if_present(path / "generation_config.json"),
        tokenizer_config=read_json_object_if_present(path / "tokenizer_config.json"),
        architecture=_architecture(config, config_path),
        tensors=_open_weights(path),
    )


def _refuse_quantized(config: dict[str, Any], config_path: Path) -> None:
    for field in ("quantization_config", "compression_config"):
        settings = config.get(field)
        if settings is None:
            continue
        raise UnsupportedError(
            "the checkpoint is already quantized; convert the original weights",
            file=config_path,
            field=field,
            value=settings.get("quant_method", settings)
            if isinstance(settings, dict)
            else settings,
        )


def _architecture(config: dict[str, Any], config_path: Path) -> str:
    names = typed(config.get("architectures"), list, file=config_path, field="architectures")
    if not names:
        raise CheckpointError("names no architecture", file=config_path, field="architectures")
    return typed(names[0], str, file=config_path, field="architectures[0]")


def _open_weights(path: Path) -> dict[str, SafeTensor]:
    single, index = path / SINGLE_FILE, path / INDEX_FILE
    if os.path.lexists(single) and os.path.lexists(index):
        raise CheckpointError(
            f"holds both {SINGLE_FILE} and {INDEX_FILE}; remove the stale one", file=path
        )
    if os.path.lexists(index):
        return _open_shards(index)
    if os.path.lexists(single):
        return SafetensorsFile(single).tensors
    raise _weights_missing(path)


def _weights_missing(path: Path) -> FileMissing | UnsupportedError:
    pickles = sorted(file.name for file in path.glob("*.bin*") if "model" in file.name)
    if pickles:
        return UnsupportedError(
            "weights are in pickle files only, which can run code when read; "
            "save them with save_pretrained(..., safe_serialization=True)",
            file=path / pickles[0],
        )
    if any(path.glob("model-*.safetensors")):
        return FileMissing("the shards' index is missing", file=path / INDEX_FILE)
    return FileMissing("the checkpoint has no weights", file=path / SINGLE_FILE)


def _open_shards(index: Path) -> dict[str, SafeTensor]:
    """Open every shard of an index; the index and the shards must name the same tensors."""
    weight_map = typed(
        read_json_object(index).get("weight_map"), dict, file=index, field="weight_map"
    )
    for tensor, shard in weight_map.items():
        _check_shard_name(shard, index, field=f"weight_map.{tensor}")
    tensors: dict[str, SafeTensor] = {}
    for shard in sorted(set(weight_map.values())):
        file = SafetensorsFile(index.parent / shard)
        listed = {tensor for tensor, home in weight_map.items() if home == shard}
        _check_same_tensors(listed, set(file.tensors), file.path, index)
        tensors.update(file.tensors)
    return tensors


def _check_shard_name(shard: Any, index: Path, field: str) -> None:
    """A shard lies beside its index: any path syntax in its name would let it point elsewhere."""
    name = typed(shard, str, file=index, field=field)
    if not name.endswith(".safetensors") or any(mark in name for mark in "/\\:\0"):
        raise CheckpointError(
            "a shard should be a .safetensors file name without a path",
            file=index,
            field=field,
            value=name,
        )


def _check_same_tensors(listed: set[str], stored: set[str], shard: Path, index: Path) -> None:
    if absent := listed - stored:
        raise CheckpointError(
            f"a tensor that {index.name} lists is absent", file=shard, field=min(absent)
        )
    if unlisted := stored - listed:
        raise CheckpointError(
            f"{index.name} does not list a tensor of this shard", file=shard, field=min(unlisted)
        )
