"""The published models' tokenizers: 100,000 texts for each, and transformers' own reading of them."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from oracle.published_vocabularies import PUBLISHED
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
