"""Several prompts at once: each is continued as it is alone, and leaves when it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

import phigguf
from phigguf.continuation import Generation
from phigguf.errors import InvalidArgument, TokenizerError
from phigguf.models import Model, Session
from tiny_checkpoints import ORIGINAL, tokens_of, write_tiny_checkpoint

# Two pass LongRoPE's original length while they are generated, at different times.
PROMPTS = [tokens_of(length) for length in (ORIGINAL - 2, 1, ORIGINAL + 1, ORIGINAL - 9, 13)]


@pytest.fixture(scope="module", params=["phi2", "phimoe with LongRoPE"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model")
    write_tiny_checkpoint(folder, request.param)
    phigguf.convert(folder, folder / "model.gguf", "F32", progress=False)
    return phigguf.load(folder / "model.gguf")


def timeless(generation: Generation) -> Generation:
    return replace(generation, prompt_seconds=0, decode_seconds=0, cached_tokens=0)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {"temperature": 1.5, "seed": 3},
        {"temperature": 1.5, "seed": 3, "repetition_penalty": 1.3, "stop": ["e", "th"]},
        {"temperature": 1.0, "seed": 5, "max_tokens": None},
        {"max_tokens": 0},
    ],
    ids=str,
)
def test_answers_are_those_of_each_prompt_alone(model: Model, options: dict[str, Any]) -> None:
    options = {"max_tokens": 20, **options}
    together = model.generate(PROMPTS, **options)
    alone = [model.generate(prompt, **options) for prompt in PROMPTS]
    assert [timeless(answer) for answer in together] == [timeless(answer) for answer in alone]


def test_texts_and_tokens(model: Model) -> None:
    texts = ["in the beginning", "and"]
    answers = model.generate(texts, max_tokens=5, temperature=0)
    assert [timeless(answer) for answer in answers] == [
        timeless(model.generate(text, max_tokens=5, temperature=0)) for text in texts
    ]
    ids = [model.tokenizer.encode(text) for text in texts]
    again = model.generate(ids, max_tokens=5, temperature=0)
    assert [timeless(answer) for answer in again] == [timeless(answer) for answer in answers]


def test_each_prompt_may_have_a_seed(model: Model) -> None:
    options: dict[str, Any] = {"max_tokens": 8, "temperature": 2.0, "top_k": 0, "min_p": 0}
    answers = model.generate([PROMPTS[1]] * 3, seed=[1, 2, 1], **options)
    assert answers[0].token_ids == answers[2].token_ids != answers[1].token_ids
    for answer, seed in zip(answers, (1, 2, 1), strict=True):
        assert answer.token_ids == model.generate(PROMPTS[1], seed=seed, **options).token_ids


def test_what_has_ended_is_not_read_on(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    forward = Model.forward

    def count(
        self: Model, sessions: Sequence[Session], tokens: Sequence[Sequence[int]], last: bool = True
    ) -> Any:
        sizes.append(len(sessions))
        return forward(self, sessions, tokens, last)

    monkeypatch.setattr(Model, "forward", count)
    prompts = [[3] * (model.n_ctx - left) for left in (4, 0, 2)]
    answers = model.generate(prompts, max_tokens=None, temperature=0)
    assert [answer.finish_reason for answer in answers] == ["context"] * 3
    assert sizes == [3, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("prompts", "options", "error", "field"),
    [
        ([[5], []], {}, InvalidArgument, "prompt[1]"),
        ([[5], [5] * 1000], {}, InvalidArgument, "prompt[1]"),
        ([[5], [5, 10**6]], {}, TokenizerError, None),
        ([[5], [6]], {"seed": [1]}, InvalidArgument, "seed"),
        ([[5], [6]], {"seed": [1, -2]}, InvalidArgument, "seed"),
        ([[5], [6]], {"stream": True}, InvalidArgument, "stream"),
        ([[5], [6]], {"temperature": -1}, InvalidArgument, "temperature"),
    ],
)
def test_bad_arguments(
    model: Model, prompts: list[list[int]], options: dict[str, Any], error: Any, field: str | None
) -> None:
    with pytest.raises(error) as caught:
        model.generate(prompts, **options)
    if field is not None:
        assert caught.value.field == field
