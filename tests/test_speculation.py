"""Prompt lookup: what is drafted, and that a text is the same with and without drafts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import phigguf
from phigguf.continuation import Generation
from phigguf.errors import InvalidArgument
from phigguf.models import Model
from phigguf.speculation import LONGEST_DRAFT, LONGEST_PAUSE, PromptLookup
from tiny_checkpoints import ORIGINAL, WINDOW, write_tiny_checkpoint

# --- Drafting ---


def draft(text: list[int], most: int = 2) -> list[int]:
    return PromptLookup().draft(text, most)


def test_what_followed_before_is_drafted() -> None:
    assert draft([1, 2, 3, 4, 5, 9, 1, 2]) == [3, 4]


def test_the_longest_match_counts_and_of_these_the_last() -> None:
    assert draft([7, 1, 2, 3, 0, 8, 1, 2, 4, 0, 9, 1, 2, 5, 0, 8, 1, 2], 1) == [4]
    assert draft([8, 1, 2, 3, 0, 8, 1, 2, 4, 0, 8, 1, 2], 1) == [4]


def test_a_match_of_one_token_is_not_enough() -> None:
    assert draft([1, 2, 3, 4, 2]) == []


def test_nothing_is_drafted_without_a_match_or_room() -> None:
    assert draft([1]) == draft([1, 2, 3]) == []
    assert draft([1, 2, 3, 1, 2], 0) == []


def test_a_repetition_is_drafted_beyond_the_end() -> None:
    lookup = PromptLookup()
    for _ in range(3):
        lookup.learn(1, 1)
    assert lookup.draft([5, 6, 7, 5, 6, 7, 5], 7) == [6, 7, 5, 6, 7, 5, 6]


def test_a_growing_text_is_drafted_as_a_new_one() -> None:
    text = np.random.default_rng(0).integers(3, size=200).tolist()
    lookup = PromptLookup()
    for length in range(1, len(text)):
        assert lookup.draft(text[:length], 2) == draft(text[:length])


def test_right_drafts_grow_and_wrong_ones_pause() -> None:
    text, lookup = [1, 2] * 50, PromptLookup()

    def drafted() -> int:
        return len(lookup.draft(text, 99))

    lengths = []
    for _ in range(5):
        lengths.append(drafted())
        lookup.learn(lengths[-1], lengths[-1])
    assert lengths == [2, 4, 8, 16, LONGEST_DRAFT]
    lookup.learn(16, 5)
    assert drafted() == 5
    lookup.learn(5, 0)
    assert [drafted() for _ in range(3)] == [0, 1, 1]


def test_a_text_that_never_matches_is_hardly_ever_drafted() -> None:
    text, lookup, drafts = [1, 2] * 50, PromptLookup(), 0
    for _ in range(1000):
        if guess := lookup.draft(text, 99):
            drafts += len(guess)
            lookup.learn(len(guess), 0)
    assert drafts <= 8 + 1000 / LONGEST_PAUSE


# --- The same text ---

NAMES = ["phi2", "phimoe with LongRoPE", "phimoe with a sliding window"]
OPTIONS: list[dict[str, Any]] = [
    {"temperature": 0, "max_tokens": None},
    {"temperature": 0, "repetition_penalty": 1.05},
    {"temperature": 0.4, "seed": 1},
    {"temperature": 0.9, "seed": 2, "top_k": 3, "min_p": 0.2},
]


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model")
    write_tiny_checkpoint(folder, request.param)
    phigguf.convert(folder, folder / "model.gguf", "F32", progress=False)
    return phigguf.load(folder / "model.gguf")


def prompts() -> list[list[int]]:
    """Texts that repeat themselves; from some, a text becomes long while it is generated."""
    rng = np.random.default_rng(4)
    lengths = (1, WINDOW, ORIGINAL - 9, ORIGINAL - 1, ORIGINAL, 70)
    return [np.resize(rng.integers(3, 300, 6), length).tolist() for length in lengths]


def same(one: Generation, other: Generation) -> bool:
    changed = {"drafted_tokens": 0, "accepted_tokens": 0, "cached_tokens": 0}
    timeless: dict[str, Any] = {"prompt_seconds": 0, "decode_seconds": 0}
    return replace(one, **changed, **timeless) == replace(other, **changed, **timeless)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_text_is_the_same_with_any_sampling(model: Model, options: dict[str, Any]) -> None:
    drafted = accepted = 0
    for prompt in prompts():
        options = {"max_tokens": 40, **options}
        plain = model.generate(prompt, **options)
        model.kept_session.clear()
        guessed = model.generate(prompt, speculative="prompt-lookup", **options)
        assert same(guessed, plain)
        assert plain.drafted_tokens == 0
        assert 0 <= guessed.accepted_tokens <= guessed.drafted_tokens
        assert guessed.accepted_tokens < max(1, len(guessed.token_ids))
        drafted += guessed.drafted_tokens
        accepted += guessed.accepted_tokens
        model.kept_session.clear()
    assert drafted > accepted  # some guesses were wrong, so tokens were taken back


def test_right_guesses_save_passes(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = phigguf.load(demo_gguf)
    options: dict[str, Any] = {"max_tokens": 100, "temperature": 0}
    prompt = "And God said, Let there be light: and God said, Let there be light: and God said,"
    plain = model.generate(prompt, **options)
    stream = model.generate(prompt, speculative="prompt-lookup", stream=True, **options)
    assert "".join(stream) == plain.text
    assert stream.result is not None
    assert same(stream.result, plain)
    assert stream.result.accepted_tokens > 5


@pytest.mark.parametrize("stop", [2, 5, 9])
def test_text_ends_at_the_same_place(model: Model, stop: int) -> None:
    prompt, options = prompts()[1], {"temperature": 0.5, "seed": 6}
    text = model.generate(prompt, **options).text
    for limit in ({"max_tokens": stop * 4}, {"stop": text[stop * 4 : stop * 5]}):
        plain = model.generate(prompt, **options, **limit)
        assert same(model.generate(prompt, speculative="prompt-lookup", **options, **limit), plain)
        assert plain.finish_reason == ("length" if "max_tokens" in limit else "stop")


def test_wrong_guesses_leave_nothing_behind(model: Model) -> None:
    for prompt in prompts():
        options: dict[str, Any] = {"max_tokens": 30, "temperature": 0.5, "seed": 9}
        answer = model.generate(prompt, speculative="prompt-lookup", **options)
        text = [*prompt, *answer.token_ids]
        with model.kept_session.lend(text) as (session, cached):
            assert session.tokens == text[:cached]
            assert cached == len(text) - 1
            assert np.array_equal(session.forward(text[cached:]), model.logits(text)[-1:])


def test_a_text_left_in_the_middle_does_no_harm(model: Model) -> None:
    for prompt in prompts()[2:4]:
        options: dict[str, Any] = {"max_tokens": 20, "temperature": 0.5, "seed": 9}
        for pieces in (1, 9):
            stream = model.generate(prompt, speculative="prompt-lookup", stream=True, **options)
            for _ in range(pieces):
                next(stream)
            del stream
            after = model.generate([*prompt, 5, 6], **options)
            model.kept_session.clear()
            assert same(after, model.generate([*prompt, 5, 6], **options))


def test_unknown_speculation_is_refused(model: Model) -> None:
    with pytest.raises(InvalidArgument) as caught:
        model.generate([5], speculative="lookahead")
    assert (caught.value.field, caught.value.value) == ("speculative", "lookahead")


def test_several_prompts_cannot_speculate(model: Model) -> None:
    with pytest.raises(InvalidArgument) as caught:
        model.generate([[5], [6]], speculative="prompt-lookup")
    assert caught.value.field == "speculative"
