"""Sampling: transformers' filters, one stream of random numbers, no free choices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phigguf.errors import InvalidArgument, ShapeError
from phigguf.sampling import Sampler

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "golden" / "sampling.json").read_text(encoding="utf-8")
)
PLAIN: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


@pytest.mark.parametrize("index", range(len(CASES)))
def test_distribution_equals_transformers(index: int) -> None:
    case = CASES[index]
    sampler = Sampler(**{**PLAIN, **case["settings"]})
    ids, probabilities = sampler.distribution(case["logits"], case["history"])
    expected = {int(id): p for id, p in case["probabilities"].items()}
    assert set(ids.tolist()) == set(expected)
    np.testing.assert_allclose(probabilities, [expected[id] for id in ids.tolist()], rtol=1e-12)
    assert (np.diff(probabilities) <= 0).all()


def test_zero_temperature_takes_the_likeliest_and_of_equals_the_first() -> None:
    sampler = Sampler(temperature=0)
    assert sampler.sample([0.0, 3.0, 1.0, 3.0]) == 1
    assert sampler.sample(np.array([-np.inf, -5.0, -5.0], dtype=np.float32)) == 1


def test_zero_temperature_still_minds_repetition() -> None:
    sampler = Sampler(temperature=0, repetition_penalty=2.0)
    assert sampler.sample([3.0, 2.0]) == 0
    assert sampler.sample([3.0, 2.0], [0]) == 1
    assert sampler.sample([-3.0, -2.0], [1]) == 0
    assert sampler.sample([3.0, 2.0], [0, 0, 1]) == 0


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"top_k": 2}, [1, 2]),
        ({"top_k": 3}, [1, 2, 4]),
        ({"top_p": 0.4}, [1, 2]),
        ({"top_p": 0.25}, [1]),
        ({"top_k": 1, "top_p": 0.01, "min_p": 1.0}, [1]),
        ({"min_p": 1.0}, [1, 2, 4]),
    ],
)
def test_of_equal_tokens_the_first_are_kept(settings: dict[str, Any], kept: list[int]) -> None:
    logits = [-1.0, 0.0, 0.0, -1.0, 0.0]
    ids, probabilities = Sampler(**{**PLAIN, **settings}).distribution(logits)
    assert ids.tolist() == kept
    assert probabilities.tolist() == [1 / len(kept)] * len(kept)


def test_equal_tokens_are_ordered_by_id() -> None:
    logits = np.random.default_rng(1).integers(0, 9, 1000).astype(np.float64)
    ids, _ = Sampler(**PLAIN).distribution(logits)
    assert ids.tolist() == sorted(range(1000), key=lambda id: (-logits[id], id))
    best, _ = Sampler(**{**PLAIN, "top_k": 300}).distribution(logits)
    assert best.tolist() == ids.tolist()[:300]


def test_seed_repeats_the_choices() -> None:
    logits = np.linspace(0, 3, 50)

    def draw(seed: int | None) -> list[int]:
        sampler = Sampler(seed=seed)
        return [sampler.sample(logits) for _ in range(100)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert draw(None) != draw(None)


def test_choices_of_a_seed_never_change() -> None:
    """PCG64(42) begins 0.774, 0.439, 0.859, 0.697: worked out from there, likeliest token first."""
    sampler = Sampler(**PLAIN, seed=42)
    chosen = [sampler.sample(np.linspace(0, 3, 50)) for _ in range(8)]
    assert chosen == [28, 41, 22, 32, 48, 6, 28, 27]


def test_choices_follow_the_distribution() -> None:
    logits = np.log([0.5, 0.3, 0.15, 0.05])
    sampler = Sampler(**PLAIN, seed=3)
    counts = np.bincount([sampler.sample(logits) for _ in range(20_000)], minlength=4)
    expected = 20_000 * np.array([0.5, 0.3, 0.15, 0.05])
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 16.3  # three degrees of freedom, p = 0.001


def test_excluded_tokens_are_never_chosen() -> None:
    logits = np.full(8, -np.inf)
    logits[[2, 5]] = 0.0, -800.0  # the second has probability 0 in float64
    sampler = Sampler(**PLAIN, seed=1)
    assert sampler.distribution(logits)[0].tolist() == [2]
    assert sampler.sample(logits) == 2


def test_huge_logits_do_not_overflow() -> None:
    sampler = Sampler(**{**PLAIN, "temperature": 1e-300})
    assert sampler.sample([1e300, 9e299, -1e300]) == 0


@pytest.mark.parametrize("last", [0.0, 1 - 2**-53])
def test_every_random_number_gives_a_token(last: float) -> None:
    class Fixed:
        def random(self) -> float:
            return last

    sampler = Sampler(**PLAIN)
    sampler._random = Fixed()  # type: ignore[assignment]
    assert sampler.sample([0.0, 0.0, 0.0]) == (0 if last == 0 else 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_k", 1.5),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", float("nan")),
        ("seed", -1),
        ("seed", "a"),
    ],
)
def test_parameter_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Sampler(**{name: value})
    assert caught.value.field == name


@pytest.mark.parametrize("logits", [[], [[1.0, 2.0]], 3.0])
def test_logits_must_be_a_vector(logits: Any) -> None:
    with pytest.raises(ShapeError):
        Sampler().sample(logits)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_must_be_numbers(bad: float, temperature: float) -> None:
    with pytest.raises(InvalidArgument, match="not finite"):
        Sampler(temperature=temperature).sample([1.0, bad, 2.0])


def test_some_logit_must_be_finite() -> None:
    with pytest.raises(InvalidArgument, match="not finite"):
        Sampler().sample([-np.inf, -np.inf])


@pytest.mark.parametrize("token", [-1, 4])
def test_history_must_be_of_the_vocabulary(token: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Sampler(repetition_penalty=1.1).sample([1.0, 2.0, 3.0, 4.0], [0, token])
    assert caught.value.field == "history"
