"""Prefix reuse: only what is new is read, and nothing else differs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import phigguf
from phigguf.continuation import Generation
from phigguf.kept_session import KeptSession
from phigguf.models import Model, Session
from tiny_checkpoints import ORIGINAL, WINDOW, write_tiny_checkpoint

NAMES = ["phi2", "phimoe with LongRoPE", "phimoe with a sliding window"]
OPTIONS: dict[str, Any] = {"max_tokens": 6, "temperature": 0.7, "seed": 1}


@pytest.fixture(scope="module", params=NAMES)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_tiny_checkpoint(folder, request.param)
    phigguf.convert(folder, folder / "model.gguf", "F32", progress=False)
    return folder / "model.gguf"


def tokens(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(3, 300, length).tolist()


def timeless(answer: Generation) -> Generation:
    return replace(answer, prompt_seconds=0, decode_seconds=0, cached_tokens=0)


def test_answers_are_those_of_a_fresh_model(path: Path) -> None:
    """Prompts that share none, some or all of their tokens, on both sides of becoming long."""
    model, rng = phigguf.load(path), np.random.default_rng(5)
    text = tokens(80)
    for _ in range(25):
        shared, length = sorted(rng.choice([1, 5, WINDOW, ORIGINAL - 8, ORIGINAL, 60, 80], 2))
        prompt = text[:shared] + tokens(length - shared, seed=int(rng.integers(4)))
        answer = model.generate(prompt, **OPTIONS)
        assert timeless(answer) == timeless(phigguf.load(path).generate(prompt, **OPTIONS))


@pytest.mark.parametrize("kv_type", ["F32", "F16"])
def test_logits_after_a_rewind_are_those_of_a_new_session(path: Path, kv_type: str) -> None:
    model = phigguf.load(path, kv_type=kv_type)
    assert read_another_text(model, 70) == 50


def read_another_text(model: Model, length: int) -> int:
    """Rewind a session from a text to another that shares 50 tokens; return what was kept."""
    before, text = tokens(length), tokens(50) + tokens(9, seed=8)
    session = model.session()
    for start in range(0, length, 10):
        session.forward(before[start : start + 10])
    cached = session.rewind(text)
    assert len(session) == cached
    logits = session.forward(text[cached:], last_only=False)
    assert np.array_equal(logits, model.logits(text)[cached:])
    return cached


def test_what_a_sliding_window_has_let_go_of_is_read_anew(tmp_path: Path) -> None:
    name = "phimoe with a sliding window"
    write_tiny_checkpoint(tmp_path, name, max_position_embeddings=512)
    phigguf.convert(tmp_path, tmp_path / "model.gguf", "F32", progress=False)
    model = phigguf.load(tmp_path / "model.gguf")
    assert [read_another_text(model, length) for length in (200, 300)] == [50, 0]


def test_only_what_is_new_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = phigguf.load(path)
    read: list[int] = []
    forward = Session.forward

    def count(self: Session, tokens: Sequence[int], last_only: bool = True) -> Any:
        read.append(len(tokens))
        return forward(self, tokens, last_only)

    monkeypatch.setattr(Session, "forward", count)
    first = model.generate(tokens(20), **OPTIONS)
    follow_up = [*tokens(20), *first.token_ids, 7, 8]
    second = model.generate(follow_up, **OPTIONS)
    again = model.generate(follow_up, **OPTIONS)
    other = model.generate(follow_up[:10] + tokens(5, seed=3), **OPTIONS)
    answers = (first, second, again, other)
    assert [answer.cached_tokens for answer in answers] == [0, 25, 27, 10]
    assert read == [20, *[1] * 5, 3, *[1] * 5, 1, *[1] * 5, 5, *[1] * 5]


def test_a_text_that_becomes_long_or_short_is_read_anew(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path, "phimoe with LongRoPE")
    phigguf.convert(tmp_path, tmp_path / "model.gguf", "F32", progress=False)
    model = phigguf.load(tmp_path / "model.gguf")
    lengths = [ORIGINAL - 10, ORIGINAL + 1, ORIGINAL + 5, ORIGINAL - 2, ORIGINAL - 1]
    answers = [model.generate(tokens(length), **OPTIONS) for length in lengths]
    # The fourth becomes long while it is generated, so the fifth finds it long.
    cached = [0, 0, ORIGINAL + 1, 0, 0]
    assert [answer.cached_tokens for answer in answers] == cached


def test_a_chat_reads_each_turn_once(demo_gguf: Path) -> None:
    model, fresh = phigguf.load(demo_gguf), phigguf.load(demo_gguf)
    messages = [{"role": "user", "content": "What did he say?"}]
    for turn in range(3):
        fresh.kept_session.clear()
        answer = model.chat(messages, **OPTIONS)
        assert timeless(answer) == timeless(fresh.chat(messages, **OPTIONS))
        if turn:
            assert answer.cached_tokens > 10
        messages += [
            {"role": "assistant", "content": answer.text},
            {"role": "user", "content": "And what then?"},
        ]


def test_a_kept_session_can_be_let_go(path: Path) -> None:
    model = phigguf.load(path)
    model.generate(tokens(20), **OPTIONS)
    model.kept_session.clear()
    assert model.generate(tokens(20), **OPTIONS).cached_tokens == 0


# --- Lending ---


class Note:
    """A session that only knows what it was rewound to."""

    def __init__(self) -> None:
        self.rewound: list[list[int]] = []

    def rewind(self, tokens: Sequence[int]) -> int:
        self.rewound.append(list(tokens))
        return 0


def test_one_is_kept_and_nobody_shares_it() -> None:
    kept = KeptSession(Note)
    with kept.lend([1]) as (one, _), kept.lend([2]) as (other, _):
        assert one is not other
    with kept.lend([3]) as (again, _), kept.lend([4]) as (new, _):
        assert again is one  # returned last
        assert new not in (one, other)


def test_a_failure_returns_it() -> None:
    kept = KeptSession(Note)
    with pytest.raises(KeyError), kept.lend([1]) as (one, _):
        raise KeyError
    with kept.lend([2]) as (again, _):
        assert again is one


def test_threads_do_not_disturb_each_other(path: Path) -> None:
    model = phigguf.load(path)
    expected = {seed: model.generate(tokens(20, seed), **OPTIONS).token_ids for seed in range(4)}
    wrong: list[int] = []

    def generate(seed: int) -> None:
        for _ in range(5):
            if model.generate(tokens(20, seed), **OPTIONS).token_ids != expected[seed]:
                wrong.append(seed)

    threads = [threading.Thread(target=generate, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
