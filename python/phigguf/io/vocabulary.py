"""A checkpoint's vocabulary as GGUF stores it, equal to what llama.cpp's converter writes.

Three kinds of checkpoint exist. Those with a SentencePiece ``tokenizer.model`` name every piece,
score and type there. Newer `transformers` saves the same vocabulary as ``tokenizer.json`` alone.
Byte-level BPE (GPT-2's kind) always comes as ``tokenizer.json``. In all three, added tokens then
override what the model file says.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CheckpointError, FileMissing, TokenizerError
from . import added_tokens
from .added_tokens import AddedToken
from .chat_template import DEFAULT, read_chat_templates
from .gguf_format import GGUFValueType, MetadataValue, array, boolean, string, u32
from .json_file import read_json_object_if_present, typed
from .pieces import PieceType, SpacePrefix, TrainedVocabulary
from .sentencepiece_model import read_sentencepiece_model
from .special_tokens import SpecialTokens, read_special_tokens
from .tokenizer_json import parse_tokenizer_json

MAX_VOCABULARY = 1 << 22  # sixteen times the largest in use; bounds what config.json can ask for

ADDED_SCORE = -1000.0
UNUSED_SCORE = -10000.0

# What readers of a "llama" vocabulary assume where GGUF has no key.
_ASSUMED_IDS = {"bos": 1, "eos": 2, "unk": 0}

_ID_KEYS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "eot": "tokenizer.ggml.eot_token_id",
    "unk": "tokenizer.ggml.unknown_token_id",
    "sep": "tokenizer.ggml.seperator_token_id",  # GGUF's spelling
    "pad": "tokenizer.ggml.padding_token_id",
    "mask": "tokenizer.ggml.mask_token_id",
}
_ADD_KEYS = {kind: f"tokenizer.ggml.add_{kind}_token" for kind in ("bos", "eos", "sep")}


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens and the rules that go with them.

    Attributes
    ----------
    model
        GGUF's name of the algorithm: ``"llama"`` (SentencePiece BPE) or ``"gpt2"``.
    pre
        GGUF's name of the pre-tokenizer.
    tokens
        Texts by id. ``"llama"`` writes a space as U+2581, ``"gpt2"`` in GPT-2's byte alphabet.
    token_types
        int32 [n]: the numbers of `PieceType`.
    scores
        float32 [n], for ``"llama"``: the higher is merged first.
    merges
        For ``"gpt2"``: pairs joined by a space, the first is merged first.
    special
        Ids of the special tokens and which are added to a prompt.
    space_prefix
        Where a space is put before text. GGUF tells ``"never"`` from the rest, no more.
    chat_templates
        Jinja sources by name.
    added
        The added tokens, with their white-space rules, for which GGUF has no key.
    """

    model: str
    pre: str
    tokens: list[str]
    token_types: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32] | None = None
    merges: list[str] | None = None
    special: SpecialTokens = field(default_factory=SpecialTokens)
    space_prefix: SpacePrefix = "always"
    chat_templates: dict[str, str] = field(default_factory=dict)
    added: list[AddedToken] = field(default_factory=list)

    @property
    def bos_id(self) -> int | None:
        """The token that begins a text."""
        return self.special.ids.get("bos")

    @property
    def eos_id(self) -> int | None:
        """The token that ends a text."""
        return self.special.ids.get("eos")

    @property
    def unk_id(self) -> int | None:
        """The token for what has no token."""
        return self.special.ids.get("unk")

    @property
    def pad_id(self) -> int | None:
        """The token that fills up a batch."""
        return self.special.ids.get("pad")

    @property
    def chat_template(self) -> str | None:
        """The template to use unless told otherwise."""
        return self.chat_templates.get(DEFAULT)

    def metadata(self) -> dict[str, MetadataValue]:
        """The vocabulary as GGUF metadata, with llama.cpp's keys."""
        entries = {
            "tokenizer.ggml.model": string(self.model),
            "tokenizer.ggml.pre": string(self.pre),
            "tokenizer.ggml.tokens": array(GGUFValueType.STRING, self.tokens),
        }
        if self.scores is not None:
            entries["tokenizer.ggml.scores"] = array(GGUFValueType.FLOAT32, self.scores)
        entries["tokenizer.ggml.token_type"] = array(GGUFValueType.INT32, self.token_types)
        if self.merges is not None:
            entries["tokenizer.ggml.merges"] = array(GGUFValueType.STRING, self.merges)
        for kind, token in self.special.ids.items():
            if kind in _ID_KEYS:
                entries[_ID_KEYS[kind]] = u32(token)
        for kind, add in self.special.added.items():
            if kind in _ADD_KEYS:
                entries[_ADD_KEYS[kind]] = boolean(add)
        if self.model == "llama" and self.space_prefix == "never":
            entries["tokenizer.ggml.add_space_prefix"] = boolean(False)
        entries.update(_chat_template_metadata(self.chat_templates))
        return entries


def _chat_template_metadata(templates: dict[str, str]) -> dict[str, MetadataValue]:
    alphabet = ascii_letters + digits
    named = {
        "".join(mark if mark in alphabet else "_" for mark in name): source
        for name, source in templates.items()
        if name != DEFAULT
    }
    entries = {f"tokenizer.chat_template.{name}": string(named[name]) for name in named}
    if named:
        entries["tokenizer.chat_templates"] = array(GGUFValueType.STRING, list(named))
    if DEFAULT in templates:
        entries["tokenizer.chat_template"] = string(templates[DEFAULT])
    return entries


