"""The tokenizer: equal to Hugging Face's and SentencePiece's, stable over rounds, fail-closed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import sentencepiece
import tokenizers

from phigguf.errors import Error, TokenizerError, UnsupportedError
from phigguf.io.added_token_rules import LSTRIP, RSTRIP, SPACE_PREFIX, added_token_metadata
from phigguf.io.pieces import PieceType
from phigguf.io.vocabulary import read_vocabulary
from phigguf.tokenizer import Tokenizer
from phigguf.tokenizer_metadata import MAX_TOKEN_LENGTH, read_tokenizer_metadata
from phigguf.tokenizer_models import merges_from_scores
from text_cases import texts

GOLDEN = Path(__file__).parent / "golden" / "vocabulary"
TOKENS = "tokenizer.ggml.tokens"
SCORES = "tokenizer.ggml.scores"
TYPES = "tokenizer.ggml.token_type"
COUNT = 1000

Metadata = dict[str, Any]


class Case(NamedTuple):
    """A tokenizer and Hugging Face's for the same vocabulary."""

    ours: Tokenizer
    reference: tokenizers.Tokenizer

    @property
    def added(self) -> list[str]:
        return [token.content for token in self.reference.get_added_tokens_decoder().values()]

    @property
    def pieces(self) -> list[str]:
        return sorted(self.reference.get_vocab(with_added_tokens=False))

    def texts(self, seed: int) -> list[str]:
        return list(texts(COUNT, self.pieces, self.added, seed))


def metadata_of(name: str) -> Metadata:
    directory = GOLDEN / name
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    vocabulary = read_vocabulary(directory, config)
    entries = {**vocabulary.metadata(), **added_token_metadata(vocabulary)}
    return {key: entry.value for key, entry in entries.items()}


def case_of(name: str) -> Case:
    reference = tokenizers.Tokenizer.from_file(str(GOLDEN / name / "tokenizer.json"))
    return Case(Tokenizer.from_metadata(metadata_of(name)), reference)


@pytest.fixture(params=["phi3", "byte_level"])
def case(request: pytest.FixtureRequest) -> Case:
    return case_of(request.param)


@pytest.fixture
def phi3() -> Case:
    return case_of("phi3")


@pytest.fixture
def metadata() -> Metadata:
    return metadata_of("phi3")


# --- Ids ---


def test_ids_equal_hugging_faces(case: Case) -> None:
    for text in case.texts(seed=1):
        expected = case.reference.encode(text, add_special_tokens=False).ids
        assert case.ours.encode(text, add_bos=False) == expected, text


def test_ids_of_literal_text_equal_sentencepieces(phi3: Case) -> None:
    reference = sentencepiece.SentencePieceProcessor(
        model_file=str(GOLDEN / "phi3" / "tokenizer.model")
    )
    for text in phi3.texts(seed=2):
        expected = reference.encode(text)
        assert phi3.ours.encode(text, add_bos=False, parse_special=False) == expected, text


def test_merges_equal_hugging_faces(phi3: Case) -> None:
    reference = json.loads(phi3.reference.to_str())["model"]["merges"]
    vocabulary = read_tokenizer_metadata(metadata_of("phi3"))
    assert merges_from_scores(vocabulary) == [tuple(merge) for merge in reference]


def test_order_of_merges() -> None:
    """By score, then by the ids of the parts: neither by their lengths nor as texts."""
    tokens = ["<unk>", "bc", "ab", "a", "c", "b", "abc", "cb", "bca"]
    vocabulary = read_tokenizer_metadata(
        {
            "tokenizer.ggml.model": "llama",
            TOKENS: tokens,
            SCORES: np.array([0, 5, 4, 0, 0, 0, 6, 4, 7], dtype=np.float32),
            TYPES: np.array([2, *[1] * 8], dtype=np.int32),
        }
    )
    merges = [" ".join(merge) for merge in merges_from_scores(vocabulary)]
    assert merges == ["bc a", "ab c", "a bc", "b c", "a b", "c b"]


