"""How fast each block format is quantized, by every instruction set of this CPU and by ggml.

    PYTHONPATH=tests python benchmarks/bench_quantize.py --json quantize.json

needs the [test] extra, whose libggml-python is the peer. All run in turns on the same weights, and
the bytes must be equal. The formats whose scale needs no search are bound by memory, so they get a
matrix larger than caches, and are also compared with merely reading it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measuring import machine, ratios, summary, time_in_turns, write_json

from kernels.ggml_oracles import libggml_quantize_into
from phigguf import _core

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

COLUMNS = 4096
PEER = "libggml-python"
# Formats whose scale follows from the largest magnitude or the range, if no importance says else.
UNSEARCHED = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"}


def heavy_tailed(weights: int) -> Floats:
    """Return weights such as trained ones: Student's t, of which a pool is repeated."""
    pool = np.random.default_rng(0).standard_t(5, min(weights, 1 << 22)) * 0.02
    return np.resize(pool.astype(np.float32), (weights // COLUMNS, COLUMNS))


def importances() -> Floats:
    """Return a mean squared activation for each column."""
    return np.random.default_rng(1).gamma(0.5, 2.0, COLUMNS).astype(np.float32)


def row_bytes(fmt: dict[str, Any]) -> int:
    """Return the bytes of a row in a format."""
    return COLUMNS // int(fmt["block_width"]) * int(fmt["block_bytes"])


class Quantizers:
    """The calls to be compared for one format; each writes the same buffer again."""

    def __init__(
        self, x: Floats, fmt: dict[str, Any], imatrix: Floats | None, threads: int
    ) -> None:
        self.x, self.fmt, self.imatrix, self.threads = x, fmt, imatrix, threads
        self.blocks = np.zeros((len(x), row_bytes(fmt)), np.uint8)

    def calls(self) -> dict[str, Callable[[], None]]:
        """Return ggml's call and one for each instruction set, by name."""
        ours = {isa: partial(self.run_isa, isa) for isa in _core.available_isas()}
        return {PEER: self.run_ggml, **ours}

    def run_isa(self, isa: str) -> None:
        """Quantize by one of phigguf's instruction sets."""
        _core.set_isa(isa)
        name, source = self.fmt["name"], self.x.view(np.uint8)
        _core.recode(source, "F32", self.blocks, name, COLUMNS, self.imatrix, self.threads)

    def run_ggml(self) -> None:
        """Quantize by ggml, which leaves dividing the rows among threads to its caller."""
        with ThreadPoolExecutor(self.threads) as pool:
            parts = (np.array_split(array, self.threads) for array in (self.x, self.blocks))
            list(pool.map(self._run_ggml_on, *parts))

    def _run_ggml_on(self, x: Floats, blocks: Bytes) -> None:
        libggml_quantize_into(x, blocks, self.fmt["id"], self.imatrix)

    def check_bytes(self) -> None:
        """Exit if an instruction set's bytes are not ggml's."""
        self.run_ggml()
        expected = self.blocks.copy()
        for isa in _core.available_isas():
            self.blocks[:] = 0
            self.run_isa(isa)
            if not np.array_equal(self.blocks, expected):
                sys.exit(f"{self.fmt['name']}: the bytes of {isa} are not ggml's")


def compare(
    x: Floats, fmt: dict[str, Any], imatrix: Floats | None, threads: int, runs: int
) -> dict[str, Any]:
    """Measure one format: weights per second of all, and ratios to ggml's."""
    quantizers = Quantizers(x, fmt, imatrix, threads)
    quantizers.check_bytes()
    calls: dict[str, Callable[[], object]] = {**quantizers.calls()}
    reads_memory = fmt["name"] in UNSEARCHED and imatrix is None
    if reads_memory:
        calls["read"] = partial(read, x, threads)
    seconds = time_in_turns(calls, runs)
    isas = _core.available_isas()
    result: dict[str, Any] = {
        "format": fmt["name"],
        "imatrix": imatrix is not None,
        "weights": x.size,
        "weights_per_second": {
            name: summary([x.size / s for s in seconds[name]]) for name in (PEER, *isas)
        },
        "ratio_to_ggml": {isa: ratios(seconds[PEER], seconds[isa]) for isa in isas},
    }
    if reads_memory:
        result["read_bytes_per_second"] = summary([x.nbytes / s for s in seconds["read"]])
        result["fraction_of_read"] = {isa: ratios(seconds["read"], seconds[isa]) for isa in isas}
    return result


def read(x: Floats, threads: int) -> None:
    """Read every number once: NumPy finds a maximum as fast as memory delivers."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(np.max, np.array_split(x, threads)))


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield one result for each format, without and with an importance matrix."""
    small = heavy_tailed(arguments.weights)
    large = heavy_tailed(arguments.memory_weights)
    for fmt in _core.tensor_types():
        if fmt["block_width"] == 1 or fmt["name"] not in (arguments.formats or fmt["name"]):
            continue
        for imatrix in (None, importances()):
            x = large if imatrix is None and fmt["name"] in UNSEARCHED else small
            print(fmt["name"], "with imatrix" if imatrix is not None else "", file=sys.stderr)
            yield compare(x, dict(fmt), imatrix, arguments.threads, arguments.runs)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write there instead of to stdout")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--formats", nargs="+", help="only these")
    parser.add_argument("--weights", type=int, default=1 << 22)
    parser.add_argument(
        "--memory-weights", type=int, default=1 << 28, help="for formats bound by memory"
    )
    arguments = parser.parse_args()
    peer = f"{PEER} {version(PEER)}"
    result = {"machine": machine(arguments.threads, peer), "results": list(measure(arguments))}
    write_json(result, arguments.json)


if __name__ == "__main__":
    main()
