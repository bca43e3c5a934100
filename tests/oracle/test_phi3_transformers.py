"""Logits are those of `transformers`, for every feature that Phi-3's configuration can turn on.

Two correct float32 computations differ, so both are compared with `transformers` in float64: ours
has to be as close to it as its own float32 is. (It is about twice as close; one position more or
less in a sliding window, or the wrong LongRoPE factors, are off by a hundred times as much.)
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
from make_synthetic_checkpoint import Geometry, write_checkpoint

import phigguf

pytestmark = pytest.mark.oracle

AS_CLOSE = 1.5
ROUNDING = 3e-6  # of the logits' spread: what a handful of float32 operations may lose

ORIGINAL, WINDOW = 40, 33
SMALL = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "original_max_position_embeddings": 256,
    "sliding_window": None,
    "initializer_range": 0.15,  # large enough for attention to be far from uniform
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attn_implementation": "eager",
}


def long_rope(pairs):
    rng = np.random.default_rng(4)
    return {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": rng.uniform(1, 1.3, pairs).tolist(),
        "long_factor": rng.uniform(1, 8, pairs).tolist(),
        "original_max_position_embeddings": ORIGINAL,
    }


CASES = {
    "multi-head": {},
    "grouped-query": {"num_attention_heads": 8, "num_key_value_heads": 2},
    "one key-value head": {"num_attention_heads": 8, "num_key_value_heads": 1},
    "tied": {"tie_word_embeddings": True},
    "sliding window": {"sliding_window": WINDOW},
    "another theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 250000.0}},
    "LongRoPE": {
        "rope_parameters": long_rope(16),
        "original_max_position_embeddings": ORIGINAL,
    },
    "all at once": {
        "hidden_size": 256,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "sliding_window": WINDOW,
        "tie_word_embeddings": True,
        "rope_parameters": {**long_rope(24), "partial_rotary_factor": 0.75},
        "original_max_position_embeddings": ORIGINAL,
    },
}
LENGTHS = [1, 2, WINDOW - 1, WINDOW, WINDOW + 1, ORIGINAL, ORIGINAL + 1, 65, 2 * ORIGINAL, 150]


class Pair:
    """The same random weights in `transformers`, in both precisions, and here as float32."""

    def __init__(self, settings, directory):
        import torch
        import transformers

        torch.manual_seed(7)
        config = transformers.Phi3Config(**{**SMALL, **settings})
        self.single = transformers.Phi3ForCausalLM(config).eval()
        with torch.no_grad():
            for name, weight in self.single.named_parameters():
                if name.endswith("norm.weight"):  # ones would hide a norm that is left out
                    weight.uniform_(0.5, 1.5)
        self.double = copy.deepcopy(self.single).double()
        # The tokenizer is the synthetic checkpoint's; the rest is overwritten.
        write_checkpoint(directory, Geometry(SMALL["vocab_size"], 64, 64, 1, 1, 1))
        self.single.save_pretrained(directory)
        phigguf.convert(directory, directory / "model.gguf", "F32", progress=False)
        self.ours = phigguf.load(directory / "model.gguf", kv_type="F32")

    def expected(self, tokens, rows=slice(None)):
        """The exact logits, and the largest error to allow."""
        import torch

        ids = torch.tensor([tokens])
        with torch.no_grad():
            exact = self.double(ids).logits[0].numpy()[rows]
            rounded = self.single(ids).logits[0].numpy()[rows]
        own_error = np.abs(rounded - exact).max()
        return exact, AS_CLOSE * max(own_error, ROUNDING * exact.std())


@pytest.fixture(scope="module", params=CASES)
def pair(request, tmp_path_factory):
    return Pair(CASES[request.param], tmp_path_factory.mktemp("checkpoint"))


def tokens_of(length):
    return np.random.default_rng(length).integers(3, SMALL["vocab_size"], length).tolist()


@pytest.mark.parametrize("length", LENGTHS)
def test_logits(pair, length):
    tokens = tokens_of(length)
    exact, bound = pair.expected(tokens)
    logits = pair.ours.logits(tokens)
    assert logits.shape == exact.shape
    assert np.abs(logits - exact).max() <= bound


def test_reading_on_gives_the_logits_of_the_whole(pair):
    """Across every boundary, in pieces of different sizes and one token at a time."""
    tokens = tokens_of(2 * ORIGINAL)
    session = pair.ours.session()
    for piece in (7, 1, 23, 1, 1, 1, 5, 1, 1, 13, 1):
        logits = session.forward(tokens[len(session) : len(session) + piece])
        exact, bound = pair.expected(tokens[: len(session)], slice(-1, None))
        assert np.abs(logits - exact).max() <= 2 * bound  # a bound from one row is a chancy one


def test_greedy_text_is_the_same(pair):
    import torch

    prompt = tokens_of(ORIGINAL - 3)
    session, unread, text = pair.ours.session(), prompt, []
    for _ in range(8):
        unread = [int(session.forward(unread)[-1].argmax())]
        text += unread
    with torch.no_grad():
        expected = pair.single.generate(
            torch.tensor([prompt]), max_new_tokens=8, do_sample=False, eos_token_id=None
        )
    assert text == expected[0, len(prompt) :].tolist()
