"""A model with its tokenizer: loading it, logits, text."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from .. import _core
from ..errors import InvalidArgument, UnsupportedError
from ..io.gguf import GGUFFile, read_gguf
from ..kept_session import KeptSession
from . import phi2, phi3, phimoe
from .network import Floats, Network
from .session import Session, forward_together

if TYPE_CHECKING:
    from ..chat import ChatTemplate, Message
    from ..continuation import Generation
    from ..generate import GenerationStream
    from ..tokenizer import Tokenizer

KV_TYPES = ("F32", "F16", "Q8_0")

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
    kept_session
        What the last text left in memory; a next one that begins alike continues it.
        `kept_session.clear()` frees it.
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
        self.kept_session = KeptSession(self.session)

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
        return _core.KvCache(
            shape.layers, shape.kv_heads, shape.head_dim, self.kv_type, shape.window
        )

    def session(self) -> Session:
        """Return a session that has read nothing."""
        return Session(self.network, self.new_cache(), self.n_ctx)

    @overload
    def logits(self, tokens: Iterable[int]) -> Floats: ...

    @overload
    def logits(self, tokens: Iterable[Sequence[int]]) -> list[Floats]: ...

    def logits(self, tokens: Iterable[int] | Iterable[Sequence[int]]) -> Floats | list[Floats]:
        """Return logits for every token of a sequence, or of each of several.

        Parameters
        ----------
        tokens
            Ids; at least one, at most `n_ctx`. Or several sequences of ids, of any lengths: each
            gets the same bits as alone, and the weights are read once for all.

        Returns
        -------
        float32 [len(tokens), n_vocab], or a list of them
            Row i rates what follows token i.

        Raises
        ------
        InvalidArgument
            There are no tokens or too many, or one is outside the vocabulary.
        """
        given = list(tokens)
        if not given or isinstance(given[0], Integral):
            return self.session().forward(cast("list[int]", given), last_only=False)
        sequences = cast("list[Sequence[int]]", given)
        return self.forward([self.session() for _ in sequences], sequences, last_only=False)

    def forward(
        self, sessions: Sequence[Session], tokens: Sequence[Sequence[int]], last_only: bool = True
    ) -> list[Floats]:
        """Read tokens into several sessions at once; see `forward_together`."""
        return forward_together(sessions, tokens, last_only)

    @overload
    def generate(
        self, prompt: str | Sequence[int], *, stream: Literal[False] = ..., **options: Any
    ) -> Generation: ...

    @overload
    def generate(
        self, prompt: str | Sequence[int], *, stream: Literal[True], **options: Any
    ) -> GenerationStream: ...

    @overload
    def generate(self, prompt: list[str] | list[list[int]], **options: Any) -> list[Generation]: ...

    def generate(self, prompt: Any, **options: Any) -> Any:
        """Continue a prompt, or several; the options are those of `phigguf.generate.generate`."""
        from ..generate import generate

        return generate(self, prompt, **options)

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
        The tensor type of cached keys and values: ``"F32"``, ``"F16"`` or ``"Q8_0"``. The last two
        are attended with codes of 13 bits, about as exact as float16; ``"F32"`` in float32.

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
    model = Model(read_gguf(path), n_ctx, kv_type)
    model.file.map_cached()
    return model


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
