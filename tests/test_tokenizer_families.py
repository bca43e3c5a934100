"""Every kind of tokenizer that a Phi model has gives Hugging Face's ids and text, via a GGUF file."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers

from text_cases import texts
from tokenizer_families import (
    SMALL,
    Family,
    assert_equal_ids,
    assert_equal_texts,
    assert_stable,
    random_ids,
    small_family,
    words,
)

COUNT = 4000  # tests/oracle goes on to 100,000 with the vocabularies of the published models


@pytest.fixture(scope="module", params=SMALL)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return small_family(request.param, tmp_path_factory.mktemp(request.param))


def test_ids_equal_hugging_faces(family: Family) -> None:
    assert_equal_ids(family, texts(COUNT, family.pieces, family.added, seed=21))


def test_words_are_split_alike(family: Family) -> None:
    assert_equal_ids(family, words(COUNT, seed=24))


def test_text_equals_hugging_faces_also_where_bytes_are_no_utf8(family: Family) -> None:
    assert_equal_texts(family, random_ids(family, COUNT, seed=22))


def test_ids_are_stable_over_rounds(family: Family) -> None:
    visible = (t for t in texts(COUNT, family.pieces, family.added, seed=23) if "\u2581" not in t)
    assert_stable(family, visible)


def test_token_that_is_looked_for_last(tmp_path: Path) -> None:
    """As `transformers` adds a token to a vocabulary if it is not told otherwise."""
    family = small_family("sentencepiece", tmp_path)
    path = tmp_path / "tokenizer.json"
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.add_tokens(["new"])
    tokenizer.save(str(path))
    assert_equal_ids(family, texts(COUNT, family.pieces, ["new", " new", "new "], seed=25))
