"""From prompts to texts: a model reads, and continuations choose and decode what follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any, Literal, Protocol, TypeAlias, cast, overload

import numpy as np
import numpy.typing as npt

from .chat import ChatTemplate, Message
from .continuation import Continuation, Generation
from .errors import InvalidArgument
from .kept_session import KeptSession
from .sampling import Sampler
from .speculation import LONGEST_DRAFT, Drafter, Speculation, new_drafter
from .stop_strings import StopStrings
from .tokenizer import Tokenizer

Prompt: TypeAlias = str | Sequence[int]


class Session(Protocol):
    """One text in the making: a model with a cache of what it has read."""

    def forward(self, tokens: Sequence[int], last_only: bool = True) -> npt.NDArray[np.float32]:
        """Read tokens after those before; return float32 [1 or len(tokens), n_vocab]."""

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens."""

    def rewind(self, tokens: Sequence[int]) -> int:
        """Forget all but a beginning of `tokens`, never all of them; return its length."""

    def readable_at_once(self, count: int) -> int:
        """Return how many of `count` tokens, read at once, get the logits of one by one."""

    def __len__(self) -> int:
        """Return the number of tokens read."""


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

    @property
    def kept_session(self) -> KeptSession[Any]:
        """Lends the session of the last text, or a new one."""

    def session(self) -> Session:
        """Return a session that has read nothing."""

    def forward(
        self, sessions: Sequence[Any], tokens: Sequence[Sequence[int]]
    ) -> Sequence[npt.NDArray[np.float32]]:
        """Read tokens into several sessions; return what `Session.forward` does of each."""


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
    prompt: Prompt,
    *,
    max_tokens: int | None = ...,
    stop: str | Iterable[str] = ...,
    speculative: Speculation | None = ...,
    stream: Literal[False] = ...,
    **sampling: Any,
) -> Generation: ...


@overload
def generate(
    model: LanguageModel,
    prompt: Prompt,
    *,
    max_tokens: int | None = ...,
    stop: str | Iterable[str] = ...,
    speculative: Speculation | None = ...,
    stream: Literal[True],
    **sampling: Any,
) -> GenerationStream: ...


@overload
def generate(
    model: LanguageModel,
    prompt: list[str] | list[list[int]],
    *,
    max_tokens: int | None = ...,
    stop: str | Iterable[str] = ...,
    **sampling: Any,
) -> list[Generation]: ...


def generate(
    model: LanguageModel,
    prompt: Prompt | list[str] | list[list[int]],
    *,
    max_tokens: int | None = 128,
    stop: str | Iterable[str] = (),
    speculative: Speculation | None = None,
    stream: bool = False,
    **sampling: Any,
) -> Generation | GenerationStream | list[Generation]:
    """Continue a prompt, or several at once.

    What a single prompt has in common with the text before is not read again: the model keeps that
    text in its `kept_session`.

    Parameters
    ----------
    model
        The model.
    prompt
        Text, in which special tokens are recognized, or token ids. Or a list of such: each is
        continued as it is alone, and the weights are read once for a token of each.
    max_tokens
        The most tokens to generate; None: until the session is full.
    stop
        Texts before which to stop, one or several.
    speculative
        ``"prompt-lookup"`` guesses several tokens at once from what followed a similar place of the
        text, and reads them together. The text is the same, token by token, with any sampling; it
        comes faster where it repeats itself or the prompt. One prompt only.
    stream
        Return an iterator over pieces of the text as they become certain. A piece that may be the
        beginning of a stop string is held back until it is known not to be. One prompt only.
    **sampling
        Parameters of `Sampler`: `temperature`, `top_k`, `top_p`, `min_p`, `repetition_penalty`,
        `seed`. With several prompts `seed` may be a list, one for each.

    Returns
    -------
    Generation, GenerationStream or list of Generation

    Raises
    ------
    InvalidArgument
        If the prompt is empty or does not fit the session, or a parameter is out of its range.
    TokenizerError
        If a token id lies outside the vocabulary.
    """
    if max_tokens is not None and max_tokens < 0:
        raise InvalidArgument("must be 0 or more", field="max_tokens", value=max_tokens)
    stops = [stop] if isinstance(stop, str) else list(stop)

    def begin(prompt: Prompt, field: str, **sampling: Any) -> Continuation:
        tokens = _checked_prompt(model, prompt, field)
        searcher, sampler = StopStrings(stops), Sampler(**sampling)
        return Continuation(model.tokenizer, tokens, model.n_ctx, max_tokens, searcher, sampler)

    if not _is_batch(prompt):
        drafter = new_drafter(speculative)
        pieces = _stream(begin(cast(Prompt, prompt), "prompt", **sampling), model, drafter)
        if stream:
            return GenerationStream(pieces)
        *_, result = pieces
        return cast(Generation, result)
    if stream:
        raise InvalidArgument("only one text can be streamed", field="stream", value=stream)
    if speculative:
        raise InvalidArgument("is for one text only", field="speculative", value=speculative)
    seeds = _checked_seeds(sampling.pop("seed", None), len(prompt))
    texts = [
        begin(cast(Prompt, one), f"prompt[{i}]", seed=seeds[i], **sampling)
        for i, one in enumerate(prompt)
    ]
    return _together(model, texts)


