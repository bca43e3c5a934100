"""Logits are those of `transformers`, for every Phi text model, at the lengths where they could differ.

Two correct float32 computations differ, so both are compared with `transformers` in float64: ours
has to be as close to it as its own float32 is. (It is about twice as close; one position more or
less in a sliding window, or the wrong LongRoPE factors, are off by a hundred times as much.)
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import phigguf
from conversion_cases import change_json
from golden.make_tiny_logits import logits_of, model_of
from phigguf.models import Model
from tiny_checkpoints import (
    CASES,
    LENGTHS,
    ORIGINAL,
    WINDOW,
    factors,
    lengths_of,
    tokens_of,
    write_tiny_checkpoint,
)

pytestmark = pytest.mark.oracle

AS_CLOSE = 1.5
ROUNDING = 1e-5  # of the logits' spread: what float32 loses at the least, sooner or later


def converted(directory: Path) -> Model:
    phigguf.convert(directory, directory / "model.gguf", "F32", progress=False)
    return phigguf.load(directory / "model.gguf", kv_type="F32")


class Pair:
    """The same weights in `transformers`, in both precisions, and here as float32."""

    def __init__(self, case: str, directory: Path, **changes: Any) -> None:
        self.single = model_of(case, directory, **changes)
        self.double = copy.deepcopy(self.single).double()
        self.ours = converted(directory)

    def check(self, logits: np.ndarray, tokens: list[int], slack: float = 1.0) -> None:
        """Compare with the last rows for a sequence; the bound comes from all of them."""
        exact = logits_of(self.double, tokens)
        own_error = np.abs(logits_of(self.single, tokens) - exact).max()
        bound = slack * AS_CLOSE * max(own_error, ROUNDING * exact.std())
        assert np.abs(logits - exact[-len(logits) :]).max() <= bound


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pair(case: str, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(case, tmp_path_factory.mktemp("checkpoint"))


def test_logits(case: str, pair: Pair) -> None:
    for length in lengths_of(case):
        tokens = tokens_of(length)
        pair.check(pair.ours.logits(tokens), tokens)


def test_mixed_batches(case: str, pair: Pair) -> None:
    """Each has its own factors, where `transformers` would give the longest one's to all."""
    prompts = [tokens_of(length) for length in reversed(lengths_of(case))]
    sessions = [pair.ours.session() for _ in prompts]
    for tokens, logits in zip(prompts, pair.ours.forward(sessions, prompts), strict=True):
        pair.check(logits, tokens, slack=2)  # a row may be rounded luckily by the other


def test_reading_on(case: str, pair: Pair) -> None:
    """Across every boundary, in pieces of different sizes and one token at a time."""
    original = lengths_of(case)[-1] // 2
    tokens, session = tokens_of(original + 40), pair.ours.session()
    pieces = (original - 33, 1, 23, 5, 1, 7, 1)  # the switch in a piece
    ones = (original - 1, 1, 1)  # the switch at a token
    for steps in (pieces, ones):
        session.truncate(0)
        for step in steps:
            logits = session.forward(tokens[len(session) : len(session) + step])
            pair.check(logits, tokens[: len(session)], slack=2)


def test_greedy_text(case: str, pair: Pair) -> None:
    """Across LongRoPE's switch, where every key has to be rotated anew."""
    prompt = tokens_of(lengths_of(case)[-1] // 2 - 3)
    text = pair.ours.generate(prompt, max_tokens=6, temperature=0).token_ids
    expected = list(prompt)
    while len(expected) < len(prompt) + len(text):
        expected.append(int(logits_of(pair.single, expected)[-1].argmax()))
    assert text == expected[len(prompt) :]


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("Phi-")])
def test_greedy_text_of_transformers_own_loop(case: str, tmp_path: Path) -> None:
    pair, prompt = Pair(case, tmp_path), tokens_of(ORIGINAL - 3)
    text = pair.ours.generate(prompt, max_tokens=6, temperature=0).token_ids
    expected = pair.single.generate(
        torch.tensor([prompt]), max_new_tokens=len(text), do_sample=False, eos_token_id=None
    )
    assert text == expected[0, len(prompt) :].tolist()


# --- Configurations: what they say is what `transformers` understands ---

UNSAID = dict.fromkeys(("sliding_window", "rope_theta", "original_max_position_embeddings"))
LONG = {"rope_type": "longrope", **factors(8)}
OUTER = {"original_max_position_embeddings": ORIGINAL}


@pytest.mark.parametrize(
    "changes",
    [
        {**OUTER, "rope_scaling": {"type": "longrope", **factors(8)}},
        {**OUTER, "rope_scaling": {"type": "su", **factors(8), **OUTER}},
        {**OUTER, "rope_scaling": {"type": "yarn", **factors(8), **OUTER}},
        {**OUTER, "rope_parameters": LONG},
        {**OUTER, "rope_parameters": {**LONG, "rope_theta": 77.0}},
        {**OUTER, "rope_parameters": LONG, "rope_scaling": LONG},
        {**OUTER, "rope_parameters": {**LONG, **OUTER}},
        {**OUTER, "rope_scaling": {**LONG, "factor": 5.0}},
        {**OUTER, "rope_scaling": {**LONG, "factor": 0.5}},
        {**OUTER, "rope_scaling": {**LONG, "attention_factor": 1.7}},
        {**OUTER, "rope_parameters": {**LONG, "type": "default"}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 9.0}},
        {"rope_parameters": {"rope_theta": 9.0, "partial_rotary_factor": 0.5}},
        {"rope_theta": 9.0, "partial_rotary_factor": 0.25, "rope_parameters": {}},
        {"num_key_value_heads": 2, "sliding_window": WINDOW, "hidden_act": "swish"},
    ],
    ids=str,
)
def test_configurations(changes: dict[str, Any], tmp_path: Path) -> None:
    pair = Pair("Phi-3-mini-4k", tmp_path, **{**UNSAID, **changes})
    for length in (WINDOW + 1, ORIGINAL, ORIGINAL + 1):
        tokens = tokens_of(length)
        pair.check(pair.ours.logits(tokens), tokens, slack=2)


def test_the_context_that_is_allocated_changes_nothing(tmp_path: Path) -> None:
    """llama.cpp chooses LongRoPE's factors by it."""
    write_tiny_checkpoint(tmp_path, "Phi-4-mini")
    change_json(tmp_path / "config.json", {"max_position_embeddings": 4096})
    whole = converted(tmp_path)
    for n_ctx in (max(LENGTHS), 200, 4096):
        model = phigguf.load(tmp_path / "model.gguf", n_ctx=n_ctx, kv_type="F32")
        for length in LENGTHS:
            logits, expected = (m.logits(tokens_of(length)) for m in (model, whole))
            assert logits.tobytes() == expected.tobytes()
