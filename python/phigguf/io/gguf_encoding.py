"""Encoding of metadata values as GGUF bytes, refusing what a value's type cannot hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from phigguf.errors import InvalidArgument
from phigguf.io.gguf_format import (
    NUMBER_DTYPES,
    ArrayOf,
    GGUFValueType,
    MetadataValue,
)

# Kinds of NumPy array (`dtype.kind`) that each kind of GGUF number may be given as.
_ACCEPTED_KINDS = {"b": "b", "u": "ui", "i": "ui", "f": "fui"}


def pack(kind: GGUFValueType, value: float) -> bytes:
    """One number that is known to fit, as its bytes in the file."""
    return np.asarray(value, NUMBER_DTYPES[kind]).tobytes()


def encode_string(value: str, field: str) -> bytes:
    """A length and the UTF-8 bytes.

    Raises
    ------
    InvalidArgument
        The text holds half of a surrogate pair, or is no text.
    """
    if not isinstance(value, str):
        raise InvalidArgument("must be a string", field=field, value=value)
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument("has no UTF-8 form", field=field, value=value) from error
    return len(encoded).to_bytes(8, "little") + encoded


def encode_value(key: str, value: MetadataValue) -> bytes:
    """A value with its type in front, as it follows its key in the file.

    Raises
    ------
    InvalidArgument
        The value does not fit its type; nothing is rounded except floats to their precision.
    """
    kind = value.type
    if isinstance(kind, ArrayOf):
        return _encode_array(key, kind.element, value.value)
    if kind is GGUFValueType.ARRAY:
        raise InvalidArgument("an array needs the type ArrayOf", field=key)
    tag = pack(GGUFValueType.UINT32, kind)
    if kind is GGUFValueType.STRING:
        return tag + encode_string(value.value, key)
    return tag + _to_numbers(key, kind, [value.value]).tobytes()


def _encode_array(key: str, element: GGUFValueType, values: Any) -> bytes:
    if element is GGUFValueType.STRING:
        if isinstance(values, str):
            raise InvalidArgument("must be a sequence of strings", field=key, value=values)
        data = b"".join([encode_string(text, key) for text in values])
    else:
        data = _to_numbers(key, element, values).tobytes()
    return b"".join(
        [
            pack(GGUFValueType.UINT32, GGUFValueType.ARRAY),
            pack(GGUFValueType.UINT32, element),
            pack(GGUFValueType.UINT64, len(values)),
            data,
        ]
    )


def _to_numbers(key: str, kind: GGUFValueType, values: Any) -> npt.NDArray[Any]:
    """The values in the type of the file, refusing those that are not of it."""
    if kind not in NUMBER_DTYPES:
        raise InvalidArgument("arrays of arrays are not supported", field=key, value=str(kind))
    dtype = NUMBER_DTYPES[kind]
    try:
        given = np.asarray(values)
    except ValueError as error:
        raise InvalidArgument("is not a flat sequence", field=key, value=values) from error
    if given.ndim != 1:
        raise InvalidArgument("is not a flat sequence", field=key, value=values)
    if given.size == 0:
        return given.astype(dtype)
    if given.dtype.kind not in _ACCEPTED_KINDS[dtype.kind]:
        raise InvalidArgument(f"is not of type {kind}", field=key, value=values)
    with np.errstate(over="ignore"):
        stored = given.astype(dtype)
    exact = np.isfinite(stored) == np.isfinite(given) if dtype.kind == "f" else stored == given
    if not exact.all():
        raise InvalidArgument(f"does not fit {kind}", field=key, value=given[~exact][0])
    return stored
