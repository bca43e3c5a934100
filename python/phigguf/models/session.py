"""Sequences of tokens with caches, alone or several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .. import _core
from ..errors import InvalidArgument
from .network import Floats, Network, Piece, joined

CHUNK = 512  # tokens whose activations are in memory at a time


class Session:
    """One sequence of tokens: what has been read, and a cache that makes reading on cheap.

    Attributes
    ----------
    tokens
        All tokens read so far.
    n_ctx
        The most tokens that it can hold.
    """

    def __init__(self, network: Network, cache: _core.KvCache, n_ctx: int) -> None:
        self.tokens: list[int] = []
        self.n_ctx = n_ctx
        self._network = network
        self._cache = cache
        self._cached_as_long = False

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the cache uses."""
        return self._cache.nbytes

    def forward(self, tokens: Sequence[int], last_only: bool = True) -> Floats:
        """Read tokens that follow those before.

        The result depends on the tokens alone, not on how they were divided into calls. Where a
        model rotates long sequences differently (LongRoPE), the call that makes the sequence long
        reads it anew from its beginning.

        Parameters
        ----------
        tokens
            At least one id.
        last_only
            Compute logits for the last token only.

        Returns
        -------
        float32 [1 or len(tokens), n_vocab]

        Raises
        ------
        InvalidArgument
            There are no tokens, too many for `n_ctx`, or one is outside the vocabulary.
        QuantizationError
            A key or value does not fit the cache's type.
        """
        return _read([_Reading(self, self._checked(tokens, "tokens"), last_only)])[0]

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens.

        Taking back the last few tokens costs nothing. Further back, a model with a sliding
        window may have let go of keys that it needs again: the next `forward` then reads the
        sequence anew.

        Raises
        ------
        InvalidArgument
            The session has fewer.
        """
        if not 0 <= length <= len(self):
            raise InvalidArgument(
                f"must be from 0 to the {len(self)} tokens read", field="length", value=length
            )
        del self.tokens[length:]
        self._cache.truncate(length)

    def rewind(self, tokens: Sequence[int]) -> int:
        """Forget all that does not help to read a text.

        Parameters
        ----------
        tokens
            The text; at least one id.

        Returns
        -------
        int
            How many of `tokens`, not all, the session has read and need not be read again. It has
            read nothing else.
        """
        same = 0
        if self._network.rope.is_long(len(tokens)) == self._cached_as_long:
            same = _common_prefix(self.tokens, tokens[:-1])
        self.truncate(same)
        self.truncate(len(self._cache))  # a sliding window may have let go of more
        return len(self)

    def readable_at_once(self, count: int) -> int:
        """Return how many of `count` tokens, read by one call, get the logits of a call for each.

        All, unless the sequence becomes long among them (LongRoPE): then those before.
        """
        change = self._network.rope.original_context
        return change - len(self) if len(self) < change < len(self) + count else count

    def _checked(self, tokens: Sequence[int], name: str) -> list[int]:
        ids = list(map(int, tokens))
        room = self.n_ctx - len(self.tokens)
        if not 1 <= len(ids) <= room:
            raise InvalidArgument(
                f"needs from 1 to {room} tokens: n_ctx is {self.n_ctx}, of which "
                f"{len(self)} are in use",
                field=name,
                value=len(ids),
            )
        vocab = self._network.shape.vocab
        for i, id in enumerate(ids):
            if not 0 <= id < vocab:
                raise InvalidArgument(
                    f"the vocabulary has {vocab} tokens", field=f"{name}[{i}]", value=id
                )
        return ids


def forward_together(
    sessions: Sequence[Session], tokens: Sequence[Sequence[int]], last_only: bool = True
) -> list[Floats]:
    """Read tokens into several sessions of one model at once.

    Every session gets, bit for bit, what `Session.forward` would return to it alone; the weights
    are read once for all of them.

    Parameters
    ----------
    sessions
        Of the same model, each once.
    tokens
        For each session, at least one id.
    last_only
        Compute logits for the last token of each only.

    Returns
    -------
    list of float32 [1 or the session's tokens, n_vocab]

    Raises
    ------
    InvalidArgument
        As `Session.forward` does; or the sessions differ in their model, repeat, or are not as
        many as `tokens`. Nothing has been read then.
    QuantizationError
        A key or value does not fit the cache's type.
    """
    if len(sessions) != len(tokens):
        raise InvalidArgument(
            f"must be as many as the {len(sessions)} sessions", field="tokens", value=len(tokens)
        )
    if len({id(session) for session in sessions}) < len(sessions):
        raise InvalidArgument("a session occurs twice", field="sessions")
    if len({id(session._network) for session in sessions}) > 1:
        raise InvalidArgument("must be of one model", field="sessions")
    return _read(
        [
            _Reading(session, session._checked(ids, f"tokens[{i}]"), last_only)
            for i, (session, ids) in enumerate(zip(sessions, tokens, strict=True))
        ]
    )


@dataclass(eq=False, slots=True)
class _Reading:
    """Tokens on their way into a session, after those that its cache has lost."""

    session: Session
    new: list[int]
    last_only: bool
    unread: list[int] = field(default_factory=list)
    logits: list[Floats] = field(default_factory=list)

    def begin(self) -> None:
        """Drop what is cached if LongRoPE rotates it differently from now on."""
        session = self.session
        is_long = session._network.rope.is_long(self._length)
        if is_long != session._cached_as_long:
            session._cache.truncate(0)
            session._cached_as_long = is_long
        self.unread = session.tokens[len(session._cache) :] + self.new

    def next_piece(self, most: int) -> Piece:
        """Take the next tokens, at most so many."""
        piece = Piece(self.unread[:most], self.session._cache, self._length)
        self.unread = self.unread[most:]
        return piece

    def rows_wanted(self, count: int) -> int:
        """Count those of the last `count` tokens taken whose logits are wanted."""
        wanted = 1 if self.last_only else len(self.new)
        return max(0, min(count, wanted - len(self.unread)))

    @property
    def _length(self) -> int:
        """Tokens of the whole sequence."""
        return len(self.session.tokens) + len(self.new)


def _read(readings: list[_Reading]) -> list[Floats]:
    """Read all tokens and return their logits; on failure leave the sessions as they were."""
    try:
        for reading in readings:
            reading.begin()
        waiting = readings
        while waiting:
            _read_chunk(waiting)
            waiting = [reading for reading in waiting if reading.unread]
    except BaseException:
        for reading in readings:
            # Layers that were reached already have more than the others.
            cache = reading.session._cache
            cache.truncate(min(len(reading.session), len(cache)))
        raise
    for reading in readings:
        reading.session.tokens += reading.new
    return [joined(reading.logits) for reading in readings]


def _read_chunk(readings: list[_Reading]) -> None:
    """Run the network once over the next `CHUNK` tokens, and share out the logits wanted."""
    pieces: list[Piece] = []
    counts: list[int] = []
    rows: list[int] = []
    end = 0
    for reading in readings:
        if end == CHUNK:
            break
        pieces.append(reading.next_piece(CHUNK - end))
        end += len(pieces[-1].tokens)
        counts.append(reading.rows_wanted(len(pieces[-1].tokens)))
        rows += range(end - counts[-1], end)
    network = readings[0].session._network
    x = network.forward(pieces)
    logits = network.logits(x if len(rows) == end else x[rows])
    begin = 0
    for reading, count in zip(readings, counts, strict=False):  # the others had no room
        reading.logits.append(logits[begin : begin + count])
        begin += count


def _common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the tokens with which both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
