"""The router of Phi-3.5-MoE, on scores whose shares can be told by hand."""

from __future__ import annotations

import numpy as np
import pytest

from phigguf.models.phimoe import sparse_mixer


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
