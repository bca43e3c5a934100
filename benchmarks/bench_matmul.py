"""How fast each format is multiplied, by every instruction set of this CPU, beside the CPU's limits.

    python benchmarks/bench_matmul.py --threads 2 --json matmul.json

For 1 to 512 tokens, in multiply-adds per second. One token reads a weight larger than caches, so that
its bytes per second stand beside the memory's. Instruction sets take turns on the same bytes, and
their results must be equal.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from limits import LIMITS, compile_limits, measure_limits
from measuring import machine, summary, time_in_turns, write_json

import phigguf
from phigguf import _core

COLUMNS = 3072
TOKENS = (1, 4, 8, 64, 512)
WEIGHT_BYTES = 128 << 20
MACS = {"scalar": 1 << 24}  # of a call at most, so that it ends; others:
MOST_MACS = 1 << 31


def weight(fmt: str) -> npt.NDArray[np.uint8]:
    """Return rows of a format, larger than caches; few of them are different."""
    rows = np.random.default_rng(0).standard_t(5, (64, COLUMNS)).astype(np.float32)
    blocks = phigguf.quantize(0.02 * rows, fmt)
    return np.tile(blocks, (WEIGHT_BYTES // blocks.nbytes, 1))


def multiply(isa: str, x: npt.NDArray[np.float32], w: npt.NDArray[np.uint8], fmt: str) -> Any:
    """Multiply by one instruction set."""
    _core.set_isa(isa)
    return _core.matmul(x, w, fmt)


def compare(fmt: str, tokens: int, w: npt.NDArray[np.uint8], runs: int) -> Iterator[dict[str, Any]]:
    """Yield one result for each instruction set."""
    x = np.random.default_rng(1).standard_normal((tokens, COLUMNS)).astype(np.float32)
    counts = {
        isa: min(len(w), max(16, MACS.get(isa, MOST_MACS) // (tokens * COLUMNS)))
        for isa in phigguf.available_isas()
    }
    few = w[:16]
    first, *others = (multiply(isa, x, few, fmt) for isa in counts)
    if not all(np.array_equal(first, other) for other in others):
        sys.exit(f"{fmt}: the results of the instruction sets differ")
    calls = {isa: partial(multiply, isa, x, w[:rows], fmt) for isa, rows in counts.items()}
    for isa, seconds in time_in_turns(calls, runs).items():
        rows = w[: counts[isa]]
        yield {
            "format": fmt,
            "isa": isa,
            "tokens": tokens,
            "macs_per_second": summary([len(rows) * COLUMNS * tokens / s for s in seconds]),
            "bytes_per_second": summary([rows.nbytes / s for s in seconds]),
        }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write there instead of to stdout")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--formats", nargs="+", help="only these")
    parser.add_argument("--compiler", default="c++")
    arguments = parser.parse_args()
    phigguf.set_num_threads(arguments.threads)
    formats = arguments.formats or [fmt["name"] for fmt in _core.tensor_types()]
    results, limits = [], []
    with tempfile.TemporaryDirectory() as folder:
        program = compile_limits(Path(folder), arguments.compiler)
        for fmt in formats:
            w = weight(fmt)
            for tokens in TOKENS:
                results += compare(fmt, tokens, w, arguments.runs)
            limits.append(measure_limits(program, arguments.threads))
    measured = {
        "machine": machine(arguments.threads, ""),
        "int8_instruction": limits[0]["int8_instruction"],
        "limits": {
            key: summary([found["all" if "all" in found else "one"][key] for found in limits])
            for key in LIMITS
        },
        "results": results,
    }
    write_json(measured, arguments.json)


if __name__ == "__main__":
    main()