def test_letters_without_tokens_become_one_unknown_token(metadata: Metadata) -> None:
    metadata[TYPES][metadata[TYPES] == PieceType.BYTE] = PieceType.UNUSED
    tokenizer = Tokenizer.from_metadata(metadata)
    before, after = tokenizer.encode("kalo"), tokenizer.encode("\u65e5kalo")[2:]
    assert tokenizer.encode("kalo\u65e5\u672c\u8a9ekalo") == [*before, 0, *after]


def test_no_special_token_comes_from_literal_text(case: Case) -> None:
    special = set(case.ours.special_tokens.values())
    assert special
    for text in [*case.ours.special_tokens, *case.texts(seed=3)]:
        assert special.isdisjoint(case.ours.encode(text, add_bos=False, parse_special=False)), text


def test_special_tokens_swallow_the_white_space_after_them(phi3: Case) -> None:
    user, end = (phi3.ours.special_tokens[token] for token in ("<|user|>", "<|end|>"))
    bare = phi3.ours.encode("kalo", add_bos=False)
    ids = phi3.ours.encode("<|user|>\n  kalo<|end|>\n", add_bos=False)
    assert ids == [user, *bare, end]


def test_white_space_rules_in_the_file_go_before_presumed_ones(metadata: Metadata) -> None:
    metadata[RSTRIP] = np.array([], dtype=np.int32)
    user = metadata[TOKENS].index("<|user|>")
    metadata[LSTRIP] = np.array([user], dtype=np.int32)
    tokenizer = Tokenizer.from_metadata(metadata)
    newline = metadata[TOKENS].index("<0x0A>")
    assert tokenizer.encode("a \n<|user|>\n")[-2:] != [user, newline]
    assert tokenizer.decode(tokenizer.encode("a \n<|user|>\nb")) == "a<|user|>\nb"


@pytest.mark.parametrize("add_space_prefix", [True, False])
def test_space_prefix_can_be_left_out(metadata: Metadata, add_space_prefix: bool) -> None:
    metadata["tokenizer.ggml.add_space_prefix"] = add_space_prefix
    tokenizer = Tokenizer.from_metadata(metadata)
    space = metadata[TOKENS].index("\u2581")
    assert (tokenizer.encode("\n")[0] == space) is add_space_prefix
    assert tokenizer.decode(tokenizer.encode(" kalo")) == " kalo"


@pytest.mark.parametrize("prefix", ["always", "first"])
def test_space_prefix_may_come_at_the_beginning_only(metadata: Metadata, prefix: str) -> None:
    metadata[SPACE_PREFIX] = prefix
    tokenizer = Tokenizer.from_metadata(metadata)
    ids = tokenizer.encode("\n<|user|>kalo")
    pieces = [metadata[TOKENS][id] for id in ids]
    assert pieces[0] == "\u2581"
    word = pieces[pieces.index("<|user|>") + 1]
    assert word.startswith("\u2581") is (prefix == "always")
    assert tokenizer.decode(ids) == "\n<|user|>kalo"


def test_bos_token_comes_first_where_the_model_wants_one(metadata: Metadata) -> None:
    metadata["tokenizer.ggml.add_bos_token"] = True
    tokenizer = Tokenizer.from_metadata(metadata)
    assert tokenizer.bos_id == 1
    assert tokenizer.encode("kalo")[0] == 1
    assert tokenizer.encode("") == [1]
    assert tokenizer.encode("kalo", add_bos=False) == tokenizer.encode("kalo")[1:]
    metadata["tokenizer.ggml.add_bos_token"] = False
    assert Tokenizer.from_metadata(metadata).encode("") == []


def test_tokens_that_end_an_answer(phi3: Case) -> None:
    tokens = phi3.ours.special_tokens
    assert phi3.ours.eos_ids == {tokens["<|endoftext|>"], tokens["<|end|>"], tokens["</s>"]}
    assert phi3.ours.token("eos") == "<|endoftext|>"
    assert phi3.ours.token("mask") == ""


def test_lone_surrogates_are_refused(case: Case) -> None:
    with pytest.raises(TokenizerError, match="not text"):
        case.ours.encode("a\ud800b")


# --- Text ---


