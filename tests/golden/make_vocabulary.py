"""Make the golden vocabularies: small checkpoints' tokenizer files, and what llama.cpp makes of them.

    PYTHONPATH=tests:tools:$LLAMA_CPP/gguf-py python tests/golden/make_vocabulary.py $LLAMA_CPP

needs sentencepiece, tokenizers, torch and transformers, and a llama.cpp source tree for its
`convert_hf_to_gguf.py`. Each directory of `vocabulary/` gets its files and `expected.json`: every
`tokenizer.*` entry that the converter writes, with its GGUF type. The committed ones come from the
llama.cpp in llama-cpp-python 0.3.36. `special_tokens.json` holds the reading of special tokens by
the same tree's gguf package, for the combinations in `special_token_cases.py`.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sentencepiece
from demo_tokenizer import save_tokenizer, to_hugging_face, write_json
from gguf import GGUFReader, SpecialVocab
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from special_token_cases import CONFIGS, IDS, TOKENIZER_CONFIGS, post_processors, tokenizer_json

GOLDEN = Path(__file__).parent / "vocabulary"

CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# The converter knows a byte-level tokenizer by a hash over the ids it gives to some text, and
# refuses one that it has not met. Phi-4's name is put in for the small vocabulary here.
CONVERTER = """
import runpy, sys
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "dbrx"
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def sentences() -> Iterator[str]:
    """Text of a made-up language, with what is hard for tokenizers: runs of spaces, accents."""
    rng = random.Random(1)
    syllables = ["ka", "lo", "mi", "ren", "tu", "zé", "ñor", "schi", "ö", "qua"]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(150)]
    for _ in range(600):
        yield " ".join(rng.choices(words, k=9)).capitalize() + "." + " " * rng.choice([0, 2, 4])


def train_sentencepiece(directory: Path) -> None:
    # A writer rather than a path: the file would hold the path for ever.
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences(),
        model_writer=model,
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        character_coverage=0.99,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        minloglevel=1,
    )
    (directory / "tokenizer.model").write_bytes(model.getvalue())


def write_config(directory: Path, vocab_size: int, **fields: Any) -> None:
    write_json(
        directory / "config.json",
        {
            "architectures": ["Phi3ForCausalLM"],
            "model_type": "phi3",
            "vocab_size": vocab_size,
            **fields,
        },
    )


def phi3(directory: Path) -> None:
    """All of the tokenizer files that Phi-3-mini has, in its form."""
    train_sentencepiece(directory)
    model = (directory / "tokenizer.model").read_bytes()
    save_tokenizer(directory, model, to_hugging_face(model), context=4096)
    write_config(directory, 448, bos_token_id=1, eos_token_id=420, pad_token_id=420)


def sentencepiece_only(directory: Path) -> None:
    """A bare tokenizer.model; ids come from config.json, the vocabulary is padded."""
    train_sentencepiece(directory)
    write_config(directory, 424, bos_token_id=1, eos_token_id=2, pad_token_id=0)


def added_tokens(directory: Path) -> None:
    """Three files that add tokens and partly contradict each other, and named chat templates."""
    train_sentencepiece(directory)
    write_config(directory, 430, bos_token_id=1, eos_token_id=[2, 421], pad_token_id=425)
    write_json(directory / "added_tokens.json", {"<|a|>": 420, "<|b|>": 421, "  ": 422})
    decoder = {
        "2": {"content": "</s>", "special": False, "rstrip": True},
        "421": {"content": "<|b|>", "special": True},
        "300": {"content": "<|over|>", "special": False},
        "423": {"content": "▁spaced▁", "special": False},
    }
    templates = [
        {"name": "default", "template": "{{ bos_token }}"},
        {"name": "tool-use", "template": "{{ messages }}"},
    ]
    write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "LlamaTokenizer",
            "add_bos_token": True,
            "add_eos_token": False,
            "added_tokens_decoder": decoder,
            "bos_token": {"content": "<s>", "special": True},
            "eos_token": "<|b|>",
            "unk_token": "<unk>",
            "chat_template": templates,
        },
    )
    first = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    a, b = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    template = {"type": "TemplateProcessing", "single": [first, a], "pair": [first, a, first, b]}
    added = [
        {"id": 0, "content": "<unk>", "special": True},
        {"id": 1, "content": "<s>", "special": True},
        {"id": 421, "content": "<|b|>", "special": True},
        {"id": 424, "content": "<|c|>", "special": False, "lstrip": True},
    ]
    write_json(
        directory / "tokenizer.json",
        {"added_tokens": added, "post_processor": template, "model": {"type": "BPE"}},
    )


def byte_level(directory: Path) -> None:
    """GPT-2's kind of BPE, with Phi-4's splitting expression."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CL100K), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        show_progress=False,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<|tool|>"), AddedToken("plain")])
    tokenizer.save(str(directory / "tokenizer.json"))
    write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "GPT2Tokenizer",
            "bos_token": "<|endoftext|>",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "chat_template": "{{ messages }}",
        },
    )
    write_config(directory, 340, bos_token_id=0, eos_token_id=0)


CASES: list[Callable[[Path], None]] = [phi3, sentencepiece_only, added_tokens, byte_level]


def convert(llama_cpp: Path, directory: Path) -> dict[str, Any]:
    """Run llama.cpp's converter and return the tokenizer's part of what it wrote."""
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "vocabulary.gguf"
        script = llama_cpp.absolute() / "convert_hf_to_gguf.py"
        arguments = [str(script), str(directory), "--vocab-only", "--outfile", str(output)]
        subprocess.run([sys.executable, "-c", CONVERTER, *arguments], check=True)
        fields = GGUFReader(output).fields
        return {
            name: {"type": [kind.name for kind in field.types], "value": field.contents()}
            for name, field in fields.items()
            if name.startswith("tokenizer.")
        }


def read_special_tokens() -> dict[str, list[Any]]:
    """[ids, added] by post-processor and, in order, tokenizer configuration and configuration."""
    readings: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        for name, post_processor in post_processors().items():
            write_json(directory / "tokenizer.json", tokenizer_json(post_processor))
            for tokenizer_config, config in itertools.product(TOKENIZER_CONFIGS, CONFIGS):
                write_json(directory / "tokenizer_config.json", tokenizer_config)
                write_json(directory / "config.json", config)
                special = SpecialVocab(directory, n_vocab=len(IDS))
                special.special_token_ids.pop("cls", None)  # GGUF has no key for it
                reading = [special.special_token_ids, special.add_special_token]
                readings.setdefault(name, []).append(reading)
    return readings


def write_line(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("llama_cpp", type=Path)
    llama_cpp = parser.parse_args().llama_cpp
    for make in CASES:
        directory = GOLDEN / make.__name__
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        make(directory)
        write_line(directory / "expected.json", convert(llama_cpp, directory))
    write_line(GOLDEN / "special_tokens.json", read_special_tokens())


if __name__ == "__main__":
    main()
