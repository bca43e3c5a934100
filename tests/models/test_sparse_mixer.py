"""The router of Phi-3.5-MoE, on scores whose shares can be told by hand."""

from __future__ import annotations

import numpy as np
import pytest

from phigguf._core import Weight, silu_mul
from phigguf.models.phimoe import Experts, sparse_mixer
from phigguf.models.weights import ExpertWeights
from phigguf.ops import matmul, quantize


def routed(scores: list[float]) -> tuple[list[int], list[float]]:
    chosen, shares = sparse_mixer(np.array([scores], np.float32))
    return chosen[0].tolist(), shares[0].tolist()


def test_experts_far_behind_do_not_share() -> None:
    assert routed([1.0, 5.0, 3.0, -2.0]) == ([1, 2], [1.0, 1.0])


def test_equal_scores_share_equally() -> None:
    chosen, shares = routed([4.0, 4.0, 4.0, 0.0])
    assert chosen == [0, 1]
    assert shares == pytest.approx([1 / 3, 1 / 2], abs=1e-7)


@pytest.mark.parametrize(("behind", "shares_first"), [(0.0199, True), (0.0201, False)])
def test_near_means_two_hundredths_of_the_larger(behind: float, shares_first: bool) -> None:
    for highest in (100.0, 0.001):
        chosen, shares = routed([highest * (1 - behind), highest, -1.0, -2.0])
        assert chosen == [1, 0]
        assert (shares[0] < 1) == shares_first
        assert shares[1] == 1.0


def test_negative_scores_are_measured_by_their_own_size() -> None:
    """(-1 - -1.019) / 1.019 is below 0.02 although 0.019 / 1 would not be by much."""
    chosen, shares = routed([-1.0, -1.019, -9.0])
    assert chosen == [0, 1]
    assert shares[0] == pytest.approx(1 / (1 + np.exp(-0.019)), abs=1e-6)
    assert shares[1] == 1.0


def test_tokens_do_not_influence_each_other() -> None:
    scores = np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32)
    chosen, shares = sparse_mixer(scores)
    for token in range(50):
        one, share = sparse_mixer(scores[token : token + 1])
        assert (one[0] == chosen[token]).all()
        assert share[0].tobytes() == shares[token].tobytes()


def test_zeros() -> None:
    assert routed([0.0, 0.0]) == ([0, 1], [0.5, 1.0])


def test_only_the_chosen_experts_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token's answer is that of its two experts, whatever else is computed with it."""
    rng, counted = np.random.default_rng(2), []
    hidden, inner, count = 256, 512, 6

    def stacked(rows: int, cols: int) -> ExpertWeights:
        weights = rng.standard_normal((count, rows, cols), np.float32)
        return ExpertWeights(quantize(weights, "Q4_K"), "Q4_K")

    router = Weight(rng.standard_normal((count, hidden), np.float32).view(np.uint8), "F32", hidden)
    experts = Experts(
        router, stacked(inner, hidden), stacked(inner, hidden), stacked(hidden, inner)
    )
    linear = ExpertWeights.linear
    monkeypatch.setattr(
        ExpertWeights,
        "linear",
        lambda self, x, counts: counted.append(counts.tolist()) or linear(self, x, counts),
    )
    for tokens in (1, 2, 19):
        x = rng.standard_normal((tokens, hidden), np.float32)
        answers = experts(x)
        chosen, shares = sparse_mixer(router.linear(x))
        used = np.bincount(chosen.ravel(), minlength=count).tolist()
        assert counted[-3:] == [used] * 3
        for t in range(tokens):
            parts = []
            for expert, share in zip(chosen[t], shares[t], strict=True):
                products = [
                    matmul(x[t : t + 1], weights.data[expert], "Q4_K")
                    for weights in (experts.gate, experts.up)
                ]
                inside = silu_mul(np.concatenate(products, axis=1))
                parts.append(share * matmul(inside, experts.down.data[expert], "Q4_K")[0])
            assert answers[t].tobytes() == (parts[0] + parts[1]).tobytes()
