"""What `bench` measures, on a model that notes what it is asked."""

from __future__ import annotations

import pytest

from phigguf.bench import Speed, measure
from phigguf.errors import InvalidArgument


class Noting:
    """A model whose sessions note the tokens of every call."""

    n_vocab = 50

    def __init__(self) -> None:
        self.sessions: list[list[list[int]]] = []

    def session(self) -> Noting:
        self.sessions.append([])
        return self

    def forward(self, tokens: list[int], last_only: bool) -> None:
        assert last_only
        self.sessions[-1].append(list(tokens))


def test_prompts_come_in_one_piece_and_generated_tokens_one_by_one():
    model = Noting()
    prefill, decode = measure(model, n_prompt=9, n_gen=4, repetitions=2)
    assert (prefill.tokens, len(prefill.runs)) == (9, 2)
    assert (decode.tokens, len(decode.runs)) == (4, 2)

    warm_up, first, second = (model.sessions[i : i + 2] for i in (0, 2, 4))
    assert warm_up == first == second
    assert len(model.sessions) == 6
    read, generated = first
    assert [len(tokens) for tokens in read] == [9]
    assert [len(tokens) for tokens in generated] == [1, 1, 1, 1]
    assert {token for call in read + generated for token in call} <= set(range(50))


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
