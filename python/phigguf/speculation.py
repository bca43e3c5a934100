"""Guessing the next tokens from the text itself, so that several can be verified at once.

Prompt lookup: where the last few tokens occurred before, what followed them then is likely to
follow now (code, quotations, summaries). A guess costs a search; verifying it costs a forward pass
over a few tokens more, which is cheap where single tokens are bound by memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from .errors import InvalidArgument

Speculation = Literal["prompt-lookup"]

Tokens = npt.NDArray[np.int32]

SHORTEST_MATCH, LONGEST_MATCH = 2, 8  # tokens
LONGEST_DRAFT = 16
LONGEST_PAUSE = 64


class Drafter(Protocol):
    """Guesses how a text goes on, and learns how good its guesses were."""

    def draft(self, text: Sequence[int], most: int) -> list[int]:
        """Return at most so many tokens that may follow a text; often none."""

    def learn(self, drafted: int, accepted: int) -> None:
        """Take note of how many tokens of a draft, not empty, were right."""


class NoDrafts:
    """Never guesses."""

    def draft(self, text: Sequence[int], most: int) -> list[int]:
        """Return nothing."""
        return []

    def learn(self, drafted: int, accepted: int) -> None:
        """Do nothing."""


class PromptLookup:
    """Drafts what followed the most recent of the longest matches with the end of the text.

    A draft that was right to its end doubles the next one's length, and a wrong one cuts it to
    what was right. After drafts of which nothing was right there is a pause, twice as long each
    time, so that a text without repetitions costs next to nothing.
    """

    def __init__(self) -> None:
        self._tokens = np.empty(0, np.int32)
        self._known = 0
        self._length = 2
        self._pause = 0
        self._waiting = 0

    def draft(self, text: Sequence[int], most: int) -> list[int]:
        """Return at most so many tokens that may follow a text, which only ever grows."""
        if self._waiting:
            self._waiting -= 1
            return []
        if most < 1:
            return []
        tokens = self._array_of(text)
        start = _continuation(tokens)
        if start is None:
            return []
        # What reaches the end of the text goes on as what it repeats.
        draft: list[int] = np.resize(tokens[start:], min(self._length, most)).tolist()
        return draft

    def learn(self, drafted: int, accepted: int) -> None:
        """Adapt the length and the frequency of drafts."""
        if accepted == 0:
            self._length = 1
            self._pause = min(2 * self._pause + 1, LONGEST_PAUSE)
            self._waiting = self._pause
            return
        self._pause = 0
        self._length = min(2 * self._length, LONGEST_DRAFT) if accepted == drafted else accepted

    def _array_of(self, text: Sequence[int]) -> Tokens:
        """Return the text as an array, of which only what is new is copied."""
        if len(text) > self._tokens.size:
            grown = np.empty(2 * len(text), np.int32)
            grown[: self._known] = self._tokens[: self._known]
            self._tokens = grown
        self._tokens[self._known : len(text)] = text[self._known :]
        self._known = len(text)
        return self._tokens[: self._known]


def new_drafter(speculative: Speculation | None) -> Drafter:
    """Return the drafter of a name.

    Raises
    ------
    InvalidArgument
        If there is none of that name.
    """
    if speculative is None:
        return NoDrafts()
    if speculative not in get_args(Speculation):
        raise InvalidArgument(
            f"must be None or one of {', '.join(get_args(Speculation))}",
            field="speculative",
            value=speculative,
        )
    return PromptLookup()


def _continuation(tokens: Tokens) -> int | None:
    """Return where the text goes on after the last of the longest matches with its end."""
    ends = np.flatnonzero(tokens[:-1] == tokens[-1])
    matched = 1
    while ends.size and matched < LONGEST_MATCH:
        longer = ends[ends >= matched]
        longer = longer[tokens[longer - matched] == tokens[-1 - matched]]
        if not longer.size:
            break
        ends = longer
        matched += 1
    return int(ends[-1]) + 1 if ends.size and matched >= SHORTEST_MATCH else None
