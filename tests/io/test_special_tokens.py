"""Special tokens: equal to llama.cpp's reading, over every combination of their sources."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from phigguf.errors import TokenizerError, UnsupportedError
from phigguf.io.special_tokens import read_special_tokens
from special_token_cases import (
    CONFIGS,
    IDS,
    TOKENIZER_CONFIGS,
    post_processors,
    tokenizer_json,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "vocabulary" / "special_tokens.json"
POST_PROCESSORS = post_processors()


@pytest.mark.parametrize("name", POST_PROCESSORS)
def test_equals_llama_cpps_reading(tmp_path: Path, name: str) -> None:
    tokenizer = tokenizer_json(POST_PROCESSORS[name])
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
    combinations = list(itertools.product(TOKENIZER_CONFIGS, CONFIGS))
    assert len(expected) == len(combinations) == 12
    for (tokenizer_config, config), (ids, added) in zip(combinations, expected, strict=True):
        special = read_special_tokens(
            tmp_path, config, tokenizer, tokenizer_config, IDS, n_vocab=len(IDS)
        )
        assert special.ids == ids, (tokenizer_config, config)
        assert special.added == added, (tokenizer_config, config)


def test_first_of_several_ends_is_taken(tmp_path: Path) -> None:
    special = read_special_tokens(tmp_path, {"eos_token_id": [4, 2]}, {}, {}, {}, n_vocab=6)
    assert special.ids == {"eos": 4}


def test_truth_values_are_no_ids(tmp_path: Path) -> None:
    special = read_special_tokens(tmp_path, {"eos_token_id": True}, {}, {}, {}, n_vocab=6)
    assert special.ids == {}


@pytest.mark.parametrize("token", [-1, 6, 2**40])
def test_ids_outside_the_vocabulary_are_errors(tmp_path: Path, token: int) -> None:
    with pytest.raises(TokenizerError) as caught:
        read_special_tokens(tmp_path, {"pad_token_id": token}, {}, {}, {}, n_vocab=6)
    assert (caught.value.field, caught.value.value) == ("pad_token_id", token)


def test_unknown_post_processor_is_refused(tmp_path: Path) -> None:
    tokenizer = {"post_processor": {"type": "BertProcessing"}}
    with pytest.raises(UnsupportedError, match="BertProcessing"):
        read_special_tokens(tmp_path, {}, tokenizer, {}, {}, n_vocab=6)
