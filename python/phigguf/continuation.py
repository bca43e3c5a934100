"""One prompt being continued: what to read next, what it says so far, and when it ends."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from .sampling import Sampler
from .stop_strings import StopStrings

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

FinishReason = Literal["end", "stop", "length", "context"]


@dataclass(frozen=True)
class Generation:
    """A finished text.

    Attributes
    ----------
    text
        Without the prompt, the tokens that end it, and the stop string.
    token_ids
        All tokens that were sampled, those that ended the text included.
    finish_reason
        ``"end"`` (the model ended it), ``"stop"`` (a stop string), ``"length"`` (`max_tokens`) or
        ``"context"`` (the session is full).
    prompt_tokens
        Number of tokens of the prompt.
    cached_tokens
        Number of these that the text before had left in memory, so that they were not read again.
    drafted_tokens, accepted_tokens
        Number of tokens that were guessed ahead, and how many of these guesses were right.
    prompt_seconds, decode_seconds
        Time to read the prompt, and for everything after it; other texts' share included where
        several are generated at once.
    """

    text: str
    token_ids: list[int]
    finish_reason: FinishReason
    prompt_tokens: int
    prompt_seconds: float
    decode_seconds: float
    cached_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0

    @property
    def prompt_tps(self) -> float:
        """Tokens of the prompt read per second, without those that were in memory."""
        return (self.prompt_tokens - self.cached_tokens) / max(self.prompt_seconds, 1e-9)

    @property
    def decode_tps(self) -> float:
        """Tokens generated per second; the first one comes with the prompt."""
        return max(len(self.token_ids) - 1, 0) / max(self.decode_seconds, 1e-9)

    def __str__(self) -> str:
        return self.text


class Continuation:
    """A text in the making; logits go in, tokens to read and pieces of text come out.

    Parameters
    ----------
    tokenizer
        The model's.
    prompt
        At least one token, at most `n_ctx`.
    n_ctx
        The most tokens that the model can hold.
    max_tokens
        The most tokens to generate; None: until the session is full.
    stops, sampler
        Its own: they remember what they have seen.

    Attributes
    ----------
    tokens
        The prompt and what was chosen after it.
    unread
        The last of these, which the model has to read next; none when the text is finished.
    drafted, accepted
        How many tokens were guessed ahead, and how many of these guesses were right.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: list[int],
        n_ctx: int,
        max_tokens: int | None,
        stops: StopStrings,
        sampler: Sampler,
    ) -> None:
        self._eos_ids = tokenizer.eos_ids
        self._decoder = tokenizer.decoder(skip_special=True, after=prompt)
        self._stops = stops
        self._sampler = sampler
        self._prompt_length = len(prompt)
        self.tokens = list(prompt)
        self._shown: list[str] = []
        self._most = n_ctx + 1  # the last token need not be read
        self._reason: FinishReason = "context"
        if max_tokens is not None and len(prompt) + max_tokens <= self._most:
            self._most, self._reason = len(prompt) + max_tokens, "length"
        self.unread = list(prompt) if len(prompt) < self._most else []
        self._cached = self.drafted = self.accepted = 0
        self._started = self._prompt_read = self._ended = time.perf_counter()

    @property
    def room(self) -> int:
        """The most tokens that may still be chosen."""
        return self._most - len(self.tokens) if self.unread else 0

    def skip(self, count: int) -> None:
        """Take note that the model has read the first so many tokens of the prompt."""
        self._cached = count
        del self.unread[:count]

    def take(self, logits: npt.NDArray[np.float32]) -> str:
        """Choose the token after those that were to be read.

        Parameters
        ----------
        logits
            float32 [n_vocab]: those of the last token read.

        Returns
        -------
        str
            The text that is certain with it; may be empty.
        """
        if len(self.tokens) == self._prompt_length:
            self._prompt_read = time.perf_counter()
        token = self._sampler.sample(logits, self.tokens)
        self.tokens.append(token)
        if token in self._eos_ids:
            self._reason = "end"
            return self._finish("")
        piece = self._stops.feed(self._decoder.feed(token))
        if self._stops.found or len(self.tokens) == self._most:
            return self._finish(piece)
        self.unread = [token]
        return self._show(piece)

    def result(self) -> Generation:
        """Return the text, which must be finished."""
        return Generation(
            text="".join(self._shown),
            token_ids=self.tokens[self._prompt_length :],
            finish_reason="stop" if self._stops.found else self._reason,
            prompt_tokens=self._prompt_length,
            prompt_seconds=self._prompt_read - self._started,
            decode_seconds=self._ended - self._prompt_read,
            cached_tokens=self._cached,
            drafted_tokens=self.drafted,
            accepted_tokens=self.accepted,
        )

    def _finish(self, piece: str) -> str:
        self.unread = []
        self._ended = time.perf_counter()
        return self._show(piece + self._stops.finish(self._decoder.finish()))

    def _show(self, piece: str) -> str:
        self._shown.append(piece)
        return piece
