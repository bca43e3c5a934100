"""Encoding of metadata values as GGUF bytes, refusing what a value's type cannot hold."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from phigguf.errors import InvalidArgument
from phigguf.io.gguf_format import (
    NUMBER_CODES,
    NUMBER_DTYPES,
    ArrayOf,
    GGUFValueType,
    MetadataValue,
)


def pack(kind: GGUFValueType, value: int) -> bytes:
    """One number that is known to fit, as its bytes in the file."""
    return struct.pack(f"<{NUMBER_CODES[kind]}", value)


def encode_string(text: str, field: str) -> bytes:
    """A length and the UTF-8 bytes.

    Raises
    ------
    InvalidArgument
        The text holds half of a surrogate pair, or is no text.
    """
    if not isinstance(text, str):
        raise InvalidArgument("is not a string", field=field, value=text)
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument("has no UTF-8 form", field=field, value=text) from error
    return pack(GGUFValueType.UINT64, len(encoded)) + encoded


def encode_value(key: str, value: MetadataValue) -> bytes:
    """A value with its type in front, as it follows its key in the file.

    Raises
    ------
    InvalidArgument
        The value is not of its type. Floats are rounded to their precision, nothing else is.
    """
    kind = value.type
    if isinstance(kind, ArrayOf):
        return _encode_array(key, kind.element, value.value)
    if kind is GGUFValueType.ARRAY:
        raise InvalidArgument("an array needs the type ArrayOf", field=key)
    tag = pack(GGUFValueType.UINT32, kind)
    if kind is GGUFValueType.STRING:
        return tag + encode_string(value.value, key)
    return tag + _encode_numbers(key, kind, [value.value])


def _encode_array(key: str, element: GGUFValueType, values: Any) -> bytes:
    if element is GGUFValueType.ARRAY:
        raise InvalidArgument("arrays of arrays are not supported", field=key)
    if isinstance(values, str) or not hasattr(values, "__len__"):
        raise InvalidArgument("is not a sequence", field=key, value=values)
    if element is GGUFValueType.STRING:
        data = b"".join([encode_string(text, key) for text in values])
    else:
        data = _encode_numbers(key, element, values)
    return struct.pack("<IIQ", GGUFValueType.ARRAY, element, len(values)) + data


def _encode_numbers(key: str, kind: GGUFValueType, values: Any) -> bytes:
    if isinstance(values, np.ndarray):
        if values.ndim == 1 and values.dtype == NUMBER_DTYPES[kind]:
            return values.tobytes()
        values = values.tolist()
    # struct would take any object for a truth value, and a truth value for an integer.
    if any(isinstance(value, bool) != (kind is GGUFValueType.BOOL) for value in values):
        raise InvalidArgument(f"is not of type {kind}", field=key, value=values)
    try:
        return struct.pack(f"<{len(values)}{NUMBER_CODES[kind]}", *values)
    except (struct.error, OverflowError) as error:
        raise InvalidArgument(f"is not of type {kind}", field=key, value=values) from error
