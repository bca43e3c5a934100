"""Tokens per second of a model: prompts read and tokens generated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from phigguf.errors import InvalidArgument

if TYPE_CHECKING:
    from phigguf.models import Model, Session

_SEED = 0


@dataclass(frozen=True)
class Speed:
    """How fast some number of tokens was processed, over several runs.

    Parameters
    ----------
    tokens
        Tokens in each run.
    runs
        Tokens per second of each run, in the order in which they were made.
    """

    tokens: int
    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median over the runs, in tokens per second."""
        return median(self.runs)

    def __str__(self) -> str:
        return f"{self.median:.1f} tokens/s ({min(self.runs):.1f} to {max(self.runs):.1f})"

    def to_dict(self) -> dict[str, Any]:
        """Return the median, the spread and every run, in tokens per second."""
        return {
            "tokens": self.tokens,
            "median": self.median,
            "min": min(self.runs),
            "max": max(self.runs),
            "runs": list(self.runs),
        }


def measure(
    model: Model, *, n_prompt: int = 512, n_gen: int = 64, n_depth: int = 0, repetitions: int = 5
) -> tuple[Speed, Speed]:
    """Measure reading a prompt in one piece and generating one token at a time.

    Both follow the same tokens in the cache, if any, and read tokens drawn with a fixed seed, after
    one run that is not counted; the two alternate, so that a drifting machine harms both alike.

    Parameters
    ----------
    model
        The model to measure.
    n_prompt, n_gen
        Tokens to read and to generate in each run.
    n_depth
        Tokens that the cache holds before.
    repetitions
        Counted runs.

    Returns
    -------
    prefill, decode
        The two speeds.

    Raises
    ------
    InvalidArgument
        If a count is not positive, or all do not fit the context.
    """
    for name, count in (("n_prompt", n_prompt), ("n_gen", n_gen), ("repetitions", repetitions)):
        if count < 1:
            raise InvalidArgument("must be at least 1", field=name, value=count)
    if n_depth < 0:
        raise InvalidArgument("must be 0 or more", field="n_depth", value=n_depth)
    draw = np.random.default_rng(_SEED)
    before, prompt, continuation = (
        draw.integers(model.n_vocab, size=count).tolist() for count in (n_depth, n_prompt, n_gen)
    )
    reader, writer = _session_after(model, before), _session_after(model, before)

    prefill, decode = [], []
    for _ in range(1 + repetitions):
        for session in (reader, writer):
            session.truncate(n_depth)
        prefill.append(_tokens_per_second(n_prompt, lambda: _read(reader, [prompt])))
        decode.append(_tokens_per_second(n_gen, lambda: _read(writer, [[t] for t in continuation])))
    return Speed(n_prompt, tuple(prefill[1:])), Speed(n_gen, tuple(decode[1:]))


def _session_after(model: Model, tokens: Sequence[int]) -> Session:
    session = model.session()
    if tokens:
        session.forward(tokens)
    return session


def _read(session: Session, pieces: Sequence[Sequence[int]]) -> None:
    for tokens in pieces:
        session.forward(tokens)


def _tokens_per_second(tokens: int, work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return tokens / (time.perf_counter() - start)
