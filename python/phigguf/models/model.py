"""A model with its tokenizer, and sessions that read text into a cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import numpy as np
import numpy.typing as npt

from .. import _core
from ..errors import InvalidArgument, UnsupportedError
from ..io.gguf import GGUFFile, read_gguf
from . import phi2, phi3, phimoe
from .rope import Rope
from .shape import Shape

if TYPE_CHECKING:
    from ..chat import ChatTemplate, Message
    from ..generate import Generation, GenerationStream
    from ..tokenizer import Tokenizer

Floats = npt.NDArray[np.float32]

KV_TYPES = ("F32", "F16", "Q8_0")
CHUNK = 512  # tokens whose activations are in memory at a time


class Network(Protocol):
    """What an architecture's file provides."""

    @property
    def shape(self) -> Shape:
        """The sizes of the model."""

    @property
    def rope(self) -> Rope:
        """The angles of its positions."""

    def forward(self, tokens: Sequence[int], cache: _core.KvCache, length: int) -> Floats:
        """Read tokens that follow those in the cache; return float32 [n, hidden]."""

    def logits(self, x: Floats) -> Floats:
        """Turn rows of what `forward` returned into float32 [rows, n_vocab]."""


_ARCHITECTURES: dict[str, Callable[[GGUFFile], Network]] = {
    phi2.ARCHITECTURE: phi2.Phi2,
    phi3.ARCHITECTURE: phi3.Phi3,
    phimoe.ARCHITECTURE: phimoe.PhiMoe,
}


class Model:
    """A model whose weights lie in a mapped GGUF file; `phigguf.load` makes one.

    Attributes
    ----------
    file
        The GGUF file, with its metadata.
    n_ctx
        The most tokens that a session can hold.
    kv_type
        The tensor type of cached keys and values.
    """

    def __init__(self, file: GGUFFile, n_ctx: int | None = None, kv_type: str = "F16") -> None:
        self.file = file
        self.network = _architecture_of(file)(file)
        self.n_ctx = _checked_context(n_ctx, self.network.shape.context)
        if kv_type not in KV_TYPES:
            raise InvalidArgument(
                f"must be one of {', '.join(KV_TYPES)}", field="kv_type", value=kv_type
            )
        self.kv_type = kv_type
        self.new_cache()  # refuses a type whose blocks do not fit a head

    @property
    def n_vocab(self) -> int:
        """Tokens in the vocabulary, the length of a row of logits."""
        return self.network.shape.vocab

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the file describes."""
        from ..tokenizer import Tokenizer

        return Tokenizer.from_metadata(self.file.metadata, self.file.path)

    @cached_property
    def chat_template(self) -> ChatTemplate | None:
        """The file's chat template, if it has one."""
        from ..chat import ChatTemplate

        source = self.file.metadata.get("tokenizer.chat_template")
        if source is None:
            return None
        bos, eos = (self.tokenizer.token(kind) for kind in ("bos", "eos"))
        return ChatTemplate(source, bos, eos, self.file.path)

    def new_cache(self) -> _core.KvCache:
        """Return an empty cache for the keys and values of one sequence."""
        shape = self.network.shape
        return _core.KvCache(shape.layers, shape.kv_heads, shape.head_dim, self.kv_type)

    def session(self) -> Session:
        """Return a session that has read nothing."""
        return Session(self)

    def logits(self, tokens: Iterable[int]) -> Floats:
        """Return logits for every token of a sequence.

        Parameters
        ----------
        tokens
            Ids; at least one, at most `n_ctx`.

        Returns
        -------
        float32 [len(tokens), n_vocab]
            Row i rates what follows token i.

        Raises
        ------
        InvalidArgument
            There are no tokens or too many, or one is outside the vocabulary.
        """
        return self.session().forward(list(tokens), last_only=False)

    @overload
    def generate(
        self, prompt: str | Sequence[int], *, stream: Literal[False] = ..., **options: Any
    ) -> Generation: ...

    @overload
    def generate(
        self, prompt: str | Sequence[int], *, stream: Literal[True], **options: Any
    ) -> GenerationStream: ...

    def generate(
        self, prompt: str | Sequence[int], *, stream: bool = False, **options: Any
    ) -> Generation | GenerationStream:
        """Continue a prompt; the options are those of `phigguf.generate.generate`."""
        from ..generate import generate

        if stream:
            return generate(self, prompt, stream=True, **options)
        return generate(self, prompt, stream=False, **options)

    @overload
    def chat(
        self, messages: Sequence[Message], *, stream: Literal[False] = ..., **options: Any
    ) -> Generation: ...

    @overload
    def chat(
        self, messages: Sequence[Message], *, stream: Literal[True], **options: Any
    ) -> GenerationStream: ...

    def chat(
        self, messages: Sequence[Message], *, stream: bool = False, **options: Any
    ) -> Generation | GenerationStream:
        """Answer the last of some messages; the options are those of `generate`."""
        from ..generate import chat

        if stream:
            return chat(self, messages, stream=True, **options)
        return chat(self, messages, stream=False, **options)

    def __repr__(self) -> str:
        name = self.file.metadata.get("general.name", self.file.path.name)
        return f"<Model {name!r}, {self.n_vocab} tokens, {self.n_ctx} of context>"


