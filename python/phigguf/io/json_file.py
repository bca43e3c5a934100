"""Strict JSON for untrusted files: one object, no duplicate keys, every field's type checked."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, TypeVar

from ..errors import CheckpointError
from .files import read_bytes

T = TypeVar("T")

MAX_JSON_BYTES = 256 << 20  # many times the largest tokenizer.json in use

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_text(path: Path) -> str:
    """Read a small UTF-8 text file.

    Raises
    ------
    FileMissing
        The path is not a regular file or cannot be opened.
    CheckpointError
        The file is larger than `MAX_JSON_BYTES` or not UTF-8.
    """
    try:
        return read_bytes(path, MAX_JSON_BYTES, CheckpointError).decode()
    except UnicodeDecodeError as error:
        raise CheckpointError("is not UTF-8 text", file=path, value=error.reason) from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises
    ------
    FileMissing
        The path is not a regular file or cannot be opened.
    CheckpointError
        The text is not a JSON object, repeats a key, or holds half a surrogate pair.
    """
    return parse_json_object(read_text(path), path)


def read_json_object_if_present(path: Path) -> dict[str, Any]:
    """Read an optional file that holds one JSON object; an absent file reads as ``{}``."""
    return read_json_object(path) if os.path.lexists(path) else {}


def parse_json_object(text: str, path: Path) -> dict[str, Any]:
    """Parse JSON text that came from `path`; see `read_json_object`."""
    try:
        value = json.loads(text, object_pairs_hook=_object_without_duplicates)
        if _ESCAPED_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except _DuplicateKey as error:
        raise CheckpointError("a JSON key occurs twice", file=path, field=error.key) from error
    except UnicodeEncodeError as error:
        raise CheckpointError("holds half of a UTF-16 surrogate pair", file=path) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"is not valid JSON: {error}", file=path) from error
    if not isinstance(value, dict):
        raise CheckpointError("is not a JSON object", file=path, value=value)
    return value


def typed(value: Any, kind: type[T], *, file: Path, field: str) -> T:
    """Return `value` if it is of the JSON type `kind`, else raise `CheckpointError`.

    JSON's ``true`` is no integer here, although Python's is.
    """
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    problem = "is missing" if value is None else f"should be a JSON {_JSON_NAMES[kind]}"
    raise CheckpointError(problem, file=file, field=field, value=value)


_JSON_NAMES: dict[type, str] = {
    str: "string",
    int: "integer",
    bool: "boolean",
    list: "array",
    dict: "object",
}


class _DuplicateKey(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        raise _DuplicateKey(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return fields
