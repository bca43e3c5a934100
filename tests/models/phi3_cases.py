"""The tiny models, and the lengths, for which golden logits are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tiny_phi3 import EVERYTHING, ORIGINAL, PLAIN, WINDOW

CASES = {
    "plain": PLAIN,
    "multi-head": replace(PLAIN, kv_heads=4),
    "one key-value head": replace(PLAIN, kv_heads=1),
    "partial rotary": replace(PLAIN, rotary=12),
    "sliding window": replace(PLAIN, window=WINDOW),
    "LongRoPE": replace(PLAIN, original=ORIGINAL),
    "tied": replace(PLAIN, tied=True),
    "everything": EVERYTHING,
}
LENGTHS = [1, WINDOW - 1, WINDOW, WINDOW + 1, ORIGINAL, ORIGINAL + 1, 2 * ORIGINAL]


def tokens_of(length: int) -> list[int]:
    """A sequence of its own for each length."""
    return np.random.default_rng(length).integers(3, PLAIN.vocab, length).tolist()
