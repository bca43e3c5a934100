"""Several sequences at once: each gets the bits that it gets alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import phigguf
from phigguf._core import Weight
from phigguf.errors import InvalidArgument
from phigguf.models import Model, Session
from tiny_checkpoints import CASES, write_tiny_checkpoint
from tiny_phi3 import EVERYTHING, ORIGINAL, QUANTIZABLE, WINDOW, write_tiny

# On both sides of the window and of LongRoPE's original length, in no order.
LENGTHS = [ORIGINAL + 1, 1, 2 * ORIGINAL, WINDOW, ORIGINAL, WINDOW + 1, 2, ORIGINAL - 1, 57]
OTHERS = ["phi2 grouped-query", "phimoe with LongRoPE", "phimoe large"]


def prompt(length: int) -> list[int]:
    return np.random.default_rng(length).integers(3, 96, length).tolist()


def identical(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.fixture(scope="module", params=["F32", "Q8_0", "Q4_K", *OTHERS])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder, kind = tmp_path_factory.mktemp("batch"), request.param
    path = folder / "model.gguf"
    if kind not in CASES:
        return phigguf.load(write_tiny(path, QUANTIZABLE, type=kind))
    write_tiny_checkpoint(folder, kind)
    type = "Q4_K_M" if kind.endswith("large") else "F32"
    phigguf.convert(folder, path, type, progress=False)
    return phigguf.load(path)


def test_logits(model: Model) -> None:
    prompts = [prompt(length) for length in LENGTHS]
    together = model.logits(prompts)
    assert len(together) == len(prompts)
    for tokens, logits in zip(prompts, together, strict=True):
        assert identical(logits, model.logits(tokens))


@pytest.mark.parametrize("chunk", [1, 7, ORIGINAL, 64])
def test_chunks_across_sequences_do_not_show(
    model: Model, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [prompt(length) for length in LENGTHS]
    expected = model.logits(prompts)
    monkeypatch.setattr("phigguf.models.session.CHUNK", chunk)
    last = model.forward([model.session() for _ in prompts], prompts)
    for alone, logits, row in zip(expected, model.logits(prompts), last, strict=True):
        assert identical(logits, alone)
        assert identical(row, alone[-1:])


def test_reading_on_in_steps_of_different_lengths(model: Model) -> None:
    """The sequences pass LongRoPE's switch at different times, one inside a longer piece."""
    prompts = [prompt(length) for length in (45, 50, 58)]
    sessions, alone = ([model.session() for _ in prompts] for _ in range(2))
    for step in ([3, ORIGINAL, 1], [1, 1, ORIGINAL - 2], [ORIGINAL, 1, 1], [1, 1, 1], [2, 5, 1]):
        tokens = [
            p[len(session) : len(session) + n]
            for p, session, n in zip(prompts, sessions, step, strict=True)
        ]
        for last_only in (True, False):
            if not last_only:
                tokens = [piece[-1:] for piece in tokens]
            together = model.forward(sessions, tokens, last_only)
            for session, piece, logits in zip(alone, tokens, together, strict=True):
                assert identical(logits, session.forward(piece, last_only))
    assert [session.tokens for session in sessions] == [session.tokens for session in alone]


def test_weights_are_read_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("forward", "logits"):
        monkeypatch.setattr(model.network, name, recorded(calls, name, model.network))
    model.logits([prompt(length) for length in LENGTHS])
    assert calls == ["forward", "logits"]


def recorded(calls: list[str], name: str, network: Any) -> Any:
    inner = getattr(network, name)

    def call(*arguments: Any) -> Any:
        calls.append(name)
        return inner(*arguments)

    return call


def test_a_failure_leaves_every_session_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the second layer, where one sequence is being read anew as a long one."""
    model = phigguf.load(write_tiny(tmp_path / "tiny.gguf", EVERYTHING))
    sessions, prompts = [model.session() for _ in range(2)], [prompt(4), prompt(ORIGINAL - 1)]
    model.forward(sessions, prompts)
    layers: list[np.ndarray] = []
    linear = Weight.linear

    def interrupt(self: Weight, x: np.ndarray, **options: Any) -> np.ndarray:
        if "add_to" in options:
            layers.append(x)
        if len(layers) == 2:
            raise KeyboardInterrupt
        return linear(self, x, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Weight, "linear", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.forward(sessions, [[3, 4], [5, 6]])
    assert [session.tokens for session in sessions] == prompts
    for session, logits in zip(sessions, model.forward(sessions, [[3, 4], [5, 6]]), strict=True):
        assert identical(logits, model.logits(session.tokens)[-1:])


def test_arguments_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    model = phigguf.load(write_tiny(tmp_path / "tiny.gguf"), n_ctx=5)
    stranger = phigguf.load(write_tiny(tmp_path / "other.gguf")).session()
    a, b = model.session(), model.session()

    def refused(sessions: list[Session], tokens: list[list[int]], message: str) -> None:
        with pytest.raises(InvalidArgument, match=message):
            model.forward(sessions, tokens)

    refused([a, b], [[3]], "tokens: must be as many as the 2 sessions")
    refused([a, a], [[3], [3]], "sessions: a session occurs twice")
    refused([a, stranger], [[3], [3]], "sessions: must be of one model")
    refused([a, b], [[3], []], r"tokens\[1\]: needs from 1 to 5 tokens")
    refused([a, b], [[3], [3] * 6], r"tokens\[1\]: needs from 1 to 5 tokens")
    refused([a, b], [[3], [3, 96]], r"tokens\[1\]\[1\]: the vocabulary has 96 tokens")
    assert len(a) == len(b) == a.nbytes == b.nbytes == 0
    assert model.forward([], []) == []
    with pytest.raises(InvalidArgument, match=r"tokens\[0\]: needs"):
        model.logits([[], [3]])
