"""Text to token ids and back, as Hugging Face's `tokenizers` does it, from GGUF metadata alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tokenizers
from tokenizers import AddedToken

from .errors import Error, TokenizerError
from .io.pieces import BYTE_PIECE, SPACE
from .text_stream import TextStream
from .tokenizer_metadata import TokenizerMetadata, read_tokenizer_metadata
from .tokenizer_models import byte_level_bpe, sentencepiece_bpe


class Tokenizer:
    """Made by `Tokenizer.from_metadata`."""

    def __init__(self, vocabulary: TokenizerMetadata) -> None:
        self._vocabulary = vocabulary
        self._special = vocabulary.special_ids
        self._added = vocabulary.added_ids
        self._is_byte_level = vocabulary.model == "gpt2"
        build = byte_level_bpe if self._is_byte_level else sentencepiece_bpe
        bare = build(vocabulary)
        self._parsing = _with_added_tokens(bare, vocabulary, self._added)
        self._literal = _with_added_tokens(bare, vocabulary, self._added - self._special)
        # Text after these begins anew, with a space prefix of its own.
        self._boundaries = self._added if vocabulary.space_prefix == "always" else frozenset()

    @classmethod
    def from_metadata(
        cls, metadata: Mapping[str, Any], file: str | os.PathLike[str] | None = None
    ) -> Tokenizer:
        """Build the tokenizer that a GGUF file describes.

        Parameters
        ----------
        metadata
            The file's metadata by key; those of ``tokenizer.*`` are used.
        file
            Where it came from, for error messages.

        Raises
        ------
        TokenizerError
            If the vocabulary is malformed.
        UnsupportedError
            If it is neither SentencePiece BPE (``"llama"``) nor byte-level BPE (``"gpt2"``), or
            splits text in an unknown way.
        """
        try:
            return cls(read_tokenizer_metadata(metadata))
        except Error as error:
            error.file = None if file is None else os.fspath(file)
            raise

    def __len__(self) -> int:
        return len(self._vocabulary.tokens)

    def __repr__(self) -> str:
        return f"<Tokenizer {self._vocabulary.model!r} with {len(self)} tokens>"

    @property
    def bos_id(self) -> int | None:
        """The token that begins a text."""
        return self._vocabulary.ids.get("bos")

    @property
    def eos_ids(self) -> frozenset[int]:
        """The tokens that end a text or an answer."""
        return self._vocabulary.end_ids

    @property
    def special_tokens(self) -> dict[str, int]:
        """Ids of the special tokens by their text."""
        return {self._vocabulary.tokens[id]: id for id in sorted(self._special)}

    def token(self, kind: str) -> str:
        """Return the text of the ``"bos"``, ``"eos"``, ``"unk"`` or ``"pad"`` token, or ``""``."""
        id = self._vocabulary.ids.get(kind)
        return "" if id is None else self._vocabulary.tokens[id]

    def encode(self, text: str, add_bos: bool = True, parse_special: bool = True) -> list[int]:
        """Turn text into token ids.

        Parameters
        ----------
        text
            Any text, which may be empty.
        add_bos
            Begin with the bos token if the model wants one.
        parse_special
            Whether special tokens written in the text, such as ``<|end|>``, are recognized. If
            not, they are ordinary letters, and no special token comes from the text.

        Raises
        ------
        TokenizerError
            If the text has surrogates, which are not characters.
        """
        backend = self._parsing if parse_special else self._literal
        try:
            ids = backend.encode(text, add_special_tokens=False).ids
        except (UnicodeEncodeError, TypeError) as error:
            raise TokenizerError("is not text", field="text", value=text) from error
        starts_with_bos = add_bos and self._vocabulary.add_bos
        return [self._vocabulary.ids["bos"], *ids] if starts_with_bos else ids

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """Turn token ids into text.

        With special tokens, encoding the text again gives the same ids: the space that encoding
        puts after a special token is removed, where `transformers` shows it and so grows a space
        with each round. Without special tokens, the text is that of `transformers`.

        Parameters
        ----------
        ids
            Tokens; those without a text are passed over.
        skip_special
            Leave special tokens out.

        Raises
        ------
        TokenizerError
            If an id lies outside the vocabulary.
        """
        ids = [self._checked(id) for id in ids]
        if skip_special:
            return self._text([id for id in ids if id not in self._special])
        pieces, begin = [], 0
        for index, id in enumerate(ids):
            if id in self._boundaries:
                pieces += [self._text(ids[begin:index]), self._text([id])]
                begin = index + 1
        return "".join([*pieces, self._text(ids[begin:])])

    def decoder(self, skip_special: bool = False, after: Sequence[int] = ()) -> TextStream:
        """Return a decoder for tokens that arrive one by one.

        The joined text is that of `decode`. Only where a run of byte tokens is not valid UTF-8
        may it differ: `decode`, like `transformers`, then replaces each byte of the run, but
        characters that the stream has returned stay.

        Parameters
        ----------
        skip_special
            Leave special tokens out.
        after
            The tokens before, whose text is known; decides whether a space in front is text.
        """
        skipped = self._special if skip_special else frozenset()

        def text_of(id: int) -> tuple[bytes, bool] | None:
            return None if self._checked(id) in skipped else self._bytes(id)

        return TextStream(
            text_of,
            self._boundaries.__contains__,
            strip=self._vocabulary.space_prefix != "never",
            at_start=not after or after[-1] in self._boundaries,
            replace_each_byte=not self._is_byte_level,
        )

    def _checked(self, id: Any) -> int:
        if not isinstance(id, (int, np.integer)) or not 0 <= id < len(self):
            raise TokenizerError(
                f"is outside the vocabulary of {len(self)} tokens", field="id", value=id
            )
        return int(id)

    def _text(self, ids: Sequence[int]) -> str:
        return self._parsing.decode(ids, skip_special_tokens=False) if ids else ""

    def _bytes(self, id: int) -> tuple[bytes, bool] | None:
        """Return a token's bytes, and whether they may be part of a character."""
        text = self._parsing.id_to_token(id)
        if text is None:
            return None
        if self._is_byte_level:
            return _from_byte_alphabet(text), True
        if BYTE_PIECE.fullmatch(text):
            return bytes([int(text[3:5], 16)]), True
        return text.replace(SPACE, " ").encode(), False


