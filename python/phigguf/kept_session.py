"""The session of the last text, lent to the next one: what both begin with is read once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar


class Rewindable(Protocol):
    """A session that can go back to what its tokens have in common with others."""

    def rewind(self, tokens: Sequence[int]) -> int:
        """Forget all but a beginning of `tokens`, never all of them; return its length."""


_Session = TypeVar("_Session", bound=Rewindable)


class KeptSession(Generic[_Session]):
    """Keeps the session that was returned last.

    Each is lent to one borrower at a time: who comes while it is away gets a new one, so threads
    need not know of each other. No more than one is kept, whatever was lent.

    Parameters
    ----------
    new
        Makes a session that has read nothing.
    """

    def __init__(self, new: Callable[[], _Session]) -> None:
        self._new = new
        self._kept: deque[_Session] = deque(maxlen=1)  # pop and append are atomic

    @contextmanager
    def lend(self, tokens: Sequence[int]) -> Iterator[tuple[_Session, int]]:
        """Lend a session for a text.

        Parameters
        ----------
        tokens
            The beginning of the text.

        Yields
        ------
        session, cached
            The session, and how many of `tokens` it has read; it has read nothing else.
        """
        try:
            session = self._kept.pop()
        except IndexError:
            session = self._new()
        cached = session.rewind(tokens)
        try:
            yield session, cached
        finally:
            self._kept.append(session)

    def clear(self) -> None:
        """Forget the session, and free its memory if it is not lent."""
        self._kept.clear()
