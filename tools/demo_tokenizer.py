"""Tokenizer of the demo model: SentencePiece BPE, stored in the files of a Phi-3 checkpoint."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

VOCABULARY_SIZE = 2048

# Phi-3's own order: the id of each one is the size of the vocabulary plus its index here.
PHI3_TOKENS = (
    "<|endoftext|>",
    "<|assistant|>",
    "<|placeholder1|>",
    "<|placeholder2|>",
    "<|placeholder3|>",
    "<|placeholder4|>",
    "<|system|>",
    "<|end|>",
    "<|placeholder5|>",
    "<|placeholder6|>",
    "<|user|>",
)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] in ['system', 'user', 'assistant'] %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)


def train_sentencepiece(lines: Iterable[str]) -> bytes:
    """Train the vocabulary on `lines` and return it as the bytes of a ``tokenizer.model``."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY_SIZE,
        byte_fallback=True,
        character_coverage=1.0,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        max_sentence_length=1 << 20,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        minloglevel=1,
    )
    return model.getvalue()


def to_hugging_face(model: bytes) -> Tokenizer:
    """Build the fast tokenizer that equals a ``tokenizer.model``, with Phi-3's tokens added."""
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocabulary = {pieces.id_to_piece(i): i for i in range(pieces.get_piece_size())}
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary,
            _merges(vocabulary, pieces),
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    for token in added_tokens():
        tokenizer.add_special_tokens([token]) if token.special else tokenizer.add_tokens([token])
    return tokenizer


def _merges(
    vocabulary: dict[str, int], pieces: sentencepiece.SentencePieceProcessor
) -> list[tuple[str, str]]:
    """List every pair of pieces that joins into a piece, the most preferred piece first."""
    merges = []
    for piece, token in vocabulary.items():
        if pieces.is_byte(token) or pieces.is_control(token) or pieces.is_unknown(token):
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                order = (-pieces.get_score(token), token, vocabulary[left], vocabulary[right])
                merges.append((order, (left, right)))
    return [pair for _, pair in sorted(merges)]


def added_tokens() -> list[AddedToken]:
    """Return the tokens that a Phi-3 tokenizer matches before BPE, in the order of their ids."""

    def token(content: str, *, rstrip: bool, special: bool = True) -> AddedToken:
        return AddedToken(content, rstrip=rstrip, normalized=False, special=special)

    return [
        token("<unk>", rstrip=False),
        token("<s>", rstrip=False),
        token("</s>", rstrip=True, special=False),
        *(token(content, rstrip=content != "<|endoftext|>") for content in PHI3_TOKENS),
    ]


def save_tokenizer(directory: Path, model: bytes, tokenizer: Tokenizer, context: int) -> None:
    """Write the five tokenizer files of a Phi-3 checkpoint into `directory`."""
    (directory / "tokenizer.model").write_bytes(model)
    tokenizer.save(str(directory / "tokenizer.json"))
    ids = {content: tokenizer.token_to_id(content) for content in PHI3_TOKENS}
    special = {
        "bos_token": "<s>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<unk>",
    }
    write_json(directory / "added_tokens.json", ids)
    write_json(directory / "special_tokens_map.json", special)
    write_json(
        directory / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_eos_token": False,
            "added_tokens_decoder": {
                str(tokenizer.token_to_id(token.content)): _described(token)
                for token in added_tokens()
            },
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "legacy": False,
            "model_max_length": context,
            "padding_side": "left",
            "sp_model_kwargs": {},
            "tokenizer_class": "LlamaTokenizer",
            "use_default_system_prompt": False,
            **special,
        },
    )


def _described(token: AddedToken) -> dict[str, Any]:
    fields = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    return {field: getattr(token, field) for field in fields}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as indented UTF-8 JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