def _with_added_tokens(
    bare: tokenizers.Tokenizer, vocabulary: TokenizerMetadata, ids: Iterable[int]
) -> tokenizers.Tokenizer:
    """Return a tokenizer with the same model that also finds added tokens in the text."""
    tokenizer = tokenizers.Tokenizer(bare.model)
    if bare.normalizer is not None:
        tokenizer.normalizer = bare.normalizer
    if bare.pre_tokenizer is not None:
        tokenizer.pre_tokenizer = bare.pre_tokenizer
    tokenizer.decoder = bare.decoder
    tokenizer.add_tokens(
        [
            AddedToken(
                vocabulary.tokens[id],
                lstrip=id in vocabulary.lstrip_ids,
                rstrip=id in vocabulary.rstrip_ids,
                normalized=id in vocabulary.normalized_ids,
                special=id in vocabulary.special_ids,
            )
            for id in sorted(ids)
        ]
    )
    return tokenizer


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's letters for bytes: printable Latin-1 stands for itself, the rest for U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + index): byte for index, byte in enumerate(others)}


_BYTE_ALPHABET = _byte_alphabet()


def _from_byte_alphabet(text: str) -> bytes:
    """Return the bytes that a token's letters stand for, or its own where one is no such letter."""
    if all(letter in _BYTE_ALPHABET for letter in text):
        return bytes(_BYTE_ALPHABET[letter] for letter in text)
    return text.encode()
