"""Tokenizers with the vocabularies of the published models, built from what packages ship.

`mistral-common` has 32,000 SentencePiece pieces of Phi-3's kind. `litellm` has OpenAI's ranks:
GPT-2's (inside p50k), which Phi-2 uses, cl100k's, which Phi-4 uses, and o200k's, which Phi-4-mini uses.
Files are written as the models' own: one merge for each piece, and their added tokens.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from demo_tokenizer import save_tokenizer, to_hugging_face, write_json
from tokenizers.pre_tokenizers import ByteLevel

from phigguf.io.word_split import CL100K, O200K
from tokenizer_families import Family, split_by

SOURCE = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"


def phi3(directory: Path) -> Family:
    """Make Phi-3's kind of tokenizer."""
    model = _shipped("mistral-common", "mistral_common/data/tokenizer.model.v1")
    save_tokenizer(directory, model, to_hugging_face(model), context=4096)
    return Family(directory, 32064)


def phi2(directory: Path) -> Family:
    """Make that of Phi-1, Phi-1.5 and Phi-2: GPT-2's with tokens for runs of spaces and tabs."""
    runs = [" " * n for n in range(31, 1, -1)] + ["\t" * n for n in range(9, 1, -1)]
    added = [_added(50256, "<|endoftext|>", special=True)]
    added += [_added(50257 + i, run, normalized=True) for i, run in enumerate(runs)]
    ranks = {piece: rank for piece, rank in _ranks("p50k_base").items() if rank < 50256}
    ends = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    config = {"tokenizer_class": "CodeGenTokenizer", **ends}
    return _byte_level(directory, ranks, None, added, config, 51200)


def phi4(directory: Path) -> Family:
    """Make Phi-4's: its added tokens swallow the white space on both sides."""
    named = {
        100257: "<|endoftext|>",
        100258: "<|fim_prefix|>",
        100259: "<|fim_middle|>",
        100260: "<|fim_suffix|>",
        100264: "<|im_start|>",
        100265: "<|im_end|>",
        100266: "<|im_sep|>",
        100276: "<|endofprompt|>",
    }
    dummies = iter(range(100))
    texts = [named.get(id) or f"<|dummy_{next(dummies)}|>" for id in range(100256, 100352)]
    added = [
        _added(100256 + i, text, special=True, lstrip=True, rstrip=True)
        for i, text in enumerate(texts)
    ]
    config = {
        "tokenizer_class": "GPT2Tokenizer",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|dummy_85|>",
    }
    return _byte_level(directory, _ranks("cl100k_base"), CL100K, added, config, 100352)


def phi4_mini(directory: Path) -> Family:
    """Make Phi-4-mini's: some of its added tokens swallow what follows, some are not special."""
    special = ("<|assistant|>", "<|end|>", "<|user|>", "<|system|>")
    tools = ("tool", "/tool", "tool_call", "/tool_call", "tool_response")
    added = [
        _added(199999, "<|endoftext|>", special=True),
        _added(200018, "<|endofprompt|>", special=True),
        *(_added(200019 + i, text, special=True, rstrip=True) for i, text in enumerate(special)),
        *(_added(200023 + i, f"<|{text}|>", rstrip=True) for i, text in enumerate(tools)),
        _added(200028, "<|tag|>", special=True, rstrip=True),
    ]
    ends = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), "<|endoftext|>")
    config = {"tokenizer_class": "GPT2Tokenizer", **ends}
    return _byte_level(directory, _ranks("o200k_base"), O200K, added, config, 200064)


PUBLISHED = {"Phi-3": phi3, "Phi-2": phi2, "Phi-4": phi4, "Phi-4-mini": phi4_mini}


def _added(id: int, content: str, **flags: bool) -> dict[str, Any]:
    absent = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": id, "content": content, **absent, **flags}


def _shipped(package: str, path: str) -> bytes:
    """Read a package's file without importing the package: one of them would call home."""
    return Path(str(distribution(package).locate_file(path))).read_bytes()


def _ranks(encoding: str) -> dict[bytes, int]:
    """Read the pieces of an encoding by rank; files are named after their address."""
    name = hashlib.sha1(SOURCE.format(encoding).encode()).hexdigest()
    text = _shipped("litellm", f"litellm/litellm_core_utils/tokenizers/{name}")
    pairs = (line.split() for line in text.splitlines())
    return {base64.b64decode(piece): int(rank) for piece, rank in pairs}


def _byte_level(
    directory: Path,
    ranks: dict[bytes, int],
    expression: str | None,
    added: list[dict[str, Any]],
    config: dict[str, Any],
    vocab_size: int,
) -> Family:
    letters = _letters()

    def text(piece: bytes) -> str:
        return piece.decode("latin-1").translate(letters)

    model = {
        "type": "BPE",
        # The library renumbers added tokens after a gap, unless the vocabulary has them as well.
        "vocab": {text(piece): rank for piece, rank in ranks.items()}
        | {token["content"]: token["id"] for token in added},
        "merges": [[text(left), text(right)] for left, right in _merges(ranks)],
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}
    write_json(
        directory / "tokenizer.json",
        {
            "version": "1.0",
            "added_tokens": added,
            "normalizer": None,
            "pre_tokenizer": split_by(expression),
            "post_processor": byte_level,
            "decoder": byte_level,
            "model": model,
        },
    )
    decoder = {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in added}
    config = {"add_prefix_space": False, "added_tokens_decoder": decoder, **config}
    write_json(directory / "tokenizer_config.json", config)
    return Family(directory, vocab_size)


def _letters() -> dict[int, str]:
    """Map bytes to GPT-2's alphabet: bytes that print stand for themselves."""
    alphabet = set(ByteLevel.alphabet())
    printable = {byte for byte in range(256) if chr(byte) in alphabet}
    others = iter(sorted(alphabet - set(map(chr, printable))))
    return {byte: chr(byte) if byte in printable else next(others) for byte in range(256)}


def _merges(ranks: dict[bytes, int]) -> Iterable[tuple[bytes, bytes]]:
    """Yield for each piece the two that BPE joins last when it builds the piece."""
    for piece, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [piece[i : i + 1] for i in range(len(piece))]
        while len(parts) > 2:
            best = min(
                range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], rank)
            )
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        if len(parts) == 2:
            yield parts[0], parts[1]
