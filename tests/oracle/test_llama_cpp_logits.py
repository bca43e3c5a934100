"""llama.cpp loads our files and computes our logits from them, up to what it rounds and we do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import phigguf
from tiny_checkpoints import CASES, tokens_of, write_tiny_checkpoint

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

source, target, tokens, kv_type = sys.argv[1:]
tokens = json.loads(tokens)
model = Model(path_model=source, verbose=False)
parameters = llama_cpp.LlamaContextParams()
parameters.n_ctx = 256
parameters.type_k = parameters.type_v = int(kv_type)
parameters.flash_attn_type = 0
context = llama_cpp.LlamaContext(model=model, params=parameters, verbose=False)
batch = llama_cpp.LlamaBatch(n_tokens=len(tokens), embd=0, n_seq_max=1, verbose=False)
batch.set_batch(tokens, 0, True)
context.decode(batch)
np.save(target, [context.get_logits_ith(i) for i in range(len(tokens))])
"""
GGML_IDS = {"F32": 0, "F16": 1}


def llama_cpp_logits(model: Path, tokens: list[int], kv_type: str, target: Path) -> np.ndarray:
    arguments = [str(model), str(target), json.dumps(tokens), str(GGML_IDS[kv_type])]
    command = [sys.executable, "-c", LLAMA_CPP, *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return np.load(target)


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
    difference = model.logits(tokens) - theirs
    assert np.sqrt(np.mean(difference**2)) <= bound * theirs.std()


DIFFERENT = [case for case in CASES if case.startswith("phimoe")]


def distance(case: str, directory: Path) -> float:
    """Convert a tiny checkpoint and run it by both: how far apart, as a part of the spread."""
    write_tiny_checkpoint(directory, case)
    phigguf.convert(directory, directory / "model.gguf", "F32", progress=False)
    tokens = tokens_of(19)
    logits = phigguf.load(directory / "model.gguf", kv_type="F32").logits(tokens)
    theirs = llama_cpp_logits(directory / "model.gguf", tokens, "F32", directory / "logits.npy")
    return float(np.sqrt(np.mean((logits - theirs) ** 2)) / theirs.std())


# llama.cpp looks GELU up in a table of float16 numbers.
@pytest.mark.parametrize("case", [case for case in CASES if case not in DIFFERENT])
def test_logits_of_other_architectures_are_llama_cpps(case: str, tmp_path: Path) -> None:
    assert distance(case, tmp_path) < 1e-3


@pytest.mark.parametrize("case", DIFFERENT)
def test_llama_cpp_computes_another_phimoe(case: str, tmp_path: Path) -> None:
    """It loads the file, but norms without taking the mean off and mixes experts by plain softmax.

    `transformers`, and the code published with the model, have layer norms and SparseMixer.
    """
    assert 0.1 < distance(case, tmp_path) < np.inf
