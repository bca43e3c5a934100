"""Names and model cards, read as the gguf package reads them."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from phigguf.gguf_metadata import size_label
from phigguf.model_card import parse_model_name, read_model_card, texts

NAMES = [
    "Phi-3-mini-4k-instruct",
    "microsoft/Phi-3.5-mini-instruct",
    "microsoft/Phi-3-medium-128k-instruct",
    "microsoft/phi-4",
    "Phi-4-mini-reasoning",
    "Phi-3.5-MoE-instruct",
    "phi-1_5",
    "someone/Mini-7B-Chat-v0.2",
    "Base-mini-3.8b",
    "bloom-7b1-chat",
    "Mixtral-8x7B-Instruct-v0.1",
    "x-1.5_B-xl-lora",
    "model-Q4_0-fp16",
    "tuned-448K-chat-v1.2",
    "-leading--double-",
    "iter3-2024-something-4",
    "3B-first",
    "chat-model-7B",
    "./relative",
    "../parent/name-7B",
    "a sentence with spaces",
    "lower-case-words",
    "UPPER-v2",
    "x",
    "",
]


@pytest.mark.parametrize("parameters", [0, 410_000, 3_821_079_552, 7_000_000_000])
@pytest.mark.parametrize("name", NAMES)
def test_names_are_taken_apart_as_gguf_does(name: str, parameters: int) -> None:
    parsed = parse_model_name(name, parameters)
    assert (
        parsed.full,
        parsed.organization,
        parsed.basename,
        parsed.finetune,
        parsed.version,
        parsed.size_label,
    ) == gguf.Metadata.get_model_id_components(name, parameters)


@pytest.mark.parametrize("name", [name for name in NAMES if name])
def test_titles_are_ggufs(name: str) -> None:
    full = parse_model_name(name).full
    assert full is not None
    assert parse_model_name(name).title == gguf.Metadata.id_to_title(full)


@pytest.mark.parametrize(
    "parameters", [1, 99, 999, 1000, 99_500, 1e6, 1_000_001, 9.96e6, 3_821_079_552, 41.9e9, 2e12]
)
def test_size_labels_are_ggufs(parameters: float) -> None:
    assert size_label(int(parameters)) == gguf.size_label(int(parameters), 0, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no front matter",
        "---\n---\nempty",
        "---\nlicense: mit\ntags:\n- a\n- b\n---\nbody\n---\n",
        "---\nunterminated: yes",
        "---\n- a list\n---\n",
        "---\ntags:\n\t- tab\n---\n",
    ],
)
def test_front_matter_is_found_as_gguf_finds_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    ours, theirs = read_model_card(tmp_path), gguf.Metadata.load_model_card(tmp_path)
    assert ours.keys() == theirs.keys()
    assert texts(ours, "tags", "license") == texts(theirs, "tags", "license")


def test_no_card(tmp_path: Path) -> None:
    assert read_model_card(tmp_path) == {}


def test_norwegian_is_no_truth_value(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlanguage:\n- no\nversion: 1.10\n---\n")
    card = read_model_card(tmp_path)
    assert texts(card, "language", "version") == ["no", "1.10"]
