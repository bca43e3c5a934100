"""Tokens, chat templates and filters, against transformers and SentencePiece live."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from golden.make_sampling import SETTINGS, processors
from phigguf.chat import ChatTemplate
from phigguf.io.added_token_rules import added_token_metadata
from phigguf.io.pieces import PieceType
from phigguf.io.vocabulary import read_vocabulary
from phigguf.sampling import Sampler
from phigguf.tokenizer import Tokenizer
from template_cases import FAMILIES, FEATURES, MESSAGES, PHI3, TURNS
from text_cases import texts

pytestmark = pytest.mark.oracle

COUNT = 100_000


def test_ids_and_text_equal_transformers(checkpoint: Path) -> None:
    reference = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer = tokenizer_of(checkpoint)
    pieces = sorted(reference.get_vocab())
    added = sorted(reference.get_added_vocab())
    special = set(tokenizer.special_tokens.values())
    for text in texts(10_000, pieces, added, seed=10):
        ids = tokenizer.encode(text)
        assert ids == reference(text).input_ids, text
        kept = [id for id in ids if id not in special]
        assert tokenizer.decode(ids, skip_special=True) == reference.decode(kept), text


def tokenizer_of(checkpoint: Path) -> Tokenizer:
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    vocabulary = read_vocabulary(checkpoint, config)
    entries = {**vocabulary.metadata(), **added_token_metadata(vocabulary)}
    return Tokenizer.from_metadata({key: entry.value for key, entry in entries.items()})


def test_ids_of_a_large_vocabulary_equal_sentencepieces() -> None:
    """32,000 pieces of Phi-3's kind, as mistral-common packages them."""
    path = files("mistral_common") / "data" / "tokenizer.model.v1"
    reference = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    tokens = [reference.id_to_piece(id) for id in range(reference.vocab_size())]
    tokenizer = Tokenizer.from_metadata(
        {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.scores": np.array(
                [reference.get_score(id) for id in range(len(tokens))], dtype=np.float32
            ),
            "tokenizer.ggml.token_type": np.array(
                [piece_type(reference, id) for id in range(len(tokens))], dtype=np.int32
            ),
            "tokenizer.ggml.bos_token_id": reference.bos_id(),
            "tokenizer.ggml.eos_token_id": reference.eos_id(),
            "tokenizer.ggml.unknown_token_id": reference.unk_id(),
        }
    )
    pieces = [token.replace("\u2581", " ") for token in tokens]
    for text in texts(COUNT, pieces, ["<s>", "</s>", "<unk>"], seed=11):
        ids = tokenizer.encode(text, add_bos=False, parse_special=False)
        assert ids == reference.encode(text), text
        if "\u2581" not in text:
            assert tokenizer.decode(ids) == text


def piece_type(model: sentencepiece.SentencePieceProcessor, id: int) -> PieceType:
    if model.is_unknown(id):
        return PieceType.UNKNOWN
    if model.is_control(id):
        return PieceType.CONTROL
    return PieceType.BYTE if model.is_byte(id) else PieceType.NORMAL


@pytest.mark.parametrize("source", [PHI3, *(source for source, _ in FEATURES.values())])
@pytest.mark.parametrize("add_generation_prompt", [False, True])
def test_template_equals_transformers(source: str, add_generation_prompt: bool) -> None:
    expected, _ = render_jinja_template(
        conversations=[MESSAGES],
        chat_template=source,
        add_generation_prompt=add_generation_prompt,
        bos_token="<s>",
        eos_token="</s>",
    )
    template = ChatTemplate(source, "<s>", "</s>")
    assert [template.render(MESSAGES, add_generation_prompt)] == expected


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("add_generation_prompt", [False, True])
def test_family_equals_transformers_at_every_turn(
    checkpoint: Path, family: str, add_generation_prompt: bool
) -> None:
    reference = AutoTokenizer.from_pretrained(checkpoint)
    tokens = (reference.bos_token, reference.eos_token)
    template = ChatTemplate(FAMILIES[family], *tokens)
    for turns in range(1, len(TURNS) + 1):
        expected = reference.apply_chat_template(
            TURNS[:turns],
            chat_template=FAMILIES[family],
            add_generation_prompt=add_generation_prompt,
            tokenize=False,
        )
        assert template.render(TURNS[:turns], add_generation_prompt) == expected


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_distribution_equals_transformers(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(12)
    plain = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    sampler = Sampler(**{**plain, **settings})
    for _ in range(100):
        logits = rng.normal(0, 4, 32_064)
        history = rng.integers(0, logits.size, 50)
        scores = processors(settings)(torch.tensor(history[None]), torch.tensor(logits[None]))
        expected = torch.softmax(scores, -1)[0].numpy()
        ids, probabilities = sampler.distribution(logits, history.tolist())
        assert set(ids.tolist()) == set(np.flatnonzero(expected).tolist())
        np.testing.assert_allclose(probabilities, expected[ids], rtol=1e-9)