def test_encoding_decoded_text_gives_the_same_ids(case: Case) -> None:
    for text in case.texts(seed=4):
        if "\u2581" in text:  # becomes a space, which a token before it may swallow
            continue
        ids = case.ours.encode(text, add_bos=False)
        assert case.ours.encode(case.ours.decode(ids), add_bos=False) == ids, text


def test_text_without_added_tokens_survives(case: Case) -> None:
    for text in case.texts(seed=5):
        if "\u2581" not in text:
            ids = case.ours.encode(text, add_bos=False, parse_special=False)
            assert case.ours.decode(ids) == text


def test_text_without_special_tokens_equals_hugging_faces(case: Case) -> None:
    special = set(case.ours.special_tokens.values())
    rng = np.random.default_rng(6)
    for limit in (260, case.reference.get_vocab_size()):
        for _ in range(COUNT):
            ids = rng.integers(0, limit, rng.integers(0, 12)).tolist()
            kept = [id for id in ids if id not in special]
            expected = case.reference.decode(kept, skip_special_tokens=False)
            assert case.ours.decode(ids, skip_special=True) == expected, ids


def test_chat_rounds_do_not_grow_spaces(phi3: Case) -> None:
    text = "<s><|user|> kalo <|end|><|assistant|>mi  ren<|end|>"
    ids = phi3.ours.encode(text, add_bos=False)
    for _ in range(3):
        assert phi3.ours.encode(text, add_bos=False) == ids
        text = phi3.ours.decode(ids)
    assert text == "<s><|user|>kalo <|end|><|assistant|>mi  ren<|end|>"


def test_bytes_that_are_no_text_become_replacement_characters(phi3: Case) -> None:
    first = phi3.reference.token_to_id("<0xE2>")
    assert phi3.ours.decode([first]) == "\ufffd"
    assert phi3.ours.decode([first, first + 1]) == "\ufffd\ufffd"


@pytest.mark.parametrize("id", [-1, 10**6, 2**40, 1.5, "a"])
def test_ids_outside_the_vocabulary_are_refused(phi3: Case, id: Any) -> None:
    with pytest.raises(TokenizerError, match="outside"):
        phi3.ours.decode([id])
    with pytest.raises(TokenizerError, match="outside"):
        phi3.ours.decoder().feed(id)


def test_unused_id_with_a_role_keeps_its_number(metadata: Metadata) -> None:
    metadata[TYPES][300] = PieceType.UNUSED
    metadata[TOKENS][300] = "[PAD]"
    metadata["tokenizer.ggml.padding_token_id"] = 300
    tokenizer = Tokenizer.from_metadata(metadata)
    assert tokenizer.encode("[PAD]")[-1] == 300
    assert tokenizer.special_tokens["[PAD]"] == 300


def test_unused_ids_have_no_text(metadata: Metadata) -> None:
    metadata[TOKENS].append("[PAD]")
    metadata[TYPES] = np.append(metadata[TYPES], np.int32(PieceType.UNUSED))
    metadata[SCORES] = np.append(metadata[SCORES], np.float32(-1e4))
    tokenizer = Tokenizer.from_metadata(metadata)
    unused = len(tokenizer) - 1
    assert tokenizer.decode([unused]) == ""
    assert tokenizer.decoder().feed(unused) == ""
    assert unused not in tokenizer.encode("[PAD]")


# --- Streams ---


@pytest.mark.parametrize("skip_special", [False, True])
def test_stream_joins_to_the_text(case: Case, skip_special: bool) -> None:
    for text in case.texts(seed=7):
        ids = case.ours.encode(text, add_bos=False)
        stream = case.ours.decoder(skip_special)
        pieces = [*map(stream.feed, ids), stream.finish()]
        assert "".join(pieces) == case.ours.decode(ids, skip_special), text


def test_stream_gives_whole_characters_only(phi3: Case) -> None:
    ids = phi3.ours.encode("\U0001f600\u20ac", add_bos=False)
    stream = phi3.ours.decoder()
    assert [stream.feed(id) for id in ids] == ["", "", "", "", "\U0001f600", "", "", "\u20ac"]
    assert stream.finish() == ""


