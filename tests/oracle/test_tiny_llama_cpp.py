"""Files written here run in llama.cpp, with logits as close as its float16 tables and cache allow."""

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

LENGTH = 19  # no LongRoPE switch, nor the end of a sliding window, where llama.cpp differs
CLOSE = 0.03  # of the logits' spread

# llama.cpp prints on every model and ends its process on some, so it gets its own.
LLAMA_CPP = """
import json, sys
from cyllama.llama import llama_cpp
path, tokens = sys.argv[1:]
class Model(llama_cpp.LlamaModel):  # whose context asks for a size that the binding left out
    n_vocab = property(lambda self: self.get_vocab().n_vocab)
model = Model(path, llama_cpp.LlamaModelParams())
parameters = llama_cpp.LlamaContextParams()
parameters.n_ctx = 64
context = llama_cpp.LlamaContext(model, parameters)
context.decode(llama_cpp.llama_batch_get_one(json.loads(tokens)))
print(json.dumps(list(context.get_logits())))
"""


def llama_cpp_logits(path: Path, tokens: list[int]) -> np.ndarray:
    command = [sys.executable, "-c", LLAMA_CPP, str(path), json.dumps(tokens)]
    answer = subprocess.run(command, check=True, capture_output=True, timeout=300, text=True)
    return np.array(json.loads(answer.stdout.splitlines()[-1]))


@pytest.mark.parametrize("case", CASES)
def test_llama_cpp_computes_about_the_same(case: str, tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "model", case)
    phigguf.convert(tmp_path / "model", tmp_path / "model.gguf", "F32", progress=False)
    logits = phigguf.load(tmp_path / "model.gguf").logits(tokens_of(LENGTH))[-1]
    theirs = llama_cpp_logits(tmp_path / "model.gguf", tokens_of(LENGTH))
    assert np.abs(logits - theirs).max() < CLOSE * logits.std()
