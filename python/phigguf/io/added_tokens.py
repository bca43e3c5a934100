"""Tokens added to a vocabulary after training, from the three files that may list them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .json_file import typed


@dataclass(frozen=True)
class AddedToken:
    """A token matched in the text before anything else is.

    Attributes
    ----------
    id
        Its number in the vocabulary.
    text
        What it matches.
    special
        Whether it is a control token, which decoding may leave out.
    lstrip, rstrip
        Whether it swallows the white space before or after it.
    normalized
        Whether it is looked for after all others, in the text as the normalizer leaves it.
    """

    id: int
    text: str
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False


def from_added_tokens_file(tokens: dict[str, Any], path: Path) -> list[AddedToken]:
    """Tokens of ``added_tokens.json``: ids by text."""
    return [AddedToken(typed(id, int, file=path, field=text), text) for text, id in tokens.items()]


def from_tokenizer_config(config: dict[str, Any], path: Path) -> list[AddedToken]:
    """Tokens of ``tokenizer_config.json``: descriptions by id, under ``added_tokens_decoder``."""
    field = "added_tokens_decoder"
    decoder = typed(config.get(field, {}), dict, file=path, field=field)
    return [
        _describe(_decimal(id, path, field), token, path, f"{field}.{id}")
        for id, token in decoder.items()
    ]


def from_tokenizer_json(tokenizer: dict[str, Any], path: Path) -> list[AddedToken]:
    """Tokens of ``tokenizer.json``: a list of descriptions, under ``added_tokens``."""
    tokens = typed(tokenizer.get("added_tokens", []), list, file=path, field="added_tokens")
    added = []
    for index, token in enumerate(tokens):
        where = f"added_tokens[{index}]"
        token = typed(token, dict, file=path, field=where)
        id = typed(token.get("id"), int, file=path, field=f"{where}.id")
        added.append(_describe(id, token, path, where))
    return added


def _describe(id: int, token: Any, path: Path, where: str) -> AddedToken:
    token = typed(token, dict, file=path, field=where)
    text = typed(token.get("content"), str, file=path, field=f"{where}.content")

    def flag(name: str, default: bool = False) -> bool:
        return bool(typed(token.get(name, default), bool, file=path, field=f"{where}.{name}"))

    special = flag("special")
    normalized = flag("normalized", not special)
    return AddedToken(id, text, special, flag("lstrip"), flag("rstrip"), normalized)


def _decimal(id: str, path: Path, field: str) -> int:
    if not (id.isascii() and id.isdecimal() and len(id) < 10):
        raise CheckpointError("a token id is not a number", file=path, field=field, value=id)
    return int(id)