def read_vocabulary(directory: Path, config: dict[str, Any]) -> Vocabulary:
    """Read the vocabulary of a checkpoint directory.

    Parameters
    ----------
    directory
        Holds ``tokenizer.model`` or ``tokenizer.json``, and perhaps ``added_tokens.json``,
        ``tokenizer_config.json`` and chat templates.
    config
        ``config.json``: its ``vocab_size`` rules, ids without a token get a placeholder.

    Raises
    ------
    FileMissing
        There is neither ``tokenizer.model`` nor ``tokenizer.json``.
    CheckpointError
        A JSON file is malformed.
    TokenizerError
        A token is empty, an id lies outside the vocabulary, or ``tokenizer.model`` is malformed.
    UnsupportedError
        The tokenizer works in a way that GGUF cannot say.
    """
    files = _TokenizerFiles(directory)
    trained = files.trained()
    table = _TokenTable(_vocab_size(config, directory / "config.json"), directory)
    table.set_pieces(trained)
    added = files.added()
    table.set_added(added, trained.model)
    special = files.special(config, len(table.tokens))
    for kind, token in trained.special_ids.items():
        if token in trained.pieces and token != _ASSUMED_IDS.get(kind):
            special.ids.setdefault(kind, token)
    for kind, add in trained.added_by_default.items():
        special.added.setdefault(kind, add)
    without_prefix = files.config.get("add_prefix_space") is False
    return Vocabulary(
        model=trained.model,
        pre=trained.pre,
        tokens=table.tokens,
        token_types=np.array(table.types, dtype=np.int32),
        scores=np.array(table.scores, dtype=np.float32) if trained.model == "llama" else None,
        merges=trained.merges,
        special=special,
        space_prefix="never" if without_prefix else trained.space_prefix,
        chat_templates=read_chat_templates(directory, files.config),
        added=added,
    )


def _vocab_size(config: dict[str, Any], path: Path) -> int:
    size = typed(config.get("vocab_size"), int, file=path, field="vocab_size")
    if not 0 < size <= MAX_VOCABULARY:
        raise CheckpointError("is out of range", file=path, field="vocab_size", value=size)
    return size


class _TokenizerFiles:
    """The JSON files of a tokenizer, parsed; those absent are empty."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.model_path = directory / "tokenizer.model"
        self.tokenizer_path = directory / "tokenizer.json"
        self.tokenizer = read_json_object_if_present(self.tokenizer_path)
        self.config = read_json_object_if_present(directory / "tokenizer_config.json")
        if not self.tokenizer and not os.path.lexists(self.model_path):
            raise FileMissing("there is neither tokenizer.model nor tokenizer.json", file=directory)
        self.json_added = added_tokens.from_tokenizer_json(self.tokenizer, self.tokenizer_path)

    def trained(self) -> TrainedVocabulary:
        """What the tokenizer was trained to; tokenizer.model knows more than tokenizer.json."""
        if (
            os.path.lexists(self.model_path)
            and self.config.get("tokenizer_class") != "GPT2Tokenizer"
        ):
            return read_sentencepiece_model(self.model_path)
        return parse_tokenizer_json(self.tokenizer, self.tokenizer_path)

    def added(self) -> list[AddedToken]:
        """All added tokens by rising authority: of two with one id, the later one counts."""
        loose_path = self.directory / "added_tokens.json"
        loose = read_json_object_if_present(loose_path)
        config_path = self.directory / "tokenizer_config.json"
        return [
            *added_tokens.from_added_tokens_file(loose, loose_path),
            *added_tokens.from_tokenizer_config(self.config, config_path),
            *self.json_added,
        ]

    def special(self, config: dict[str, Any], n_vocab: int) -> SpecialTokens:
        return read_special_tokens(
            self.directory,
            config,
            self.tokenizer,
            self.config,
            added_ids={token.text: token.id for token in reversed(self.json_added)},
            n_vocab=n_vocab,
        )


class _TokenTable:
    """Texts, scores and types by id; ids that nothing claims keep a placeholder."""

    def __init__(self, size: int, directory: Path) -> None:
        self.tokens = [f"[PAD{token}]" for token in range(size)]
        self.scores = [UNUSED_SCORE] * size
        self.types = [PieceType.UNUSED] * size
        self._directory = directory

    def set_pieces(self, trained: TrainedVocabulary) -> None:
        for token, piece in trained.pieces.items():
            self._set(token, piece.text, piece.score, piece.type)

    def set_added(self, added: Iterable[AddedToken], model: str) -> None:
        for token in added:
            control = token.special or (model == "gpt2" and _looks_special(token.text))
            kind = PieceType.CONTROL if control else PieceType.USER_DEFINED
            self._set(token.id, token.text, ADDED_SCORE, kind)

    def _set(self, token: int, text: str, score: float, kind: PieceType) -> None:
        problem = None
        if not text:
            problem = "a token is empty"
        elif not 0 <= token < len(self.tokens):
            problem = f"a token's id is outside the vocabulary of {len(self.tokens)}"
        if problem:
            raise TokenizerError(problem, file=self._directory, field=f"token {token}", value=text)
        self.tokens[token] = text
        self.scores[token] = score
        self.types[token] = kind


def _looks_special(text: str) -> bool:
    """llama.cpp's converter takes such tokens of byte-level vocabularies for control tokens."""
    return text.startswith("<|") and text.endswith("|>")
