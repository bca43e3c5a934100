"""One engine with one model in a process of its own, which times what it is told to.

    python speed_worker.py ENGINE MODEL THREADS CONTEXT

ENGINE is phigguf, llama.cpp, llama.cpp-no-repack or ik_llama.cpp; the interpreter must have its
package. Writes the seconds that loading took, then reads lines `DEPTH TOKENS BATCH`: how many tokens
come before, how many are to be read, and how many at once. Answers each with the seconds it took.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import random
import sys
import time
from typing import Any

CHUNK = 512  # tokens of a call at most


class Phigguf:
    """phigguf's `Session`."""

    def __init__(self, model: str, threads: int, context: int) -> None:
        import phigguf

        self.model = phigguf.load(model, threads=threads)
        self.session = self.model.session()
        self.n_vocab = self.model.n_vocab

    def keep(self, length: int) -> None:
        """Forget all but the first tokens."""
        self.session.truncate(length)

    def read(self, tokens: list[int]) -> None:
        """Read tokens and wait for the logits of the last one."""
        self.session.forward(tokens)


class Llama:
    """What the C interfaces of llama.cpp and ik_llama.cpp have in common."""

    def open(self, api: Any, model: str, model_params: Any, context_params: Any) -> None:
        """Load the model, with the functions of a Python binding."""
        self.api = api
        api.llama_backend_init()
        self.model = api.llama_model_load_from_file(model.encode(), model_params)
        self.context = api.llama_init_from_model(self.model, context_params)
        self.n_vocab = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))
        self.batch = api.llama_batch_init(CHUNK, 0, 1)
        self.length = 0

    @staticmethod
    def configure(params: Any, threads: int, context: int) -> Any:
        """Set the parameters of a context that all engines share."""
        params.n_ctx, params.n_batch, params.n_ubatch = context, CHUNK, CHUNK
        params.n_threads = params.n_threads_batch = threads
        return params

    def read(self, tokens: list[int]) -> None:
        """Read tokens and wait for the logits of the last one."""
        batch = self.batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, self.length + i, False
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        batch.logits[len(tokens) - 1] = True
        if self.api.llama_decode(self.context, batch) != 0:
            sys.exit("llama_decode failed")
        self.api.llama_get_logits_ith(self.context, -1)[0]
        self.length += len(tokens)


class LlamaCpp(Llama):
    """llama.cpp through llama-cpp-python, with its own defaults."""

    repack = True

    def __init__(self, model: str, threads: int, context: int) -> None:
        from llama_cpp import llama_cpp as api

        params = api.llama_model_default_params()
        params.use_extra_bufts = self.repack
        context_params = self.configure(api.llama_context_default_params(), threads, context)
        self.open(api, model, params, context_params)

    def keep(self, length: int) -> None:
        """Forget all but the first tokens."""
        self.api.llama_memory_seq_rm(self.api.llama_get_memory(self.context), 0, length, -1)
        self.length = length


class LlamaCppNoRepack(LlamaCpp):
    """llama.cpp with the weights left as they lie in the file (`--repack 0`)."""

    repack = False


class IkLlama(Llama):
    """ik_llama.cpp through ik-llama-cpp-python, with its own defaults (flash attention)."""

    def __init__(self, model: str, threads: int, context: int) -> None:
        package = importlib.util.find_spec("ik_llama_cpp").submodule_search_locations[0]
        ctypes.CDLL(f"{package}/lib/libggml.so", ctypes.RTLD_GLOBAL)  # its wheel has no rpath
        from ik_llama_cpp import _ctypes_api as api

        context_params = self.configure(api.llama_context_default_params(), threads, context)
        context_params.flash_attn = True
        self.open(api, model, api.llama_model_default_params(), context_params)
        self.remove = api._lib.llama_kv_cache_seq_rm
        self.remove.argtypes = [ctypes.c_void_p, *[ctypes.c_int32] * 3]

    def keep(self, length: int) -> None:
        """Forget all but the first tokens."""
        self.remove(self.context, 0, length, -1)
        self.length = length


ENGINES = {
    "phigguf": Phigguf,
    "llama.cpp": LlamaCpp,
    "llama.cpp-no-repack": LlamaCppNoRepack,
    "ik_llama.cpp": IkLlama,
}


def main() -> None:
    """Serve until the input ends."""
    name, model, threads, context = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    start = time.perf_counter()
    engine = ENGINES[name](model, int(threads), int(context))
    print(time.perf_counter() - start, file=answers)
    draw = random.Random(0)
    tokens = [draw.randrange(engine.n_vocab) for _ in range(int(context))]
    length = 0
    for line in sys.stdin:
        depth, count, batch = map(int, line.split())
        engine.keep(min(length, depth))
        for at in range(min(length, depth), depth, CHUNK):
            engine.read(tokens[at : min(at + CHUNK, depth)])
        start = time.perf_counter()
        for at in range(depth, depth + count, batch):
            engine.read(tokens[at : min(at + batch, depth + count)])
        print(time.perf_counter() - start, file=answers)
        length = depth + count


if __name__ == "__main__":
    main()
