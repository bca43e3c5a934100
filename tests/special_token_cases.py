"""Combinations of what tokenizer.json, tokenizer_config.json and config.json say of tokens."""

from __future__ import annotations

import itertools
from typing import Any

TEXTS = ["<unk>", "<s>", "</s>", "<pad>", "[SEP]", "[CLS]"]
IDS = {text: token for token, text in enumerate(TEXTS)}

SINGLES = ["A", "<s> A", "A </s>", "<s> A </s>", "[CLS] A [SEP]"]
PAIRS = [
    "A B",
    "<s> A <s> B",
    "<s> A </s> B </s>",
    "A </s> B",
    "A </s> </s> B",
    "A <s> </s> B",
    "[CLS] A [SEP] B [SEP]",
]

TOKENIZER_CONFIGS: list[dict[str, Any]] = [
    {"model_max_length": 7},
    {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
    {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True, "add_eos_token": False},
    {"bos_token": {"content": "<s>"}, "add_bos_token": False, "add_eos_token": True},
    {"cls_token": "[CLS]", "sep_token": "[SEP]", "add_sep_token": True},
    {"bos_token": None, "eos_token": "absent", "add_bos_token": "yes"},
]

CONFIGS: list[dict[str, Any]] = [
    {},
    {"bos_token_id": 3, "eos_token_id": 4, "pad_token_id": 0, "unk_token_id": None},
]


def items(template: str) -> list[dict[str, Any]]:
    """A post-processor's template: A and B are texts, all else special tokens."""
    return [
        {"Sequence" if name in "AB" else "SpecialToken": {"id": name, "type_id": 0}}
        for name in template.split()
    ]


def post_processors() -> dict[str, dict[str, Any] | None]:
    """Every post-processor by a name for it."""
    byte_level = {"type": "ByteLevel"}
    templates = {
        f"{single}, {pair}": {
            "type": "TemplateProcessing",
            "single": items(single),
            "pair": items(pair),
        }
        for single, pair in itertools.product(SINGLES, PAIRS)
    }
    both = {"type": "Sequence", "processors": [byte_level, templates["<s> A, A B"]]}
    return {"none": None, "byte level": byte_level, **templates, "both": both}


def tokenizer_json(post_processor: dict[str, Any] | None) -> dict[str, Any]:
    """A tokenizer.json with all of the tokens and one post-processor."""
    added = [{"id": token, "content": text} for text, token in IDS.items()]
    return {"added_tokens": added, "post_processor": post_processor}