def test_stream_of_random_tokens_joins_to_the_text_unless_bytes_are_no_text(case: Case) -> None:
    rng = np.random.default_rng(8)
    for limit in (260, case.reference.get_vocab_size()):
        for _ in range(COUNT):
            ids = rng.integers(0, limit, 6).tolist()
            stream = case.ours.decoder()
            text = "".join([*map(stream.feed, ids), stream.finish()])
            whole = case.ours.decode(ids)
            assert ("\ufffd" in text) == ("\ufffd" in whole), ids
            assert text == whole or "\ufffd" in whole, ids


def test_stream_shows_the_space_between_prompt_and_text(phi3: Case) -> None:
    prompt = phi3.ours.encode("<|user|>kalo")
    word = phi3.ours.encode("kalo")
    assert "".join(map(phi3.ours.decoder(after=prompt).feed, word)) == " kalo"
    assert "".join(map(phi3.ours.decoder(after=prompt[:1]).feed, word)) == "kalo"
    assert "".join(map(phi3.ours.decoder().feed, word)) == "kalo"


def test_stream_ends_half_a_character(phi3: Case) -> None:
    half = [phi3.reference.token_to_id(byte) for byte in ("<0xE2>", "<0x82>")]
    stream = phi3.ours.decoder()
    assert [*map(stream.feed, half), stream.finish()] == ["", "", "\ufffd\ufffd"]
    assert phi3.ours.decode(half) == "\ufffd\ufffd"


# --- Hostile metadata ---


def replaced(key: str, index: int, value: Any) -> Callable[[Metadata], None]:
    def change(metadata: Metadata) -> None:
        metadata[key][index] = value

    return change


def assigned(key: str, value: Any) -> Callable[[Metadata], None]:
    return lambda metadata: metadata.update({key: value})


