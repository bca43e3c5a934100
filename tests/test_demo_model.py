"""The packaged checkpoint: its shapes fit every format, its files agree with each other."""

from __future__ import annotations

from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from phigguf.demo import held_out_texts
from phigguf.io.safetensors import SafetensorsFile


def test_every_matrix_is_bfloat16_and_fits_the_widest_blocks(checkpoint: Path) -> None:
    tensors = SafetensorsFile(checkpoint / "model.safetensors").tensors
    assert {tensor.dtype for tensor in tensors.values()} == {"BF16"}
    assert [name for name, tensor in tensors.items() if tensor.shape[-1] % 256] == []


@pytest.fixture(scope="module")
def pieces(checkpoint: Path) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(checkpoint / "tokenizer.model"))


@pytest.fixture(scope="module")
def fast(checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(str(checkpoint / "tokenizer.json"))


def test_both_tokenizer_files_split_the_held_out_text_alike(
    checkpoint: Path, pieces: SentencePieceProcessor, fast: Tokenizer
) -> None:
    texts = held_out_texts(checkpoint)
    assert len(texts) == 24
    for text in texts:
        assert fast.encode(text).ids == pieces.encode(text)


@pytest.mark.parametrize("text", ["  two  spaces ", "Thou 1,024!", "naïve ☃", "a\n\tb", "▁", "\0"])
def test_both_tokenizer_files_split_text_that_was_never_seen_alike(
    text: str, pieces: SentencePieceProcessor, fast: Tokenizer
) -> None:
    assert fast.encode(text).ids == pieces.encode(text)


def test_special_tokens_follow_the_vocabulary_in_the_order_of_phi3(
    pieces: SentencePieceProcessor, fast: Tokenizer
) -> None:
    first = pieces.get_piece_size()
    assert first == 2048
    named = ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
    assert [fast.token_to_id(token) - first for token in named] == [0, 1, 6, 7, 10]