def _is_batch(prompt: Prompt | list[str] | list[list[int]]) -> bool:
    return not isinstance(prompt, str) and len(prompt) > 0 and not isinstance(prompt[0], Integral)


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


def _stream(
    text: Continuation, model: LanguageModel, drafter: Drafter
) -> Iterator[str | Generation]:
    """Yield the pieces of the text, and last the whole."""
    with model.kept_session.lend(text.tokens) as (session, cached):
        text.skip(cached)
        while text.unread:
            draft = _draft(text, session, drafter)
            logits = session.forward([*text.unread, *draft], last_only=not draft)
            accepted = 0
            for row, guess in zip(logits, [*draft, None], strict=True):
                piece = text.take(row)
                if piece:
                    yield piece
                if text.unread != [guess]:
                    break
                accepted += 1
            if draft:
                session.truncate(len(session) - len(draft) + accepted)
                text.drafted += len(draft)
                text.accepted += accepted
                drafter.learn(len(draft), accepted)
    yield text.result()


def _draft(text: Continuation, session: Session, drafter: Drafter) -> list[int]:
    """Guess tokens to be read together with the one that is certain."""
    if len(text.unread) != 1:
        return []
    most = min(text.room, session.readable_at_once(1 + LONGEST_DRAFT)) - 1
    return drafter.draft(text.tokens, most)


def _together(model: LanguageModel, texts: list[Continuation]) -> list[Generation]:
    """Generate several texts, reading a token of each at a time; finished ones leave."""
    going = [(text, model.session()) for text in texts if text.unread]
    while going:
        sessions = [session for _, session in going]
        logits = model.forward(sessions, [text.unread for text, _ in going])
        for (text, _), rows in zip(going, logits, strict=True):
            text.take(rows[-1])
        going = [(text, session) for text, session in going if text.unread]
    return [text.result() for text in texts]


def _checked_prompt(model: LanguageModel, prompt: Prompt, field: str) -> list[int]:
    tokens = model.tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
    if not tokens:
        raise InvalidArgument("has no tokens", field=field)
    if len(tokens) > model.n_ctx:
        raise InvalidArgument(
            f"is longer than the context of {model.n_ctx} tokens", field=field, value=len(tokens)
        )
    model.tokenizer.decode(tokens)  # refuses ids outside the vocabulary
    return tokens


def _checked_seeds(seed: Any, count: int) -> list[Any]:
    """Return a seed for each of several prompts."""
    if not isinstance(seed, Sequence):
        return [seed] * count
    if len(seed) != count:
        raise InvalidArgument(
            f"needs one for each of the {count} prompts", field="seed", value=seed
        )
    return list(seed)
