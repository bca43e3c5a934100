"""Vocabularies of checkpoints: equal to what llama.cpp's converter writes, whatever the files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phigguf.errors import CheckpointError, Error, FileMissing, TokenizerError, UnsupportedError
from phigguf.io.gguf_format import ArrayOf, MetadataValue
from phigguf.io.pieces import PieceType
from phigguf.io.vocabulary import MAX_VOCABULARY, Vocabulary, read_vocabulary
from protobuf_bytes import trainer_spec

GOLDEN = Path(__file__).parents[1] / "golden" / "vocabulary"
CASES = ("phi3", "sentencepiece_only", "added_tokens", "byte_level")

Change = Callable[[dict[str, Any]], object]


def load(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def read(directory: Path) -> Vocabulary:
    return read_vocabulary(directory, load(directory / "config.json"))


@pytest.fixture
def golden_copy(tmp_path: Path) -> Callable[[str], Path]:
    return lambda case: Path(shutil.copytree(GOLDEN / case, tmp_path / case))


@pytest.fixture
def phi3(golden_copy: Callable[[str], Path]) -> Path:
    return golden_copy("phi3")


@pytest.fixture
def json_only(phi3: Path) -> Path:
    """A checkpoint as newer versions of transformers save it: without tokenizer.model."""
    (phi3 / "tokenizer.model").unlink()
    return phi3


@pytest.fixture
def byte_level(golden_copy: Callable[[str], Path]) -> Path:
    return golden_copy("byte_level")


def edit(path: Path, change: Change) -> None:
    value = load(path)
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def as_plain(entry: MetadataValue) -> dict[str, Any]:
    """An entry in the form that the golden files have."""
    if isinstance(entry.type, ArrayOf):
        kinds = ["ARRAY", entry.type.element.name]
    else:
        kinds = [entry.type.name]
    value = entry.value.tolist() if isinstance(entry.value, np.ndarray) else entry.value
    return {"type": kinds, "value": value}


@pytest.mark.parametrize("case", CASES)
def test_metadata_equals_llama_cpps_converter(case: str) -> None:
    metadata = read(GOLDEN / case).metadata()
    expected = load(GOLDEN / case / "expected.json")
    assert {key: as_plain(entry) for key, entry in metadata.items()} == expected


def test_tokenizer_json_alone_gives_the_same_vocabulary(json_only: Path) -> None:
    with_model, alone = read(GOLDEN / "phi3"), read(json_only)
    assert alone.tokens == with_model.tokens
    np.testing.assert_array_equal(alone.token_types, with_model.token_types)
    np.testing.assert_array_equal(alone.scores, with_model.scores)
    assert alone.special == with_model.special
    assert alone.space_prefix == with_model.space_prefix == "always"


def test_properties(phi3: Path) -> None:
    vocabulary = read(phi3)
    assert (vocabulary.bos_id, vocabulary.eos_id) == (1, 420)
    assert (vocabulary.unk_id, vocabulary.pad_id) == (0, 420)
    assert vocabulary.chat_template == load(phi3 / "tokenizer_config.json")["chat_template"]
    assert vocabulary.scores is not None
    assert vocabulary.scores.dtype == np.float32
    assert vocabulary.token_types.dtype == np.int32
    stripping = [token.text for token in vocabulary.added if token.rstrip]
    assert "<|user|>" in stripping
    assert "<s>" not in stripping


def test_ids_without_a_token_are_padded(phi3: Path) -> None:
    vocabulary = read(phi3)
    assert len(vocabulary.tokens) == 448
    assert vocabulary.tokens[431:] == [f"[PAD{token}]" for token in range(431, 448)]
    assert set(vocabulary.token_types[431:]) == {PieceType.UNUSED}


def test_resaved_checkpoint_adds_no_beginning_unless_it_says_so(json_only: Path) -> None:
    edit(json_only / "tokenizer_config.json", lambda config: config.pop("add_bos_token"))
    assert read(json_only).special.added == {"bos": False, "eos": False}


def test_ids_of_tokenizer_model_are_written_where_readers_would_assume_others(
    golden_copy: Callable[[str], Path],
) -> None:
    directory = golden_copy("sentencepiece_only")
    with (directory / "tokenizer.model").open("ab") as file:
        file.write(trainer_spec(bos=2, eos=1))  # protobuf merges a message given twice
    assert read_vocabulary(directory, {"vocab_size": 424}).special.ids == {"bos": 2, "eos": 1}


@pytest.mark.parametrize("setting", [False, True, None])
def test_space_prefix_follows_tokenizer_config(phi3: Path, setting: bool | None) -> None:
    edit(phi3 / "tokenizer_config.json", lambda config: config.update(add_prefix_space=setting))
    vocabulary = read(phi3)
    expected = {"tokenizer.ggml.add_space_prefix"} if setting is False else set()
    assert vocabulary.space_prefix == ("never" if setting is False else "always")
    assert vocabulary.metadata().keys() - load(phi3 / "expected.json").keys() == expected


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
def test_metaspace_tells_where_spaces_are_prepended(json_only: Path, scheme: str) -> None:
    step = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}
    changes = {"normalizer": None, "pre_tokenizer": step}
    edit(json_only / "tokenizer.json", lambda tokenizer: tokenizer.update(changes))
    assert read(json_only).space_prefix == scheme


def test_older_files_join_merges_with_a_space(json_only: Path) -> None:
    before = read(json_only)

    def join(tokenizer: dict[str, Any]) -> None:
        merges = tokenizer["model"]["merges"]
        tokenizer["model"]["merges"] = [" ".join(pair) for pair in merges]

    edit(json_only / "tokenizer.json", join)
    np.testing.assert_array_equal(read(json_only).scores, before.scores)


def test_missing_tokenizer(phi3: Path) -> None:
    (phi3 / "tokenizer.model").unlink()
    (phi3 / "tokenizer.json").unlink()
    with pytest.raises(FileMissing, match=r"tokenizer\.json"):
        read(phi3)


@pytest.mark.parametrize("size", [None, 0, -1, "448", True, 2.5, MAX_VOCABULARY + 1, 2**60])
def test_vocab_size_is_checked_before_anything_is_made_of_it(phi3: Path, size: object) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_vocabulary(phi3, {"vocab_size": size})
    assert caught.value.field == "vocab_size"


def test_vocab_size_below_the_pieces(phi3: Path) -> None:
    with pytest.raises(TokenizerError, match="vocabulary of 419"):
        read_vocabulary(phi3, {"vocab_size": 419})


# Each of these breaks one file of the Phi-3 checkpoint: the file, the change, the error.
BROKEN: list[tuple[str, Change, type[Error]]] = [
    ("added_tokens.json", lambda f: f.update({"<|x|>": 448}), TokenizerError),
    ("added_tokens.json", lambda f: f.update({"<|x|>": -1}), TokenizerError),
    ("added_tokens.json", lambda f: f.update({"<|x|>": "7"}), CheckpointError),
    ("added_tokens.json", lambda f: f.update({"<|x|>": True}), CheckpointError),
    ("added_tokens.json", lambda f: f.update({"": 440}), TokenizerError),
    ("added_tokens.json", lambda f: f.update({"\ud800": 440}), CheckpointError),
    (
        "tokenizer_config.json",
        lambda f: f["added_tokens_decoder"].update({"448": {"content": "x"}}),
        TokenizerError,
    ),
    (
        "tokenizer_config.json",
        lambda f: f["added_tokens_decoder"].update({"-1": {"content": "x"}}),
        CheckpointError,
    ),
    (
        "tokenizer_config.json",
        lambda f: f["added_tokens_decoder"].update({"9" * 5000: {"content": "x"}}),
        CheckpointError,
    ),
    (
        "tokenizer_config.json",
        lambda f: f["added_tokens_decoder"].update({"1": "<s>"}),
        CheckpointError,
    ),
    (
        "tokenizer_config.json",
        lambda f: f["added_tokens_decoder"]["1"].update(special="yes"),
        CheckpointError,
    ),
    ("tokenizer_config.json", lambda f: f.update(added_tokens_decoder=[]), CheckpointError),
    ("tokenizer_config.json", lambda f: f.update(chat_template=3), CheckpointError),
    ("tokenizer.json", lambda f: f["added_tokens"].append({"content": "x"}), CheckpointError),
    ("tokenizer.json", lambda f: f["added_tokens"][0].update(id=448), TokenizerError),
    ("tokenizer.json", lambda f: f["added_tokens"][0].update(content=""), TokenizerError),
    ("tokenizer.json", lambda f: f["added_tokens"][0].update(content=None), CheckpointError),
    ("tokenizer.json", lambda f: f.update(added_tokens={}), CheckpointError),
    ("tokenizer.json", lambda f: f.update(post_processor=[]), CheckpointError),
    ("tokenizer.json", lambda f: f.update(post_processor={"type": "New"}), UnsupportedError),
    (
        "tokenizer.json",
        lambda f: f.update(post_processor={"type": "TemplateProcessing", "single": {}}),
        CheckpointError,
    ),
    ("config.json", lambda f: f.update(unk_token_id=448), TokenizerError),
    ("config.json", lambda f: f.update(sep_token_id=-2), TokenizerError),
]


@pytest.mark.parametrize(("name", "change", "error"), BROKEN)
def test_broken_checkpoint_is_a_typed_error(
    phi3: Path, name: str, change: Change, error: type[Error]
) -> None:
    if name == "config.json":
        (phi3 / "tokenizer_config.json").unlink()
    edit(phi3 / name, change)
    with pytest.raises(error) as caught:
        read(phi3)
    assert str(phi3) in str(caught.value)


def set_vocab(text: str, token: object) -> Change:
    return lambda tokenizer: tokenizer["model"]["vocab"].update({text: token})


def set_model(**options: object) -> Change:
    return lambda tokenizer: tokenizer["model"].update(options)


def add_merge(merge: object) -> Change:
    return lambda tokenizer: tokenizer["model"]["merges"].append(merge)


# Each of these breaks tokenizer.json where it is the only source of the vocabulary.
BROKEN_JSON: list[tuple[Change, type[Error]]] = [
    (lambda f: f.pop("model"), CheckpointError),
    (set_model(type="Unigram"), UnsupportedError),
    (set_model(type="WordPiece"), UnsupportedError),
    (set_model(dropout=0.1), UnsupportedError),
    (set_model(continuing_subword_prefix="##"), UnsupportedError),
    (set_model(end_of_word_suffix="</w>"), UnsupportedError),
    (set_model(ignore_merges=True), UnsupportedError),
    (set_model(vocab=[]), CheckpointError),
    (set_model(vocab={"a": "1"}), CheckpointError),
    (set_model(merges=None), CheckpointError),
    (set_vocab("new", 5), TokenizerError),
    (set_vocab("new", -1), TokenizerError),
    (set_vocab("new", 448), TokenizerError),
    (set_vocab("", 440), TokenizerError),
    (set_vocab("new", True), CheckpointError),
    (add_merge("a"), CheckpointError),
    (add_merge("a b c"), CheckpointError),
    (add_merge(["a"]), CheckpointError),
    (add_merge(["a", 3]), CheckpointError),
    (add_merge(7), CheckpointError),
    (add_merge(["nowhere", "found"]), TokenizerError),
    (lambda f: f.update(normalizer={"type": "Lowercase"}), UnsupportedError),
    (lambda f: f.update(normalizer={"type": "Sequence"}), CheckpointError),
    (lambda f: f.update(normalizer=None), UnsupportedError),
    (lambda f: f.update(normalizer="Prepend"), CheckpointError),
    (lambda f: f.update(pre_tokenizer={"type": "Whitespace"}), UnsupportedError),
    (
        lambda f: f.update(
            pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "last"}
        ),
        UnsupportedError,
    ),
]


@pytest.mark.parametrize(("change", "error"), BROKEN_JSON)
def test_broken_tokenizer_json_is_a_typed_error(
    json_only: Path, change: Change, error: type[Error]
) -> None:
    edit(json_only / "tokenizer.json", change)
    with pytest.raises(error) as caught:
        read(json_only)
    assert str(json_only) in str(caught.value)


def merges_of_one_piece(merges: list[list[str]]) -> list[int]:
    """Positions of the merges of some piece that can be built in several ways."""
    merged = ["".join(pair) for pair in merges]
    piece = next(text for text in merged if merged.count(text) > 1 and text != merged[-1])
    return [position for position, text in enumerate(merged) if text == piece]


def remove_one(merges: list[list[str]]) -> None:
    merges.pop(merges_of_one_piece(merges)[0])


def move_one_to_the_end(merges: list[list[str]]) -> None:
    merges.append(merges.pop(merges_of_one_piece(merges)[0]))


def remove_all(merges: list[list[str]]) -> None:
    for position in reversed(merges_of_one_piece(merges)):
        merges.pop(position)


@pytest.mark.parametrize("change", [remove_one, move_one_to_the_end, remove_all])
def test_merges_that_scores_cannot_express_are_refused(
    json_only: Path, change: Callable[[list[list[str]]], None]
) -> None:
    edit(json_only / "tokenizer.json", lambda tokenizer: change(tokenizer["model"]["merges"]))
    with pytest.raises(UnsupportedError, match="SentencePiece"):
        read(json_only)


def test_byte_level_with_gpt2s_split(byte_level: Path) -> None:
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    edit(byte_level / "tokenizer.json", lambda tokenizer: tokenizer.update(pre_tokenizer=step))
    vocabulary = read(byte_level)
    assert vocabulary.pre == "phi-2"
    assert vocabulary.scores is None
    assert vocabulary.merges is not None


def set_split(**fields: object) -> Change:
    return lambda tokenizer: tokenizer["pre_tokenizer"]["pretokenizers"][0].update(fields)


@pytest.mark.parametrize(
    "change",
    [
        set_split(pattern={"Regex": "\\w+"}),
        set_split(pattern={"String": " "}),
        set_split(pattern=None),
        set_split(behavior="MergedWithNext"),
        set_split(invert=True),
        lambda f: f["pre_tokenizer"]["pretokenizers"].reverse(),
        lambda f: f["pre_tokenizer"]["pretokenizers"][1].update(use_regex=True),
        lambda f: f["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
        lambda f: f.update(normalizer={"type": "NFC"}),
    ],
)
def test_byte_level_that_gguf_has_no_name_for_is_refused(byte_level: Path, change: Change) -> None:
    edit(byte_level / "tokenizer.json", change)
    with pytest.raises(UnsupportedError):
        read(byte_level)


def test_o200ks_split_has_a_name_of_its_own(byte_level: Path) -> None:
    # As in Phi-4-mini's tokenizer.json.
    expression = (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    edit(byte_level / "tokenizer.json", set_split(pattern={"Regex": expression}))
    assert read(byte_level).pre == "gpt-4o"


def test_split_may_be_written_as_the_removal_of_everything_else(byte_level: Path) -> None:
    edit(byte_level / "tokenizer.json", set_split(behavior="Removed", invert=True))
    assert read(byte_level).pre == "dbrx"


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Containers and keys in a JSON value; of long containers the first, last and middle item."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if len(keys) > 8:
        keys = [keys[0], keys[len(keys) // 2], keys[-1]]
    for key in keys:
        yield node, key
        if isinstance(node[key], (dict, list)):
            yield from places(node[key])


STRANGE_VALUES = [None, True, -1, 7, 10**30, "", "x", [], [None], {}]


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("added_tokens", "added_tokens.json"),
        ("added_tokens", "tokenizer_config.json"),
        ("added_tokens", "tokenizer.json"),
        ("added_tokens", "config.json"),
        ("byte_level", "tokenizer.json"),
        ("json_only", "tokenizer.json"),
    ],
)
def test_strange_values_anywhere_never_escape_as_another_error(
    golden_copy: Callable[[str], Path], case: str, name: str
) -> None:
    directory = golden_copy("phi3" if case == "json_only" else case)
    if case == "json_only":
        (directory / "tokenizer.model").unlink()
    value = load(directory / name)
    read_back = 0
    for container, key in list(places(value)):
        original = container[key]
        for strange in STRANGE_VALUES:
            container[key] = strange
            (directory / name).write_text(json.dumps(value), encoding="utf-8")
            try:
                read_back += len(read(directory).tokens) > 0
            except Error:
                continue
        container[key] = original
    assert read_back > 0  # some places may hold anything
