"""From a prompt to text: the loop of model, sampler and decoder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, overload

import numpy as np
import numpy.typing as npt

from .chat import ChatTemplate, Message
from .errors import InvalidArgument
from .sampling import Sampler
from .stop_strings import StopStrings
from .tokenizer import Tokenizer

FinishReason = Literal["end", "stop", "length", "context"]


class Session(Protocol):
    """One text in the making: a model with a cache of what it has read."""

    def forward(self, tokens: Sequence[int], last_only: bool = True) -> npt.NDArray[np.float32]:
        """Read tokens after those before; return float32 [1, n_vocab] for the last one."""


class LanguageModel(Protocol):
    """What `generate` needs of a model."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""

    @property
    def chat_template(self) -> ChatTemplate | None:
        """The model's chat template, if it has one."""

    @property
    def n_ctx(self) -> int:
        """The most tokens that a session can hold."""

    def session(self) -> Session:
        """Return a session that has read nothing."""


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
    prompt_seconds, decode_seconds
        Time to read the prompt, and for everything after it.
    """

    text: str
    token_ids: list[int]
    finish_reason: FinishReason
    prompt_tokens: int
    prompt_seconds: float
    decode_seconds: float

    @property
    def prompt_tps(self) -> float:
        """Tokens of the prompt read per second."""
        return self.prompt_tokens / max(self.prompt_seconds, 1e-9)

    @property
    def decode_tps(self) -> float:
        """Tokens generated per second; the first one comes with the prompt."""
        return max(len(self.token_ids) - 1, 0) / max(self.decode_seconds, 1e-9)

    def __str__(self) -> str:
        return self.text


class GenerationStream(Iterator[str]):
    """The pieces of a text as they become certain; they join to the whole text.

    Attributes
    ----------
    result
        The finished text once the stream has ended; None before.
    """

    def __init__(self, pieces: Iterator[str | Generation]) -> None:
        self._pieces = pieces
        self.result: Generation | None = None

    def __next__(self) -> str:
        for piece in self._pieces:
            if isinstance(piece, str):
                return piece
            self.result = piece
        raise StopIteration


@overload
def generate(
    model: LanguageModel,
    prompt: str | Sequence[int],
    *,
    max_tokens: int | None = ...,
    stop: str | Iterable[str] = ...,
    stream: Literal[False] = ...,
    **sampling: Any,
) -> Generation: ...


@overload
def generate(
    model: LanguageModel,
    prompt: str | Sequence[int],
    *,
    max_tokens: int | None = ...,
    stop: str | Iterable[str] = ...,
    stream: Literal[True],
    **sampling: Any,
) -> GenerationStream: ...


def generate(
    model: LanguageModel,
    prompt: str | Sequence[int],
    *,
    max_tokens: int | None = 128,
    stop: str | Iterable[str] = (),
    stream: bool = False,
    **sampling: Any,
) -> Generation | GenerationStream:
    """Continue a prompt.

    Parameters
    ----------
    model
        The model.
    prompt
        Text, in which special tokens are recognized, or token ids.
    max_tokens
        The most tokens to generate; None: until the session is full.
    stop
        Texts before which to stop, one or several.
    stream
        Return an iterator over pieces of the text as they become certain. A piece that may be the
        beginning of a stop string is held back until it is known not to be.
    **sampling
        Parameters of `Sampler`: `temperature`, `top_k`, `top_p`, `min_p`, `repetition_penalty`,
        `seed`.

    Raises
    ------
    InvalidArgument
        If the prompt is empty or does not fit the session, or a parameter is out of its range.
    TokenizerError
        If a token id lies outside the vocabulary.
    """
    tokens = model.tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
    if not tokens:
        raise InvalidArgument("has no tokens", field="prompt")
    if len(tokens) > model.n_ctx:
        raise InvalidArgument(
            f"is longer than the context of {model.n_ctx} tokens", field="prompt", value=len(tokens)
        )
    if max_tokens is not None and max_tokens < 0:
        raise InvalidArgument("must be 0 or more", field="max_tokens", value=max_tokens)
    model.tokenizer.decode(tokens)  # refuses ids outside the vocabulary
    stops = StopStrings([stop] if isinstance(stop, str) else stop)
    pieces = _run(model, tokens, max_tokens, stops, Sampler(**sampling))
    if stream:
        return GenerationStream(pieces)
    *_, result = pieces
    return cast(Generation, result)


@overload
def chat(
    model: LanguageModel,
    messages: Sequence[Message],
    *,
    stream: Literal[False] = ...,
    **options: Any,
) -> Generation: ...


@overload
def chat(
    model: LanguageModel,
    messages: Sequence[Message],
    *,
    stream: Literal[True],
    **options: Any,
) -> GenerationStream: ...


def chat(
    model: LanguageModel, messages: Sequence[Message], **options: Any
) -> Generation | GenerationStream:
    """Answer the last of some messages.

    Parameters
    ----------
    model
        The model; it needs a chat template.
    messages
        Each with the strings ``role`` and ``content``.
    **options
        Those of `generate`.

    Raises
    ------
    InvalidArgument
        If the model has no chat template, or a message or option is not valid.
    ChatTemplateError
        If the template refuses the messages or fails.
    """
    if model.chat_template is None:
        raise InvalidArgument("the model has no chat template", field="messages")
    text = model.chat_template.render(messages)
    # As in `transformers`, the template alone says whether a bos token comes first.
    answer = generate(model, model.tokenizer.encode(text, add_bos=False), **options)
    return cast("Generation | GenerationStream", answer)


def _run(
    model: LanguageModel,
    prompt: list[int],
    max_tokens: int | None,
    stops: StopStrings,
    sampler: Sampler,
) -> Iterator[str | Generation]:
    """Yield the pieces of the text, and last the whole."""
    started = time.perf_counter()
    tokens, shown = list(prompt), []
    decoder = model.tokenizer.decoder(skip_special=True, after=prompt)
    limit = model.n_ctx - len(prompt) + 1  # the last token need not be read
    reason: FinishReason = "context"
    if max_tokens is not None and max_tokens <= limit:
        limit, reason = max_tokens, "length"
    session = model.session()
    unread, read_at = prompt, started
    for _ in range(limit):
        logits = session.forward(unread)[-1]
        if unread is prompt:
            read_at = time.perf_counter()
        token = sampler.sample(logits, tokens)
        tokens.append(token)
        unread = [token]
        if token in model.tokenizer.eos_ids:
            reason = "end"
            break
        piece = stops.feed(decoder.feed(token))
        if piece:
            shown.append(piece)
            yield piece
        if stops.found:
            reason = "stop"
            break
    piece = stops.finish(decoder.finish())
    if piece:
        shown.append(piece)
        yield piece
    yield Generation(
        text="".join(shown),
        token_ids=tokens[len(prompt) :],
        finish_reason="stop" if stops.found else reason,
        prompt_tokens=len(prompt),
        prompt_seconds=read_at - started,
        decode_seconds=time.perf_counter() - read_at,
    )