class Session:
    """One sequence of tokens: what has been read, and a cache that makes reading on cheap.

    Attributes
    ----------
    tokens
        All tokens read so far.
    """

    def __init__(self, model: Model) -> None:
        self.tokens: list[int] = []
        self._model = model
        self._network = model.network
        self._cache = model.new_cache()
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
        new = self._checked(tokens)
        length = len(self) + len(new)
        is_long = self._network.rope.is_long(length)
        if is_long != self._cached_as_long:
            self._cache.truncate(0)
            self._cached_as_long = is_long
        try:
            self._read(self.tokens[len(self._cache) :], length, logits_for=0)
            logits = self._read(new, length, logits_for=1 if last_only else len(new))
        except BaseException:
            # Layers that were reached already have more than the others.
            self._cache.truncate(min(len(self), len(self._cache)))
            raise
        self.tokens += new
        return logits

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens.

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

    def _read(self, tokens: list[int], length: int, logits_for: int) -> Floats:
        """Read tokens in pieces; return logits for the last few of them."""
        logits = [np.empty((0, self._model.n_vocab), np.float32)]
        skipped = len(tokens) - logits_for
        for start in range(0, len(tokens), CHUNK):
            x = self._network.forward(tokens[start : start + CHUNK], self._cache, length)
            logits.append(self._network.logits(x[max(skipped - start, 0) :]))
        return np.concatenate(logits)

    def _checked(self, tokens: Sequence[int]) -> list[int]:
        ids = [int(token) for token in tokens]
        room = self._model.n_ctx - len(self)
        if not 1 <= len(ids) <= room:
            raise InvalidArgument(
                f"needs from 1 to {room} tokens: n_ctx is {self._model.n_ctx}, of which "
                f"{len(self)} are in use",
                field="tokens",
                value=len(ids),
            )
        for i, id in enumerate(ids):
            if not 0 <= id < self._model.n_vocab:
                raise InvalidArgument(
                    f"the vocabulary has {self._model.n_vocab} tokens",
                    field=f"tokens[{i}]",
                    value=id,
                )
        return ids


def load(
    path: str | os.PathLike[str],
    *,
    n_ctx: int | None = None,
    threads: int | None = None,
    kv_type: str = "F16",
) -> Model:
    """Load a model from a GGUF file, whose weights are used where they lie.

    Parameters
    ----------
    path
        The file, or any of the files of a split model.
    n_ctx
        The most tokens that a session can hold; what the model was made for if None. Memory is
        taken as tokens come.
    threads
        Set the number of threads of this process, as `set_num_threads` does.
    kv_type
        The tensor type of cached keys and values: ``"F32"``, ``"F16"`` or ``"Q8_0"``.

    Raises
    ------
    FileMissing
        The file cannot be opened.
    GGUFError, ShapeError
        The file is malformed, or hyper-parameters and tensors do not fit together.
    UnsupportedError
        The architecture, or something that the file asks for, is not supported.
    InvalidArgument
        An argument is out of range.
    """
    if threads is not None:
        _core.set_num_threads(threads)
    return Model(read_gguf(path), n_ctx, kv_type)


def _architecture_of(file: GGUFFile) -> Callable[[GGUFFile], Network]:
    name = file.metadata.get("general.architecture")
    if not isinstance(name, str) or name not in _ARCHITECTURES:
        raise UnsupportedError(
            f"unknown architecture; known are {', '.join(_ARCHITECTURES)}",
            file=file.path,
            field="general.architecture",
            value=name,
        )
    return _ARCHITECTURES[name]


def _checked_context(n_ctx: int | None, longest: int) -> int:
    if n_ctx is None:
        return longest
    if not 1 <= n_ctx <= longest:
        raise InvalidArgument(
            f"must be from 1 to the {longest} tokens of the model", field="n_ctx", value=n_ctx
        )
    return n_ctx
