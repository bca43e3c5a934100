"""Chat templates: where they may be, and which one wins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phigguf.errors import CheckpointError
from phigguf.io.chat_template import read_chat_templates


def test_none(tmp_path: Path) -> None:
    assert read_chat_templates(tmp_path, {}) == {}


def test_tokenizer_config(tmp_path: Path) -> None:
    assert read_chat_templates(tmp_path, {"chat_template": "A"}) == {"default": "A"}


def test_named_templates(tmp_path: Path) -> None:
    choices = [{"name": "default", "template": "A"}, {"name": "rag", "template": "B"}]
    templates = read_chat_templates(tmp_path, {"chat_template": choices})
    assert templates == {"default": "A", "rag": "B"}


def test_a_file_of_its_own_wins_as_in_transformers(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("ä\n", encoding="utf-8")
    assert read_chat_templates(tmp_path, {"chat_template": "A"}) == {"default": "ä\n"}


def test_additional_files(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("A")
    additional = tmp_path / "additional_chat_templates"
    additional.mkdir()
    (additional / "rag.jinja").write_text("B")
    assert read_chat_templates(tmp_path, {}) == {"default": "A", "rag": "B"}


def test_processor_file_is_the_last_resort(tmp_path: Path) -> None:
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": "P"}))
    assert read_chat_templates(tmp_path, {}) == {"default": "P"}
    assert read_chat_templates(tmp_path, {"chat_template": "A"}) == {"default": "A"}


@pytest.mark.parametrize(
    "value",
    [
        3,
        {"default": "A"},
        ["A"],
        [{"name": "default"}],
        [{"template": "A"}],
        [{"name": 1, "template": "A"}],
        [{"name": "a", "template": "A"}, {"name": "a", "template": "B"}],
    ],
)
def test_malformed_templates_are_errors(tmp_path: Path, value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: chat_template"):
        read_chat_templates(tmp_path, {"chat_template": value})


def test_template_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match="UTF-8"):
        read_chat_templates(tmp_path, {})
