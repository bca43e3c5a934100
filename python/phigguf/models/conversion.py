"""What converting an architecture from Hugging Face to GGUF takes, and the list of those known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CheckpointError
from ..io.gguf_format import MetadataValue


@dataclass(frozen=True)
class TensorSource:
    """Where a GGUF tensor comes from.

    Attributes
    ----------
    parts
        Names in the checkpoint: one, or several of equal shape that are stacked.
    shape
        Of each part, slowest dimension first.
    """

    parts: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Conversion:
    """A checkpoint's configuration, read and checked, in GGUF's terms.

    Attributes
    ----------
    architecture
        GGUF's name.
    metadata
        Hyper-parameters by GGUF key.
    tensors
        By GGUF name; together they use every tensor that the architecture defines.
    generated
        Tensors made from the configuration rather than read, by GGUF name.
    repeats
        Checkpoint tensors that may be present but only repeat another one, as a tied output
        weight repeats the embedding. They are not written.
    """

    architecture: str
    metadata: dict[str, MetadataValue]
    tensors: dict[str, TensorSource]
    generated: dict[str, npt.NDArray[np.float32]]
    repeats: dict[str, str] = field(default_factory=dict)


class ConfigReader:
    """Reads ``config.json`` fields, each checked for type and range.

    Parameters
    ----------
    config
        The parsed file, or one object within it.
    file
        Its path, for messages.
    prefix
        What precedes a field's name in messages.
    """

    def __init__(self, config: Mapping[str, Any], file: Path, prefix: str = "") -> None:
        self.config = config
        self.file = file
        self.prefix = prefix

    def count(
        self, key: str, default: int | None = None, *, at_least: int = 1, at_most: int = 2**31 - 1
    ) -> int:
        """Return an integer within bounds; absent or null means the default."""
        value = self._get(key, default)
        if type(value) is not int or not at_least <= value <= at_most:
            raise self.error(key, f"should be an integer from {at_least} to {at_most}")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        """Return a finite number above zero; absent or null means the default."""
        value = self._get(key, default)
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            raise self.error(key, "should be a finite number above zero")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return a truth value; absent or null means the default."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "should be true or false")
        return value

    def text(self, key: str, default: str) -> str:
        """Return a text; absent or null means the default."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.error(key, "should be a text")
        return value

    def reals(self, key: str, length: int) -> npt.NDArray[np.float32]:
        """Return a list of ``length`` finite numbers above zero, as float32 [length]."""
        values = self.config.get(key)
        if not isinstance(values, list) or len(values) != length:
            raise self.error(key, f"should be a list of {length} numbers")
        if not all(type(value) in (int, float) and 0 < value < 3e38 for value in values):
            raise self.error(key, "should hold finite numbers above zero")
        return np.array(values, np.float32)

    def section(self, *keys: str) -> ConfigReader | None:
        """Return a reader of the first object among ``keys`` that is present and not null."""
        for key in keys:
            value = self.config.get(key)
            if value is None:
                continue
            if not isinstance(value, dict):
                raise self.error(key, "should be an object")
            return ConfigReader(value, self.file, f"{self.prefix}{key}.")
        return None

    def error(self, key: str, problem: str) -> CheckpointError:
        """Make an error that names the file, the field and its value."""
        return CheckpointError(
            problem, file=self.file, field=self.prefix + key, value=self.config.get(key)
        )

    def _get(self, key: str, default: Any) -> Any:
        value = self.config.get(key)
        if value is None and default is None:
            raise CheckpointError("is missing", file=self.file, field=self.prefix + key)
        return default if value is None else value


Converter = Callable[[ConfigReader], Conversion]
