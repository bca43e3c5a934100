"""SentencePiece's tokenizer.model, read without the sentencepiece package.

The file is one protobuf message (sentencepiece_model.proto: ModelProto). A reader for the few
fields that a vocabulary needs is smaller than either dependency, and bounds-checks every length.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import TokenizerError, UnsupportedError
from .files import read_bytes
from .pieces import BYTE_PIECE, SPACE, Piece, PieceType, TrainedVocabulary

MAX_MODEL_BYTES = 64 << 20  # the largest SentencePiece vocabulary in use has 4 MB

_UNIGRAM, _BPE = 1, 2
_ALGORITHM_NAMES = {_UNIGRAM: "unigram", _BPE: "bpe", 3: "word", 4: "char"}

# Field numbers of sentencepiece_model.proto.
_PIECES, _TRAINER_SPEC, _NORMALIZER_SPEC = 1, 2, 3
_PIECE_TEXT, _PIECE_SCORE, _PIECE_TYPE = 1, 2, 3
_TRAINER_MODEL_TYPE = 3
_TRAINER_IDS = {40: "unk", 41: "bos", 42: "eos"}
_NORMALIZER_ADD_DUMMY_PREFIX = 3

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_sentencepiece_model(path: Path) -> TrainedVocabulary:
    """Read and check a tokenizer.model of the BPE kind.

    Raises
    ------
    FileMissing
        The path is not a regular file or cannot be opened.
    TokenizerError
        The file is truncated or malformed, a piece is empty, repeated, not UTF-8 or has a
        non-finite score, a byte piece is not ``<0xHH>``, or there is not exactly one unknown piece.
    UnsupportedError
        The model is not BPE: GGUF's "llama" vocabulary cannot express the others.
    """
    data = read_bytes(path, MAX_MODEL_BYTES, TokenizerError)
    try:
        model = _parse_model(memoryview(data))
    except _Malformed as error:
        raise TokenizerError(str(error), file=path, value=error.value) from error
    _check_pieces(model.pieces, path)
    if model.algorithm != _BPE:
        raise UnsupportedError(
            "only BPE SentencePiece models can become a GGUF vocabulary",
            file=path,
            field="trainer_spec.model_type",
            value=_ALGORITHM_NAMES.get(model.algorithm, model.algorithm),
        )
    return TrainedVocabulary(
        model="llama",
        pre="default",
        pieces={token: _as_gguf_stores(piece) for token, piece in enumerate(model.pieces)},
        special_ids={kind: token for kind, token in model.special_ids.items() if token >= 0},
        space_prefix="always" if model.add_dummy_prefix else "never",
    )


def _as_gguf_stores(piece: Piece) -> Piece:
    """Readers of GGUF match user-defined pieces in the raw text, where spaces are spaces."""
    if piece.type is not PieceType.USER_DEFINED:
        return piece
    return Piece(piece.text.replace(SPACE, " "), piece.score, piece.type)


def _check_pieces(pieces: list[Piece], path: Path) -> None:
    seen: set[str] = set()
    for token, piece in enumerate(pieces):
        where = f"pieces[{token}]"
        if not piece.text:
            raise TokenizerError("a piece is empty", file=path, field=where)
        if piece.text in seen:
            raise TokenizerError("a piece occurs twice", file=path, field=where, value=piece.text)
        if not math.isfinite(piece.score):
            raise TokenizerError("a score is not finite", file=path, field=where, value=piece.score)
        if piece.type is PieceType.BYTE and not BYTE_PIECE.fullmatch(piece.text):
            raise TokenizerError(
                "a byte piece is not <0xHH>", file=path, field=where, value=piece.text
            )
        seen.add(piece.text)
    unknown = sum(piece.type is PieceType.UNKNOWN for piece in pieces)
    if unknown != 1:
        raise TokenizerError("should have one unknown piece", file=path, value=unknown)


@dataclass
class _Model:
    """The fields of the message that matter here, at their protobuf defaults."""

    pieces: list[Piece] = field(default_factory=list)
    special_ids: dict[str, int] = field(default_factory=lambda: {"unk": 0, "bos": 1, "eos": 2})
    add_dummy_prefix: bool = True
    algorithm: int = _UNIGRAM


class _Malformed(Exception):
    def __init__(self, problem: str, value: object = None) -> None:
        super().__init__(problem)
        self.value = value


def _parse_model(data: memoryview) -> _Model:
    model = _Model()
    for number, value in _fields(data):
        if number == _PIECES:
            model.pieces.append(_parse_piece(_message(value)))
        elif number == _TRAINER_SPEC:
            _parse_trainer_spec(_message(value), model)
        elif number == _NORMALIZER_SPEC:
            _parse_normalizer_spec(_message(value), model)
    return model


def _parse_piece(data: memoryview) -> Piece:
    text, score, kind = "", 0.0, PieceType.NORMAL
    for number, value in _fields(data):
        if number == _PIECE_TEXT:
            text = _text(_message(value))
        elif number == _PIECE_SCORE:
            score = _float(value)
        elif number == _PIECE_TYPE:
            kind = _piece_type(_integer(value))
    return Piece(text, score, kind)


def _parse_trainer_spec(data: memoryview, model: _Model) -> None:
    for number, value in _fields(data):
        if number == _TRAINER_MODEL_TYPE:
            model.algorithm = _integer(value)
        elif number in _TRAINER_IDS:
            model.special_ids[_TRAINER_IDS[number]] = _integer(value)


def _parse_normalizer_spec(data: memoryview, model: _Model) -> None:
    for number, value in _fields(data):
        if number == _NORMALIZER_ADD_DUMMY_PREFIX:
            model.add_dummy_prefix = bool(_integer(value))


_Value = int | float | memoryview | None


def _fields(data: memoryview) -> Iterator[tuple[int, _Value]]:
    """Walk one message: (field number, value); values of no use here come as None."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire_type = key >> 3, key & 7
        value: _Value = None
        if wire_type == _VARINT:
            value, position = _varint(data, position)
        elif wire_type == _BYTES:
            length, position = _varint(data, position)
            value, position = _slice(data, position, length), position + length
        elif wire_type == _FIXED32:
            (value,) = struct.unpack("<f", _slice(data, position, 4))
            position += 4
        elif wire_type == _FIXED64:
            _slice(data, position, 8)
            position += 8
        else:
            raise _Malformed("is not a SentencePiece model: unknown wire type", wire_type)
        yield number, value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index in range(10):  # ten groups of seven bits hold any 64-bit number
        if position + index >= len(data):
            raise _Malformed("is truncated")
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position + index + 1
    raise _Malformed("is not a SentencePiece model: number of more than ten bytes")


def _slice(data: memoryview, position: int, length: int) -> memoryview:
    if length > len(data) - position:
        raise _Malformed("is truncated", length)
    return data[position : position + length]


def _message(value: _Value) -> memoryview:
    if not isinstance(value, memoryview):
        raise _Malformed("is not a SentencePiece model: a field has another wire type", value)
    return value


def _integer(value: _Value) -> int:
    """A protobuf int32: negative numbers are written as 64-bit two's complement."""
    if not isinstance(value, int):
        raise _Malformed("is not a SentencePiece model: a field has another wire type", value)
    return (value & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000


def _float(value: _Value) -> float:
    if not isinstance(value, float):
        raise _Malformed("is not a SentencePiece model: a field has another wire type", value)
    return value


def _piece_type(number: int) -> PieceType:
    try:
        return PieceType(number)
    except ValueError as error:
        raise _Malformed("a piece has an unknown type", number) from error


def _text(data: memoryview) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise _Malformed("a piece is not UTF-8", bytes(data)) from error
