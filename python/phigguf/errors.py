"""Every failure that phigguf reports: one base class, one subclass per kind of input."""

from __future__ import annotations

import os
from typing import Any


class Error(Exception):
    """Base of all phigguf errors.

    Parameters
    ----------
    problem
        What is wrong, as a sentence without the file, field or value.
    file
        The file in which it was found.
    field
        The key, tensor or argument at fault.
    value
        The offending value; long ones are cut in the message.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | os.PathLike[str] | None = None,
        field: str | None = None,
        value: Any = None,
    ) -> None:
        self.problem = problem
        self.file = os.fspath(file) if file is not None else None
        self.field = field
        self.value = value
        super().__init__(problem)

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.field) if part)
        text = f"{where}: {self.problem}" if where else self.problem
        return text if self.value is None else f"{text} (got {_shorten(repr(self.value))})"


def _shorten(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


class InvalidArgument(Error, ValueError):
    """An argument of a call or of the command line cannot be used."""


class FileMissing(Error, FileNotFoundError):
    """A file that is needed does not exist or cannot be opened."""


class OutputError(Error, OSError):
    """An output file cannot be created or written: no permission, or the disk is full."""


class GGUFError(Error):
    """A GGUF file is malformed."""


class CheckpointError(Error):
    """A Hugging Face checkpoint directory is malformed or incomplete."""


class SafetensorsError(CheckpointError):
    """A safetensors file is malformed."""


class ImatrixError(Error):
    """An importance matrix file is malformed or does not fit the model."""


class UnsupportedError(Error):
    """A well-formed input asks for something that phigguf does not do."""


class ShapeError(Error, ValueError):
    """A tensor or array has a shape that does not fit its use."""


class QuantizationError(Error, ValueError):
    """Values cannot be represented: NaN, infinity, or a scale past float16."""


class TokenizerError(Error):
    """A vocabulary is malformed or a text cannot be tokenized with it."""


class ChatTemplateError(Error):
    """A chat template is malformed, unsafe or too expensive."""
