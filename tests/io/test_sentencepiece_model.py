"""tokenizer.model without the sentencepiece package: equal to it, and closed to malformed files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phigguf.errors import Error, FileMissing, TokenizerError, UnsupportedError
from phigguf.io.pieces import Piece, PieceType, TrainedVocabulary
from phigguf.io.sentencepiece_model import read_sentencepiece_model
from protobuf_bytes import (
    BYTE,
    UNIGRAM,
    UNKNOWN,
    USER_DEFINED,
    WORD,
    bytes_field,
    integer_field,
    normalizer_spec,
    piece,
    sentencepiece_model,
    trainer_spec,
    varint,
)


def read(path: Path, contents: bytes) -> TrainedVocabulary:
    path.write_bytes(contents)
    return read_sentencepiece_model(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokenizer.model"


def train(**options: object) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat, naïve ☃ as ever"] * 20),
        model_writer=model,
        vocab_size=300,
        byte_fallback=True,
        minloglevel=2,
        **{"model_type": "bpe", **options},
    )
    return model.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"add_dummy_prefix": False},
        {"unk_id": 2, "bos_id": 0, "eos_id": 1, "pad_id": 3},
        {"bos_id": -1, "eos_id": -1},
        {"user_defined_symbols": ["<user>"], "control_symbols": ["<ctl>"]},
    ],
    ids=str,
)
def test_equals_the_sentencepiece_package(path: Path, options: dict[str, object]) -> None:
    contents = train(**options)
    vocabulary = read(path, contents)
    oracle = sentencepiece.SentencePieceProcessor(model_proto=contents)
    assert len(vocabulary.pieces) == oracle.get_piece_size() == 300
    for token, entry in vocabulary.pieces.items():
        assert entry.text == oracle.id_to_piece(token)
        assert entry.score == oracle.get_score(token)
        assert (entry.type is PieceType.UNKNOWN) == oracle.is_unknown(token)
        assert (entry.type is PieceType.CONTROL) == oracle.is_control(token)
        assert (entry.type is PieceType.UNUSED) == oracle.is_unused(token)
        assert (entry.type is PieceType.BYTE) == oracle.is_byte(token)
    ids = {"unk": oracle.unk_id(), "bos": oracle.bos_id(), "eos": oracle.eos_id()}
    assert vocabulary.special_ids == {kind: token for kind, token in ids.items() if token >= 0}
    assert vocabulary.space_prefix == ("never" if "add_dummy_prefix" in options else "always")
    assert (vocabulary.model, vocabulary.pre, vocabulary.merges) == ("llama", "default", None)


def test_user_defined_pieces_hold_plain_spaces(path: Path) -> None:
    contents = sentencepiece_model(piece("▁▁", 0, USER_DEFINED), piece("▁▁▁", -1))
    pieces = read(path, contents).pieces
    assert pieces[3] == Piece("  ", 0.0, PieceType.USER_DEFINED)
    assert pieces[4] == Piece("▁▁▁", -1.0, PieceType.NORMAL)


def test_unknown_fields_and_wire_types_are_skipped(path: Path) -> None:
    fixed64 = varint(77 << 3 | 1) + bytes(8)
    fixed32 = varint(78 << 3 | 5) + bytes(4)
    extra = fixed64 + fixed32 + bytes_field(79, b"xyz") + integer_field(2**28, 2**63)
    assert len(read(path, sentencepiece_model(extra, normalizer_spec(True))).pieces) == 3


MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "piece is cut off": sentencepiece_model()[:5],
    "length past the end": bytes_field(1, b"ab")[:-1],
    "length of 2**63": varint(1 << 3 | 2) + varint(2**63),
    "endless number": b"\x08" + b"\xff" * 11,
    "number cut off": b"\x08\xff",
    "fixed64 cut off": varint(77 << 3 | 1) + bytes(7),
    "group": varint(1 << 3 | 3),
    "piece is a number": sentencepiece_model(integer_field(1, 5)),
    "text is a number": sentencepiece_model(bytes_field(1, integer_field(1, 5))),
    "score is a number": sentencepiece_model(bytes_field(1, integer_field(2, 5))),
    "type is text": sentencepiece_model(bytes_field(1, bytes_field(3, b"1"))),
    "type is unknown": sentencepiece_model(piece("a", 0, 7)),
    "type is zero": sentencepiece_model(piece("a", 0, 0)),
    "piece is empty": sentencepiece_model(piece("")),
    "piece has no text": sentencepiece_model(bytes_field(1, b"")),
    "piece is not UTF-8": sentencepiece_model(piece(b"\xc3\x28")),
    "piece is half a surrogate pair": sentencepiece_model(piece(b"\xed\xa0\x80")),
    "piece given twice": sentencepiece_model(piece("a"), piece("a")),
    "score is not a number": sentencepiece_model(piece("a", float("nan"))),
    "score is infinite": sentencepiece_model(piece("a", float("-inf"))),
    "byte <0x-1>": sentencepiece_model(piece("<0x-1>", 0, BYTE)),
    "byte <0xZZ>": sentencepiece_model(piece("<0xZZ>", 0, BYTE)),
    "byte <0x100>": sentencepiece_model(piece("<0x100>", 0, BYTE)),
    "byte in lower case": sentencepiece_model(piece("<0xab>", 0, BYTE)),
    "no unknown piece": piece("a") + trainer_spec(),
    "two unknown pieces": sentencepiece_model(piece("a", 0, UNKNOWN)),
}


@pytest.mark.parametrize("contents", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_file_is_an_error_that_names_it(path: Path, contents: bytes) -> None:
    with pytest.raises(TokenizerError) as caught:
        read(path, contents)
    assert caught.value.file == str(path)


@pytest.mark.parametrize("algorithm", [UNIGRAM, WORD, -1])
def test_other_algorithms_are_refused(path: Path, algorithm: int) -> None:
    with pytest.raises(UnsupportedError, match="only BPE"):
        read(path, sentencepiece_model(trainer=trainer_spec(algorithm)))


def test_unigram_is_the_default_of_the_format(path: Path) -> None:
    with pytest.raises(UnsupportedError, match="unigram"):
        read(path, sentencepiece_model(trainer=b""))


def test_missing_file(path: Path) -> None:
    with pytest.raises(FileMissing):
        read_sentencepiece_model(path)


VALID = sentencepiece_model(
    piece("<0x00>", 0, BYTE), piece("▁t", -1), piece("é", -2), normalizer_spec(True)
)


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    flips=st.lists(
        st.tuples(st.integers(0, len(VALID) - 1), st.integers(1, 255)), min_size=1, max_size=4
    ),
    size=st.integers(0, len(VALID)),
)
def test_flipped_and_missing_bytes_never_escape_as_another_error(
    path: Path, flips: list[tuple[int, int]], size: int
) -> None:
    contents = bytearray(VALID)
    for position, mask in flips:
        contents[position] ^= mask
    for damaged in (bytes(contents), bytes(contents[:size])):
        try:
            vocabulary = read(path, damaged)
        except Error:
            continue
        assert all(entry.text for entry in vocabulary.pieces.values())
