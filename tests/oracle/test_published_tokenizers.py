"""The published models' tokenizers: 100,000 texts for each, and transformers' own reading of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from oracle.published_vocabularies import PUBLISHED
from phigguf.chat import ChatTemplate
from template_cases import FAMILIES, TURNS
from text_cases import texts
from tokenizer_families import (
    Family,
    assert_equal_ids,
    assert_equal_texts,
    assert_stable,
    random_ids,
    words,
)

pytestmark = pytest.mark.oracle

COUNT = 100_000
FEWER = 5000


@pytest.fixture(scope="module", params=PUBLISHED)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return PUBLISHED[request.param](tmp_path_factory.mktemp(request.param))


def test_ids_equal_hugging_faces(family: Family) -> None:
    assert_equal_ids(family, texts(COUNT, family.pieces, family.added, seed=31))
    assert_equal_ids(family, words(FEWER, seed=35))


def test_text_equals_hugging_faces_also_where_bytes_are_no_utf8(family: Family) -> None:
    assert_equal_texts(family, random_ids(family, COUNT, seed=32))


def test_ids_are_stable_over_rounds(family: Family) -> None:
    visible = (t for t in texts(FEWER, family.pieces, family.added, seed=33) if "\u2581" not in t)
    assert_stable(family, visible)


def test_transformers_reads_the_files_alike(family: Family) -> None:
    reference = AutoTokenizer.from_pretrained(family.checkpoint)
    for text in texts(FEWER, family.pieces, family.added, seed=34):
        assert family.ours.encode(text) == reference(text).input_ids, text


@pytest.mark.parametrize("name", ["Phi-3", "Phi-4", "Phi-4-mini"])
def test_a_conversation_keeps_its_ids_as_it_grows(name: str, tmp_path: Path) -> None:
    """Each round's ids begin with those of the round before, however often they become text."""
    family, template, before = PUBLISHED[name](tmp_path), ChatTemplate(FAMILIES[name]), []
    for turns in range(1, len(TURNS) + 1):
        text = template.render(TURNS[:turns], add_generation_prompt=False)
        ids = family.ours.encode(text, add_bos=False)
        assert ids == family.reference.encode(text, add_special_tokens=False).ids
        assert ids[: len(before)] == before
        before = ids
        for _ in range(3):
            text = family.ours.decode(ids)
            assert family.ours.encode(text, add_bos=False) == ids
