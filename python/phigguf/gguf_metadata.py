"""The metadata that says what a model is, and how it was quantized.

Keys, types and values are those that llama.cpp's converter and quantizer write.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

from .errors import CheckpointError
from .io.checkpoint import Checkpoint
from .io.gguf_format import GGUFValueType, MetadataValue, array, f32, i32, string, u32
from .io.imatrix import Imatrix
from .model_card import ModelName, lineage, parse_model_name, read_model_card, texts
from .recipes import Recipe

FILE_TYPE = "general.file_type"
RECIPE = "phigguf.recipe"  # of files with a recipe that llama.cpp has no file type for
QUANTIZATION_VERSION = "general.quantization_version"

_FORMAT_VERSION = 2  # of ggml's block layouts

# Keys of generation_config.json; where two give the same value, the first present decides.
_SAMPLING: dict[str, tuple[tuple[str, ...], Callable[[Any], MetadataValue]]] = {
    "sequence": (("sequence",), string),
    "top_k": (("top_k",), i32),
    "top_p": (("top_p",), f32),
    "min_p": (("min_p",), f32),
    "xtc_probability": (("xtc_probability",), f32),
    "xtc_threshold": (("xtc_threshold",), f32),
    "temp": (("temperature",), f32),
    "penalty_last_n": (("penalty_last_n",), i32),
    "penalty_repeat": (("penalty_repeat", "repetition_penalty"), f32),
    "mirostat": (("mirostat",), i32),
    "mirostat_tau": (("mirostat_tau",), f32),
    "mirostat_eta": (("mirostat_eta",), f32),
}

_SAMPLING_VALUES: dict[Callable[[Any], MetadataValue], tuple[type, ...]] = {
    string: (str,),
    i32: (int,),
    f32: (int, float),
}

# Keys of the model card's front matter, in the order written; the first present decides.
_CARD = {
    "name": ("name", "model_name"),
    "author": ("author", "model_author", "model_creator"),
    "version": ("version", "model_version"),
    "organization": ("organization", "model_organization"),
    "finetune": ("finetune", "model_finetune"),
    "basename": ("basename", "model_basename", "model_type"),
    "description": ("description", "model_description"),
    "size_label": ("size_label", "model_size_label"),
    "license": ("license",),
    "license.name": ("license_name",),
    "license.link": ("license_link",),
    "source.url": ("url", "model_url"),
    "source.doi": ("doi", "model_doi"),
    "source.uuid": ("uuid", "model_uuid"),
    "source.repo_url": ("repo_url", "model_repo_url"),
}


def identity(
    checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, MetadataValue]:
    """Return the ``general.*`` keys: what the model is called and where it comes from.

    Parameters
    ----------
    checkpoint
        The model; its card, configuration and directory name are consulted in this order.
    shapes
        Of the tensors in the file to be written, by name; a stack of experts has three dimensions.
    """
    parameters = sum(math.prod(shape) for shape in shapes.values())
    card = read_model_card(checkpoint.path)
    known = {key: texts(card, *names) for key, names in _CARD.items()}
    values = {
        key: ",".join(found) if key == "license" else found[0]
        for key, found in known.items()
        if found
    }
    for name in _names(checkpoint, parameters):
        parts = {
            "name": name.title,
            "organization": name.organization_title,
            "basename": name.basename,
            "finetune": name.finetune,
            "version": name.version,
            "size_label": name.size_label,
        }
        values |= {k: part for k, part in parts.items() if part and k not in values}
    values.setdefault("name", checkpoint.path.resolve().name)
    values.setdefault("size_label", _size_label(shapes))
    return {
        "general.type": string("model"),
        **_sampling(checkpoint),
        **{f"general.{key}": string(values[key]) for key in _CARD if key in values},
        **_lineages(card, parameters),
    }


def _names(checkpoint: Checkpoint, parameters: int) -> list[ModelName]:
    names = [checkpoint.path.resolve().name]
    original = checkpoint.config.get("_name_or_path")
    if isinstance(original, str) and original and original.count("/") <= 1:
        names.insert(0, original)
    return [parse_model_name(name, parameters) for name in names]


def _sampling(checkpoint: Checkpoint) -> dict[str, MetadataValue]:
    config, file = checkpoint.generation_config, checkpoint.path / "generation_config.json"
    values = {}
    for key, (names, make) in _SAMPLING.items():
        name = next((name for name in names if config.get(name) is not None), None)
        if name is None:
            continue
        value = config[name]
        if type(value) not in _SAMPLING_VALUES[make]:
            raise CheckpointError("has the wrong type", file=file, field=name, value=value)
        values[f"general.sampling.{key}"] = make(value)
    return values


def _lineages(card: Mapping[str, Any], parameters: int) -> dict[str, MetadataValue]:
    values = {}
    groups = {
        "base_model": ("base_model", "base_models", "base_model_sources"),
        "dataset": ("datasets", "dataset", "dataset_sources"),
    }
    for group, keys in groups.items():
        origins = list(lineage(card, *keys, parameters=parameters))
        if not origins:
            continue
        values[f"general.{group}.count"] = u32(len(origins))
        for index, origin in enumerate(origins):
            values |= {f"general.{group}.{index}.{k}": string(v) for k, v in origin.items()}
    if tags := texts(card, "tags", "pipeline_tag"):
        values["general.tags"] = array(GGUFValueType.STRING, tags)
    if languages := texts(card, "languages", "language"):
        values["general.languages"] = array(GGUFValueType.STRING, languages)
    return values


def _size_label(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Tell a model's size; with experts, their number and the weights outside them and in one."""
    stacks = {name: shape for name, shape in shapes.items() if "_exps." in name}
    alone = {**shapes, **{name: shape[1:] for name, shape in stacks.items()}}
    label = size_label(sum(math.prod(shape) for shape in alone.values()))
    experts = next((shape[0] for shape in stacks.values()), 0)
    return f"{experts}x{label}" if experts else label


def size_label(parameters: int) -> str:
    """Round a number of weights to two digits and a unit, as in ``3.8B``."""
    unit, suffix = next(
        (pair for pair in ((1e12, "T"), (1e9, "B"), (1e6, "M")) if parameters > pair[0]),
        (1e3, "K"),
    )
    scaled = parameters / unit
    digits = len(str(round(scaled)).lstrip("0"))
    return f"{scaled:.{max(2 - digits, 0)}f}{suffix}"


def quantized(
    metadata: Mapping[str, MetadataValue], recipe: Recipe, imatrix: Imatrix | None
) -> dict[str, MetadataValue]:
    """Return a model's metadata with the keys that describe its quantization, last as llama.cpp.

    Parameters
    ----------
    metadata
        Of the model before.
    recipe
        The mixture that its tensors follow.
    imatrix
        The importance matrix in use, if any.
    """
    added = {QUANTIZATION_VERSION: u32(_FORMAT_VERSION), FILE_TYPE: u32(recipe.file_type)}
    if not recipe.is_stock:
        added[RECIPE] = string(recipe.name)
    if imatrix is not None:
        added["quantize.imatrix.file"] = string(os.fspath(imatrix.path))
        if imatrix.datasets:
            added["quantize.imatrix.dataset"] = string(imatrix.datasets[0])
        added["quantize.imatrix.entries_count"] = u32(len(imatrix.entries))
        if imatrix.chunks > 0:
            added["quantize.imatrix.chunks_count"] = u32(imatrix.chunks)
    kept = {key: value for key, value in metadata.items() if key not in (*added, RECIPE)}
    return kept | added
