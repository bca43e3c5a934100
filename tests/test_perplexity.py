"""Perplexity: its definition, and what quantizing costs the demo model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import phigguf
from phigguf.demo import held_out_texts
from phigguf.errors import InvalidArgument
from phigguf.perplexity import perplexity

N_VOCAB = 7


class Letters:
    """A tokenizer whose tokens are the letters a to g."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) - ord("a") for letter in text]


class Fixed:
    """A model whose logits depend on the last token alone, and that notes what it reads."""

    tokenizer = Letters()
    table = np.random.default_rng(3).normal(0, 4, (N_VOCAB, N_VOCAB)).astype(np.float32)

    def __init__(self) -> None:
        self.read: list[list[int]] = []

    def logits(self, tokens: list[int]) -> np.ndarray:
        self.read.append(list(tokens))
        return self.table[tokens]

    def probability(self, before: str, after: str) -> float:
        row, token = self.table[self.tokenizer.encode(before)[0]], self.tokenizer.encode(after)[0]
        weights = [math.exp(value) for value in row.tolist()]
        return weights[token] / sum(weights)


def test_perplexity_is_the_inverse_geometric_mean_of_probabilities():
    model = Fixed()
    probabilities = [model.probability(*pair) for pair in ("ab", "bg", "ga", "fc")]
    expected = math.prod(probabilities) ** (-1 / 4)
    # A dozen float64 roundings separate the two ways of computing it.
    assert perplexity(model, ["abga", "fc"]) == pytest.approx(expected, rel=1e-14)


def test_windows_do_not_overlap_and_texts_do_not_mix():
    model = Fixed()
    perplexity(model, ["abcdefg", "ab", "a", ""], window=3)
    assert model.read == [[0, 1, 2], [3, 4, 5], [0, 1]]


def test_huge_logits_do_not_overflow():
    model = Fixed()
    model.table = np.zeros((N_VOCAB, N_VOCAB), np.float32)
    model.table[:, 1] = 3e38
    assert perplexity(model, ["bbb"]) == 1.0


@pytest.mark.parametrize("texts", [[], [""], ["a", "b"]])
def test_nothing_to_predict_is_an_error(texts):
    with pytest.raises(InvalidArgument, match="no token to predict"):
        perplexity(Fixed(), texts)


def test_a_window_of_one_predicts_nothing():
    with pytest.raises(InvalidArgument, match="window"):
        perplexity(Fixed(), ["ab"], window=1)


def test_quantizing_the_demo_model_costs_little(
    checkpoint: Path, demo_gguf: Path, tmp_path: Path
) -> None:
    texts = held_out_texts(checkpoint)
    reference = perplexity(phigguf.load(demo_gguf), texts)
    for recipe, allowed in (("Q8_0", 0.001), ("Q4_K_M", 0.03)):
        file = tmp_path / f"{recipe}.gguf"
        phigguf.quantize_file(demo_gguf, file, recipe, progress=False)
        assert abs(perplexity(phigguf.load(file), texts) / reference - 1) <= allowed
