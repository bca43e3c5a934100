"""What `bench` measures, on a model that notes what it is asked."""

from __future__ import annotations

import pytest

from phigguf.bench import Speed, measure
from phigguf.errors import InvalidArgument


class Noting:
    """A model whose sessions note the tokens of every call, and how many they have read."""

    n_vocab = 50

    def __init__(self) -> None:
        self.sessions: list[NotingSession] = []

    def session(self) -> NotingSession:
        self.sessions.append(NotingSession())
        return self.sessions[-1]


class NotingSession:
    def __init__(self) -> None:
        self.calls: list[tuple[int, list[int]]] = []
        self.length = 0

    def forward(self, tokens: list[int]) -> None:
        self.calls.append((self.length, list(tokens)))
        self.length += len(tokens)

    def truncate(self, length: int) -> None:
        assert length <= self.length
        self.length = length


@pytest.mark.parametrize("depth", [0, 7])
def test_prompts_come_in_one_piece_and_generated_tokens_one_by_one(depth):
    model = Noting()
    prefill, decode = measure(model, n_prompt=9, n_gen=4, n_depth=depth, repetitions=2)
    assert (prefill.tokens, len(prefill.runs)) == (9, 2)
    assert (decode.tokens, len(decode.runs)) == (4, 2)

    read, generated = (session.calls for session in model.sessions)
    if depth:
        before = read.pop(0)
        assert generated.pop(0) == before
        assert (before[0], len(before[1])) == (0, depth)
    assert [(at, len(tokens)) for at, tokens in read] == [(depth, 9)] * 3
    assert [(at, len(tokens)) for at, tokens in generated] == [(depth + i, 1) for i in range(4)] * 3
    assert read[0] == read[1] == read[2]
    assert generated[:4] == generated[4:8] == generated[8:]
    assert {token for _, call in read + generated for token in call} <= set(range(50))


def test_depth_must_not_be_negative():
    with pytest.raises(InvalidArgument, match="n_depth"):
        measure(Noting(), n_depth=-1)


@pytest.mark.parametrize("name", ["n_prompt", "n_gen", "repetitions"])
def test_counts_must_be_positive(name):
    with pytest.raises(InvalidArgument, match=name):
        measure(Noting(), **{name: 0})


def test_a_speed_is_its_median_and_spread():
    speed = Speed(10, (5.0, 1.0, 2.0))
    assert str(speed) == "2.0 tokens/s (1.0 to 5.0)"
    assert speed.to_dict() == {
        "tokens": 10,
        "median": 2.0,
        "min": 1.0,
        "max": 5.0,
        "runs": [5.0, 1.0, 2.0],
    }
