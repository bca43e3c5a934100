"""llama.cpp loads our files and computes our logits from them, up to what it rounds and we do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import phigguf
from tiny_checkpoints import CASES, ORIGINAL, WINDOW, tokens_of, write_tiny_checkpoint

pytestmark = pytest.mark.oracle

TEXT = (
    "And it came to pass in those days, that the word of the LORD came unto me, saying, Son of man"
)

# llama.cpp may end its process, so it gets its own. Its binding forgot where the vocabulary's size is.
LLAMA_CPP = """
import json, sys
import numpy as np
from cyllama.llama import llama_cpp

class Model(llama_cpp.LlamaModel):
    n_vocab = property(lambda self: self.get_vocab().n_vocab)

source, target, tokens, kv_type, n_ctx = sys.argv[1:]
tokens = json.loads(tokens)
model = Model(path_model=source, verbose=False)
parameters = llama_cpp.LlamaContextParams()
parameters.n_ctx = int(n_ctx)
parameters.type_k = parameters.type_v = int(kv_type)
parameters.flash_attn_type = 0
context = llama_cpp.LlamaContext(model=model, params=parameters, verbose=False)
batch = llama_cpp.LlamaBatch(n_tokens=len(tokens), embd=0, n_seq_max=1, verbose=False)
batch.set_batch(tokens, 0, True)
context.decode(batch)
np.save(target, [context.get_logits_ith(i) for i in range(len(tokens))])
"""
GGML_IDS = {"F32": 0, "F16": 1}


def llama_cpp_logits(
    model: Path, tokens: list[int], kv_type: str, target: Path, n_ctx: int = 256
) -> np.ndarray:
    arguments = [str(model), str(target), json.dumps(tokens), str(GGML_IDS[kv_type]), str(n_ctx)]
    command = [sys.executable, "-c", LLAMA_CPP, *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return np.load(target)


# A last bit may turn an activation's code to its neighbour; all tokens from there on show it.
K_QUANTS, ONE_CODE, FIRST = ("Q4_K_M", "Q6_K", "Q3_K_M"), 2.5e-2, 8


# The largest root mean square difference, as a part of the logits' spread. With a float32 cache only
# the order of sums is left, in whole floats and k-quants; llama.cpp also rounds activations to
# bfloat16 for BF16 weights, and their scales to float16 for the 32-wide formats.
@pytest.mark.parametrize(
    ("recipe", "kv_type", "bound"),
    [
        ("F32", "F32", 2e-6),
        ("F32", "F16", 5e-4),
        ("Q4_K_M", "F32", 2e-4),
        ("Q6_K", "F32", 2e-4),
        ("Q3_K_M", "F32", 2e-4),
        ("BF16", "F32", 4e-3),
        ("Q8_0", "F32", 1.5e-2),
        ("Q4_K_M_DOWN8", "F32", 1.5e-2),
        ("Q4_K_M", "F16", 2.5e-2),
    ],
)
def test_logits_are_llama_cpps(
    recipe: str, kv_type: str, bound: float, checkpoint: Path, tmp_path: Path
) -> None:
    file = tmp_path / "model.gguf"
    phigguf.convert(checkpoint, file, recipe, progress=False)
    model = phigguf.load(file, kv_type=kv_type)
    tokens = model.tokenizer.encode(TEXT)
    theirs = llama_cpp_logits(file, tokens, kv_type, tmp_path / "logits.npy")
    by_token = np.sqrt(np.mean((model.logits(tokens) - theirs) ** 2, axis=1)) / theirs.std()
    if recipe in K_QUANTS:
        assert by_token.max() <= ONE_CODE
        by_token = by_token[:FIRST]
    assert np.sqrt(np.mean(by_token**2)) <= bound


# --- Every architecture: where llama.cpp agrees with `transformers`, and where and why it does not ---

PHIMOE = [case for case in CASES if case.startswith("phimoe")]
WINDOWED = ["Phi-3-mini-4k", "Phi-3-medium-4k"]
LONG_ROPE = ["Phi-3-mini-128k", "Phi-3.5-mini", "Phi-3-medium-128k", "Phi-4-mini"]
EVERYTHING = "phi3 with everything"  # a window and LongRoPE: no length is right
TRUE_LENGTH = "Phi-4-mini at its true length"
PLAIN = [case for case in CASES if case not in (*PHIMOE, *WINDOWED, *LONG_ROPE, EVERYTHING)]
EQUAL = 1e-3  # llama.cpp looks GELU up in a table of float16 numbers
APART = 0.1


def ours(directory: Path, case: str, length: int, **changes: Any) -> np.ndarray:
    """Logits of a case, its configuration changed."""
    write_tiny_checkpoint(directory / "ours", case, **changes)
    phigguf.convert(directory / "ours", directory / "ours.gguf", "F32", progress=False)
    return phigguf.load(directory / "ours.gguf", kv_type="F32").logits(tokens_of(length))


def theirs(directory: Path, case: str, length: int, n_ctx: int = 256) -> np.ndarray:
    """What llama.cpp makes of the file of a case."""
    write_tiny_checkpoint(directory / "theirs", case)
    model = directory / "theirs.gguf"
    phigguf.convert(directory / "theirs", model, "F32", progress=False)
    return llama_cpp_logits(model, tokens_of(length), "F32", directory / "logits.npy", n_ctx)


def distance(logits: np.ndarray, other: np.ndarray) -> float:
    """Root of the mean square difference, as a part of the spread."""
    return float(np.sqrt(np.mean((logits - other) ** 2)) / other.std())


@pytest.mark.parametrize(
    ("case", "length"),
    [
        *((case, 19) for case in PLAIN),
        *((case, WINDOW) for case in WINDOWED),
        *((case, 2 * ORIGINAL) for case in LONG_ROPE),
    ],
)
def test_logits_of_every_architecture_are_llama_cpps(
    case: str, length: int, tmp_path: Path
) -> None:
    assert distance(ours(tmp_path, case, length), theirs(tmp_path, case, length)) < EQUAL


@pytest.mark.parametrize("case", WINDOWED)
def test_llama_cpp_has_no_sliding_window(case: str, tmp_path: Path) -> None:
    """The file names the window and the models were trained with it, but all positions are seen."""
    length = WINDOW + 6
    expected = theirs(tmp_path, case, length)
    logits = ours(tmp_path, case, length)
    assert distance(logits[:WINDOW], expected[:WINDOW]) < EQUAL
    assert distance(logits[WINDOW:], expected[WINDOW:]) > APART
    assert distance(ours(tmp_path, case, length, sliding_window=None), expected) < EQUAL


@pytest.mark.parametrize("case", LONG_ROPE)
def test_llama_cpp_takes_long_factors_in_short_sequences(case: str, tmp_path: Path) -> None:
    """It looks at the context allocated, here 256, where LongRoPE means the sequence's length.

    The same text would get other logits with another `n_ctx`.
    """
    expected = theirs(tmp_path, case, ORIGINAL)
    assert distance(ours(tmp_path, case, ORIGINAL), expected) > APART
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    key = "rope_scaling" if "rope_scaling" in config else "rope_parameters"
    long_only = {**config[key], "short_factor": config[key]["long_factor"]}
    assert distance(ours(tmp_path, case, ORIGINAL, **{key: long_only}), expected) < EQUAL


def test_llama_cpps_logits_depend_on_the_context_that_is_allocated(tmp_path: Path) -> None:
    logits = ours(tmp_path, TRUE_LENGTH, 19)
    assert distance(logits, theirs(tmp_path, TRUE_LENGTH, 19, n_ctx=4096)) < EQUAL
    assert distance(logits, theirs(tmp_path, TRUE_LENGTH, 19, n_ctx=8192)) > APART


@pytest.mark.parametrize("case", PHIMOE)
def test_llama_cpp_computes_another_phimoe(case: str, tmp_path: Path) -> None:
    """It loads the file, but norms without taking the mean off and mixes experts by plain softmax.

    `transformers`, and the code published with the model, have layer norms and SparseMixer.
    """
    assert APART < distance(ours(tmp_path, case, 19), theirs(tmp_path, case, 19)) < np.inf
