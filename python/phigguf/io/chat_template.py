"""Where a checkpoint keeps its chat templates, and which of them wins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .json_file import read_json_object_if_present, read_text, typed

DEFAULT = "default"


def read_chat_templates(directory: Path, tokenizer_config: dict[str, Any]) -> dict[str, str]:
    """Read a checkpoint's chat templates.

    Files of their own win over ``tokenizer_config.json``, as they do in `transformers`:
    ``chat_template.jinja`` with ``additional_chat_templates/*.jinja``, then ``tokenizer_config``,
    then ``chat_template.json``.

    Returns
    -------
    dict
        Jinja sources by name; the one to use unless told otherwise is ``"default"``. Empty when
        the checkpoint has none.

    Raises
    ------
    CheckpointError
        A template is not text, or a list of templates is malformed or repeats a name.
    """
    if templates := _jinja_files(directory):
        return templates
    config_path = directory / "tokenizer_config.json"
    if templates := _from_json(tokenizer_config.get("chat_template"), config_path):
        return templates
    processor_path = directory / "chat_template.json"
    processor = read_json_object_if_present(processor_path)
    return _from_json(processor.get("chat_template"), processor_path)


def _jinja_files(directory: Path) -> dict[str, str]:
    default = directory / "chat_template.jinja"
    files = {DEFAULT: default} if os.path.lexists(default) else {}
    for file in sorted((directory / "additional_chat_templates").glob("*.jinja")):
        files.setdefault(file.stem, file)
    return {name: read_text(file) for name, file in files.items()}


def _from_json(value: Any, path: Path) -> dict[str, str]:
    """Templates from a JSON value: absent, one source, or a list of name-template objects."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {DEFAULT: value}
    field = "chat_template"
    templates: dict[str, str] = {}
    for choice in typed(value, list, file=path, field=field):
        choice = typed(choice, dict, file=path, field=field)
        name = typed(choice.get("name"), str, file=path, field=f"{field}.name")
        if name in templates:
            raise CheckpointError("a name occurs twice", file=path, field=field, value=name)
        templates[name] = typed(choice.get("template"), str, file=path, field=f"{field}.{name}")
    return templates