HOSTILE: dict[str, tuple[Callable[[Metadata], None], type[Error]]] = {
    "byte below zero": (replaced(TOKENS, 5, "<0x-1>"), TokenizerError),
    "byte without digits": (replaced(TOKENS, 5, "<0xZZ>"), TokenizerError),
    "byte of three digits": (replaced(TOKENS, 5, "<0x123>"), TokenizerError),
    "byte in small letters": (replaced(TOKENS, 5, "<0xaa>"), TokenizerError),
    "byte twice": (replaced(TOKENS, 5, "<0x41>"), TokenizerError),
    "empty token": (replaced(TOKENS, 300, ""), TokenizerError),
    "surrogates": (replaced(TOKENS, 300, "\ud800"), TokenizerError),
    "no text": (replaced(TOKENS, 300, b"abc"), TokenizerError),
    "huge token": (replaced(TOKENS, 300, "a" * (MAX_TOKEN_LENGTH + 1)), TokenizerError),
    "token twice": (replaced(TOKENS, 300, "<s>"), TokenizerError),
    "special token of one letter": (replaced(TOKENS, 1, "a"), TokenizerError),
    "no tokens": (assigned(TOKENS, []), TokenizerError),
    "tokens are a number": (assigned(TOKENS, 7), TokenizerError),
    "fewer scores": (assigned(SCORES, np.zeros(3, np.float32)), TokenizerError),
    "more scores": (assigned(SCORES, np.zeros(10**6, np.float32)), TokenizerError),
    "scores are texts": (assigned(SCORES, ["a"] * 431), TokenizerError),
    "NaN score": (replaced(SCORES, 300, np.nan), TokenizerError),
    "fewer types": (assigned(TYPES, np.ones(3, np.int32)), TokenizerError),
    "unknown type": (replaced(TYPES, 300, 99), TokenizerError),
    "type below zero": (replaced(TYPES, 300, -1), TokenizerError),
    "bos outside": (assigned("tokenizer.ggml.bos_token_id", 10**6), TokenizerError),
    "eos outside": (assigned("tokenizer.ggml.eos_token_id", 2**32 - 1), TokenizerError),
    "bos below zero": (assigned("tokenizer.ggml.bos_token_id", -1), TokenizerError),
    "bos is true": (assigned("tokenizer.ggml.bos_token_id", True), TokenizerError),
    "add_bos is a text": (assigned("tokenizer.ggml.add_bos_token", "yes"), TokenizerError),
    "rstrip outside": (assigned(RSTRIP, np.array([10**6], np.int32)), TokenizerError),
    "rstrip below zero": (assigned(RSTRIP, np.array([-1], np.int32)), TokenizerError),
    "unknown space prefix": (assigned(SPACE_PREFIX, "sometimes"), TokenizerError),
    "unknown model": (assigned("tokenizer.ggml.model", "t5"), UnsupportedError),
    "model is a number": (assigned("tokenizer.ggml.model", 1), TokenizerError),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_vocabulary_is_refused(metadata: Metadata, name: str) -> None:
    change, error = HOSTILE[name]
    change(metadata)
    with pytest.raises(error) as caught:
        Tokenizer.from_metadata(metadata)
    assert type(caught.value) is error
    assert caught.value.field


def test_error_names_the_file(metadata: Metadata) -> None:
    del metadata[TOKENS]
    with pytest.raises(TokenizerError, match=r"^model\.gguf: tokenizer\.ggml\.tokens: is missing"):
        Tokenizer.from_metadata(metadata, file="model.gguf")


@pytest.mark.parametrize("key", ["tokenizer.ggml.model", TOKENS, SCORES])
def test_missing_key_is_named(metadata: Metadata, key: str) -> None:
    del metadata[key]
    with pytest.raises(TokenizerError, match="is missing") as caught:
        Tokenizer.from_metadata(metadata)
    assert caught.value.field == key


def test_vocabulary_that_leaves_letters_without_tokens_is_refused(metadata: Metadata) -> None:
    metadata[TYPES][0] = PieceType.CONTROL
    del metadata["tokenizer.ggml.unknown_token_id"]
    Tokenizer.from_metadata(metadata)
    metadata[TYPES][5] = PieceType.UNUSED
    with pytest.raises(TokenizerError, match="neither all bytes"):
        Tokenizer.from_metadata(metadata)


def test_no_merge_makes_a_special_token(metadata: Metadata) -> None:
    """Even where the pieces of its text are in the vocabulary and rank first."""
    control = metadata[TYPES].tolist().index(PieceType.CONTROL)
    metadata[TOKENS][control] = "mmk"
    metadata[TOKENS][300] = "mm"
    metadata[SCORES][300] = 100.0
    metadata[SCORES][control] = 1000.0
    tokenizer = Tokenizer.from_metadata(metadata)
    assert tokenizer.encode("mmk") == [control]
    assert control not in tokenizer.encode("mmk", parse_special=False)
    assert 300 in tokenizer.encode("mmk", parse_special=False)


BYTE_LEVEL_HOSTILE: dict[str, tuple[str, Any, type[Error]]] = {
    "merge of one": ("tokenizer.ggml.merges", ["ab"], TokenizerError),
    "merge of nothing": ("tokenizer.ggml.merges", [""], TokenizerError),
    "merge of strangers": ("tokenizer.ggml.merges", ["\u4e00 \u4e01"], TokenizerError),
    "merge is no text": ("tokenizer.ggml.merges", [3], TokenizerError),
    "merges missing": ("tokenizer.ggml.merges", None, TokenizerError),
    "unknown word split": ("tokenizer.ggml.pre", "tekken", UnsupportedError),
}


@pytest.mark.parametrize("name", BYTE_LEVEL_HOSTILE)
def test_hostile_byte_level_vocabulary_is_refused(name: str) -> None:
    metadata = metadata_of("byte_level")
    key, value, error = BYTE_LEVEL_HOSTILE[name]
    metadata[key] = value
    with pytest.raises(error) as caught:
        Tokenizer.from_metadata(metadata)
    assert caught.value.field
    assert caught.value.field.startswith(key)


def test_byte_level_vocabulary_needs_every_byte() -> None:
    metadata = metadata_of("byte_level")
    metadata[TOKENS][metadata[TOKENS].index("A")] = "\u4e00"
    with pytest.raises(TokenizerError, match="no token for a byte"):
        Tokenizer.from_metadata(metadata)
