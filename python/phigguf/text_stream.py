"""Text from tokens that arrive one by one, in whole characters only."""

from __future__ import annotations

import codecs
from collections.abc import Callable

_REPLACE_EACH_BYTE = "phigguf.replace-each-byte"


def _replace_each_byte(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error(_REPLACE_EACH_BYTE, _replace_each_byte)


class TextStream:
    """Decodes one token after the other; the pieces of text join to the whole.

    A character that is spread over several tokens comes with the last of them. Bytes that are no
    character come as U+FFFD.

    Made by `Tokenizer.decoder`. Its arguments describe the tokenizer:

    Parameters
    ----------
    text_of
        The bytes that a token stands for, and whether they may be part of a character; None for
        a token that stands for nothing.
    is_boundary
        Whether the text after a token begins anew, with a space that is not part of it.
    strip
        Whether such spaces are to be removed.
    at_start
        Whether the first token begins a text.
    replace_each_byte
        Whether each byte that is no character becomes a U+FFFD, or a sequence of them one.
    """

    def __init__(
        self,
        text_of: Callable[[int], tuple[bytes, bool] | None],
        is_boundary: Callable[[int], bool],
        *,
        strip: bool,
        at_start: bool,
        replace_each_byte: bool,
    ) -> None:
        self._text_of = text_of
        self._is_boundary = is_boundary
        self._strip = strip
        self._at_start = at_start
        errors = _REPLACE_EACH_BYTE if replace_each_byte else "replace"
        self._characters = codecs.getincrementaldecoder("utf-8")(errors)

    def feed(self, token: int) -> str:
        """Return the text that is certain with this token; may be empty."""
        found = self._text_of(token)
        if found is None:
            return ""
        data, partial = found
        if partial:
            return self._without_prefix(self._characters.decode(data))
        text = self.finish()
        if self._is_boundary(token):
            self._at_start = True
            return text + data.decode()
        return text + self._without_prefix(data.decode())

    def finish(self) -> str:
        """Return what is left when no token follows: U+FFFD for half a character."""
        return self._without_prefix(self._characters.decode(b"", final=True))

    def _without_prefix(self, text: str) -> str:
        if not text or not self._at_start:
            return text
        self._at_start = False
        return text[1:] if self._strip and text[0] == " " else text
