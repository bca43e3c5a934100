"""Protobuf messages put together byte by byte, so that a test can make any of them wrong."""

from __future__ import annotations

import struct

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
UNIGRAM, BPE, WORD = 1, 2, 3


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def integer_field(number: int, value: int) -> bytes:
    return varint(number << 3 | 0) + varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def float_field(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


def piece(text: str | bytes, score: float = 0.0, kind: int | None = None) -> bytes:
    """One entry of a SentencePiece model; a kind left out means a normal piece."""
    raw = text.encode() if isinstance(text, str) else text
    body = bytes_field(1, raw) + float_field(2, score)
    return bytes_field(1, body if kind is None else body + integer_field(3, kind))


def trainer_spec(algorithm: int = BPE, **ids: int) -> bytes:
    numbers = {"unk": 40, "bos": 41, "eos": 42, "pad": 43}
    fields = [integer_field(numbers[kind], token) for kind, token in ids.items()]
    return bytes_field(2, integer_field(3, algorithm) + b"".join(fields))


def normalizer_spec(add_dummy_prefix: bool) -> bytes:
    return bytes_field(3, bytes_field(1, b"identity") + integer_field(3, add_dummy_prefix))


def sentencepiece_model(*pieces: bytes, trainer: bytes | None = None) -> bytes:
    """A model of the given pieces after the three that every Phi vocabulary opens with."""
    opening = [piece("<unk>", 0, UNKNOWN), piece("<s>", 0, CONTROL), piece("</s>", 0, CONTROL)]
    return b"".join([*opening, *pieces, trainer_spec() if trainer is None else trainer])
