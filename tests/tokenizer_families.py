"""A tokenizer of each kind that Phi models have: Hugging Face's files, and ours from a GGUF file.

The two meet only in the files of the checkpoint: `tokenizers` reads ``tokenizer.json``, and phigguf
the metadata of the GGUF file that it converted the checkpoint to.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tokenizers
from make_synthetic_checkpoint import Geometry, write_checkpoint
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

import phigguf
from conversion_cases import change_json
from phigguf.io.word_split import CL100K, O200K
from phigguf.tokenizer import Tokenizer

GOLDEN = Path(__file__).parent / "golden" / "vocabulary"
BATCH = 1000


@dataclass(frozen=True)
class Family:
    """A checkpoint's tokenizer files, with its size of vocabulary."""

    directory: Path
    vocab_size: int

    @cached_property
    def checkpoint(self) -> Path:
        """The files beside a smallest possible model."""
        checkpoint = self.directory / "checkpoint"
        write_checkpoint(checkpoint, Geometry(self.vocab_size, 32, 32, 1, 1, 1))
        for file in checkpoint.glob("*token*"):
            file.unlink()
        for file in self.directory.glob("*token*"):
            shutil.copy(file, checkpoint)
        unused = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
        change_json(checkpoint / "config.json", unused)
        return checkpoint

    @cached_property
    def ours(self) -> Tokenizer:
        """Our tokenizer, from a GGUF file."""
        file = self.directory / "model.gguf"
        phigguf.convert(self.checkpoint, file, "BF16", progress=False)
        with phigguf.read_gguf(file) as gguf:
            return Tokenizer.from_metadata(gguf.metadata)

    @cached_property
    def reference(self) -> tokenizers.Tokenizer:
        """Hugging Face's, from ``tokenizer.json``."""
        return tokenizers.Tokenizer.from_file(str(self.directory / "tokenizer.json"))

    @cached_property
    def literal_reference(self) -> tokenizers.Tokenizer:
        """Hugging Face's, reading special tokens as ordinary text.

        Of these are all tokens in angle brackets. Hugging Face's files do not call ``</s>`` of
        Phi-3 special, nor Phi-4-mini's ``<|tool|>``, yet no user's text should end an answer.
        """
        fields = json.loads((self.directory / "tokenizer.json").read_text(encoding="utf-8"))
        for token in fields["added_tokens"]:
            token["special"] |= token["content"][0] + token["content"][-1] == "<>"
        reference = tokenizers.Tokenizer.from_str(json.dumps(fields))
        reference.encode_special_tokens = True
        return reference

    @property
    def added(self) -> list[str]:
        """Texts of the added tokens."""
        return [token.content for token in self.reference.get_added_tokens_decoder().values()]

    @property
    def pieces(self) -> list[str]:
        """Texts of all tokens, as the vocabulary writes them."""
        return sorted(self.reference.get_vocab(with_added_tokens=False))


def split_by(expression: str | None) -> dict[str, object]:
    """Return the ``pre_tokenizer`` of a ``tokenizer.json``; without an expression, GPT-2's."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    if expression is None:
        return {**byte_level, "use_regex": True}
    split = {
        "type": "Split",
        "pattern": {"Regex": expression},
        "behavior": "Isolated",
        "invert": False,
    }
    steps = [split, {**byte_level, "use_regex": False}]
    return {"type": "Sequence", "pretokenizers": steps}


SPLITS = {"gpt2": None, "cl100k": CL100K, "o200k": O200K}
SMALL = ("sentencepiece", *SPLITS)


def small_family(name: str, directory: Path) -> Family:
    """Return a family with a vocabulary of a few hundred tokens."""
    if name == "sentencepiece":
        for file in (GOLDEN / "phi3").glob("*token*"):
            shutil.copy(file, directory)
        return Family(directory, 448)
    path = directory / "tokenizer.json"
    trained = _train_across_words()
    trained.save(str(path))
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["pre_tokenizer"] = split_by(SPLITS[name])
    path.write_text(json.dumps(fields), encoding="utf-8")
    return Family(directory, trained.get_vocab_size() + 5)


def _train_across_words() -> tokenizers.Tokenizer:
    """Train byte-level BPE on text that is not split, so that every other split changes the ids."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        show_progress=False,
        special_tokens=["<|endoftext|>", "<|user|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=6,
    )
    tokenizer.train_from_iterator(words(2000, seed=1), trainer)
    tokenizer.add_special_tokens([AddedToken("<|strip|>", lstrip=True, rstrip=True)])
    tokenizer.add_tokens([AddedToken("<|tool|>", rstrip=True), AddedToken("   ")])
    return tokenizer


def words(count: int, seed: int) -> Iterator[str]:
    """Yield texts of everything that the expressions tell apart."""
    rng = random.Random(seed)
    kinds = (
        "ab",
        "AB",
        "éß",
        "ÉD",
        "\u01c5",
        "\u02b0\u05d0",
        "\u0301",
        "12",
        "\u00b2",
        " ",
        " ",
        "\n",
        "\r\t",
    )
    kinds += ("/", ".!", "'", "\u2019", "\U0001f600")
    contractions = ("'s", "'T", "'re", "'VE", "'m", "'lL", "'d")
    for _ in range(count):
        parts = [rng.choice(rng.choice(kinds)) * rng.choice((1, 1, 1, 2, 3)) for _ in range(16)]
        parts[rng.randrange(16)] = rng.choice(contractions)
        yield "".join(parts)


# --- What has to hold ---


def assert_equal_ids(family: Family, texts: Iterator[str]) -> None:
    """Encode texts by both, with special tokens parsed and not, by turns."""
    modes = itertools.cycle([(True, family.reference), (False, family.literal_reference)])
    while batch := list(itertools.islice(texts, BATCH)):
        parse_special, reference = next(modes)
        expected = reference.encode_batch(batch, add_special_tokens=False)
        for text, encoding in zip(batch, expected, strict=True):
            ids = family.ours.encode(text, add_bos=False, parse_special=parse_special)
            assert ids == encoding.ids, (text, parse_special)


def random_ids(family: Family, count: int, seed: int) -> Iterator[list[int]]:
    """Yield sequences of ids, half of them mostly of single bytes, which are rarely UTF-8."""
    rng = random.Random(seed)
    size = family.reference.get_vocab_size()
    for index in range(count):
        limit = 260 if index % 2 else size
        yield [rng.randrange(limit) for _ in range(rng.randrange(12))]


def assert_equal_texts(family: Family, sequences: Iterator[list[int]]) -> None:
    """Decode ids by both, without special tokens."""
    while batch := list(itertools.islice(sequences, BATCH)):
        expected = family.literal_reference.decode_batch(batch, skip_special_tokens=True)
        for ids, text in zip(batch, expected, strict=True):
            assert family.ours.decode(ids, skip_special=True) == text, ids


def assert_stable(family: Family, texts: Iterator[str]) -> None:
    """Over rounds of decoding and encoding, ids stay as they are and so the text does not grow."""
    for text in texts:
        ids = family.ours.encode(text, add_bos=False)
        assert family.ours.encode(family.ours.decode(ids), add_bos=False) == ids, text
