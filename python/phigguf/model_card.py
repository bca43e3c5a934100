"""What a checkpoint says about itself: model card, directory name, generation defaults.

The names of models on the Hugging Face hub follow a loose convention, ``Phi-3.5-mini-instruct`` or
``org/Base-7B-chat-v0.2``. `parse_model_name` takes them apart as llama.cpp's converter does, so
that files carry the same ``general.*`` keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import CheckpointError
from .io.json_file import read_text

_VERSION = re.compile(r"(v|iter)?\d+([.]\d+)*", re.IGNORECASE)
_STORAGE = re.compile(r"i?q\d(_\w)*|b?fp?(16|32)", re.IGNORECASE)
_SIZE = re.compile(
    r"(([A]|\d+[x])?\d+([._]\d+)?[KMBT][\d]?|small|mini|medium|large|x?xl)", re.IGNORECASE
)
_FINETUNE = re.compile(r"chat|instruct|vision|lora", re.IGNORECASE)
_UNTITLED = re.compile(r"v\d+(?:\.\d+)*|\d.*")
_HUB_URL = re.compile(r"https?://huggingface.co/([^/]+/[^/]+)")
_ORIGIN = (
    *("name", "author", "version", "organization", "description"),
    *("url", "doi", "uuid", "repo_url"),
)
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclass(frozen=True)
class ModelName:
    """The parts of a model's name; None where the name does not say."""

    full: str | None = None
    organization: str | None = None
    basename: str | None = None
    finetune: str | None = None
    version: str | None = None
    size_label: str | None = None

    @property
    def title(self) -> str | None:
        """The name as a heading: hyphens become spaces, words get a capital."""
        return _title(self.full)

    @property
    def organization_title(self) -> str | None:
        """The organization as a heading."""
        return _title(self.organization)


def _title(text: str | None) -> str | None:
    if text is None:
        return None
    words = text.strip().replace("-", " ").split()
    return " ".join(
        word.title() if word.islower() and not _UNTITLED.fullmatch(word) else word for word in words
    )


@dataclass
class _Part:
    """One piece of a name between hyphens, and what it may be."""

    text: str
    kinds: set[str]


def parse_model_name(name: str, parameters: int = 0) -> ModelName:
    """Take a model's name apart.

    Parameters
    ----------
    name
        As in ``"microsoft/Phi-3-mini-4k-instruct"``; the organization may be absent.
    parameters
        The model's number of weights. A size far from it, such as the 4k of a context length,
        is no size label. 0 means unknown.
    """
    if " " in name:
        return ModelName(full=name)
    organization: str | None = None
    full = name
    if "/" in name:
        organization, full = name.split("/", 1)
        if organization.startswith("."):
            organization = None
    parts = [_classified(i, t, parameters) for i, t in enumerate(filter(None, full.split("-")))]
    _prefer_numeric_sizes(parts)
    _mark_basename(parts)

    def joined(kind: str, without: str = "") -> str | None:
        texts = [p.text for p in parts if kind in p.kinds and without not in p.kinds]
        return "-".join(texts) or None

    sizes = "-".join(dict.fromkeys(p.text for p in parts if "size" in p.kinds)) or None
    finetune, version = joined("finetune"), joined("version", without="basename")
    telling = sizes or finetune or version
    return ModelName(
        full, organization, joined("basename") if telling else None, finetune, version, sizes
    )


def _classified(index: int, text: str, parameters: int) -> _Part:
    if _VERSION.fullmatch(text):
        return _Part(text, {"version"})
    if _STORAGE.fullmatch(text):
        return _Part(text.upper(), {"storage"})
    if index > 0 and _SIZE.fullmatch(text):
        return _sized(text, parameters)
    if index > 0 and _FINETUNE.fullmatch(text):
        return _Part(text, {"finetune"})
    return _Part(text, set())


def _sized(text: str, parameters: int) -> _Part:
    text = text.replace("_", ".")
    if text[-1].isdecimal():  # 7b1 means 7.1b
        text = f"{text[:-2]}.{text[-1]}{text[-2]}"
    if text[-2].isdecimal() and text[-1] in "kmbt":
        text = text[:-1] + text[-1].upper()
    try:
        claimed = float(text[:-1]) * _UNITS.get(text[-1], 1e-3)
    except ValueError:
        return _Part(text, {"size"})
    if parameters and abs(claimed - parameters) > 7 * parameters // 8:
        return _Part(text[:-1] + text[-1].lower(), {"finetune"})
    return _Part(text, {"size"})


def _prefer_numeric_sizes(parts: list[_Part]) -> None:
    """Let ``mini`` be no size where the name also has one in digits."""
    sizes = [part for part in parts if "size" in part.kinds]
    if any(character.isdecimal() for part in sizes for character in part.text):
        for part in sizes:
            if part.text.isalpha():
                part.kinds.discard("size")


def _mark_basename(parts: list[_Part]) -> None:
    """Leading words and versions are the base name; unknown words after it tell the fine-tune."""
    leading = True
    for part in parts:
        starts = (not part.kinds and part.text[0].isalpha()) or "version" in part.kinds
        leading = leading and starts
        if leading:
            part.kinds.add("basename")
        elif not part.kinds:
            part.kinds.add("finetune")
    for part in reversed(parts):
        if "basename" not in part.kinds or len(part.kinds) == 1:
            break
        part.kinds.discard("basename")


def read_model_card(directory: Path) -> dict[str, Any]:
    """Read the YAML front matter of ``README.md``; absent reads as empty.

    Every scalar stays a text, so that the language ``no`` is not taken for a truth value.

    Raises
    ------
    CheckpointError
        The front matter is not YAML.
    """
    path = directory / "README.md"
    if not path.exists():
        return {}
    lines = read_text(path).splitlines()
    if not lines or lines[0] != "---":
        return {}
    end = lines.index("---", 1) if "---" in lines[1:] else len(lines)
    try:
        card = yaml.load("\n".join(lines[1:end]).replace("\t", "  "), Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise CheckpointError(f"front matter is not YAML: {error}", file=path) from error
    return card if isinstance(card, dict) else {}


def texts(card: Mapping[str, Any], *keys: str) -> list[str]:
    """Return the texts under all the given keys, where a key may hold one text or a list."""
    found: list[str] = []
    for key in keys:
        value = card.get(key)
        values = value if isinstance(value, list) else [value]
        found += [item for item in values if isinstance(item, str)]
    return found


def lineage(card: Mapping[str, Any], *keys: str, parameters: int) -> Iterator[dict[str, str]]:
    """Yield what is known of each model or data set that the first key present names."""
    key = next((key for key in keys if key in card), None)
    entries = card[key] if key else []
    for entry in entries if isinstance(entries, list) else [entries]:
        if isinstance(entry, dict):
            yield {key: entry[key] for key in _ORIGIN if isinstance(entry.get(key), str)}
        elif isinstance(entry, str):
            yield _origin(entry, parameters)


def _origin(entry: str, parameters: int) -> dict[str, str]:
    if entry.startswith(("http://", "https://", "ssh://")):
        on_hub = _HUB_URL.fullmatch(entry)
        name = parse_model_name(on_hub[1], parameters) if on_hub else ModelName()
        url = entry
    else:
        name = parse_model_name(entry, parameters)
        url = f"https://huggingface.co/{entry}" if name.organization else ""
    known = {
        "name": name.title,
        "version": name.version,
        "organization": name.organization_title,
        "repo_url": url,
    }
    return {key: value for key, value in known.items() if value}
