"""How long whole files take, and how much memory, beside llama.cpp's converter and quantizer.

    PYTHONPATH=tests:tools python benchmarks/bench_convert.py CHECKPOINT --output-dir /dev/shm \
        --peer-python PYTHON --convert-script LLAMA_CPP/convert_hf_to_gguf.py --json convert.json

PYTHON is an interpreter with what the script needs (torch, transformers, gguf) and with cyllama or
llama-cpp-python for the quantizer. CHECKPOINT is made in the geometry if it does not exist. Every
step is a process of its own, as a user would run it, with its input in the page cache; phigguf's
are run with one thread too, to show how they scale. Memory is sampled from /proc, so this needs
Linux.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from make_synthetic_checkpoint import GEOMETRIES, Geometry, write_checkpoint
from measuring import machine, ratios, summary, write_json

from phigguf.recipes import find_recipe
from protobuf_bytes import BPE, BYTE, bytes_field, integer_field, piece, sentencepiece_model

SAMPLING_INTERVAL = 0.01  # seconds
ALONE = ", one thread"  # ends the names of such steps
# Of a SentencePiece model: the algorithm (3), with a piece for each byte (35).
TRAINER_SPEC = bytes_field(2, integer_field(3, BPE) + integer_field(35, 1))

QUANTIZE = """
import ctypes, sys
source, target, file_type, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
try:
    from cyllama.llama import llama_cpp
    parameters = llama_cpp.LlamaModelQuantizeParams()
    parameters.ftype, parameters.nthread = file_type, threads
    llama_cpp.model_quantize(source, target, parameters)
except ImportError:
    import llama_cpp
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = file_type, threads
    paths = source.encode(), target.encode()
    sys.exit(llama_cpp.llama_model_quantize(*paths, ctypes.byref(parameters)))
"""

QUANTIZER_VERSION = """
from importlib.metadata import PackageNotFoundError, version
for name in ("cyllama", "llama-cpp-python"):
    try:
        print(name, version(name))
        break
    except PackageNotFoundError:
        pass
"""


@dataclass(frozen=True)
class Usage:
    """What a process took.

    Attributes
    ----------
    seconds
        From start to end.
    anonymous_bytes
        The most memory that backs no file, among samples.
    resident_bytes
        The most memory, pages of mapped files included.
    """

    seconds: float
    anonymous_bytes: int
    resident_bytes: int


def run(command: Sequence[str | Path], threads: int) -> Usage:
    """Run a process and watch its memory; exit with its last words if it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        with peak_anonymous(process.pid) as peak:
            _, status, resources = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(output.read().decode(errors="replace")[-2000:] + f"\nfailed: {command}")
    return Usage(seconds, peak[0], resources.ru_maxrss * 1024)


@contextmanager
def peak_anonymous(pid: int) -> Iterator[list[int]]:
    """Sample a process's anonymous memory until the block ends; the one item is the peak."""
    peak = [0]
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLING_INTERVAL):
            peak[0] = max(peak[0], anonymous_bytes(pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        ended.set()
        sampler.join()


def anonymous_bytes(pid: int) -> int:
    """Read a process's anonymous memory; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


class Steps:
    """The processes to be measured, on files in the output directory."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.checkpoint: Path = arguments.checkpoint
        self.threads: int = arguments.threads
        self.intermediate = arguments.output_dir / "llama.cpp-float.gguf"
        self.theirs = arguments.output_dir / "llama.cpp.gguf"
        self.ours = arguments.output_dir / "phigguf.gguf"

    def run_all(self) -> dict[str, Usage]:
        """Run all once, each fed by files in memory and begun with nothing left to write."""
        weights = list(self.checkpoint.glob("*.safetensors"))
        usage: dict[str, Usage] = {}

        def step(
            name: str, inputs: Iterable[Path], command: Sequence[str | Path], threads: int
        ) -> None:
            for file in inputs:
                read_through(file)
            os.sync()
            usage[name] = run(command, threads)
            print(f"{usage[name].seconds:8.2f} s  {name}", file=sys.stderr)

        step("llama.cpp convert", weights, self._convert_script(), self.threads)
        step("llama.cpp quantize", [self.intermediate], self._quantizer(), self.threads)
        for suffix, threads in (("", self.threads), (ALONE, 1)):
            step("phigguf quantize" + suffix, [self.intermediate], self._quantize(threads), threads)
            if not filecmp.cmp(self.ours, self.theirs, shallow=False):
                sys.exit(f"{self.ours} and {self.theirs} differ")
            self.ours.unlink()
        for file in (self.intermediate, self.theirs):
            file.unlink()
        for suffix, threads in (("", self.threads), (ALONE, 1)):
            step("phigguf convert" + suffix, weights, self._convert(threads), threads)
            self.ours.unlink()
        return usage

    def _quantize(self, threads: int) -> list[str | Path]:
        files = [self.intermediate, self.ours]
        command = [sys.executable, "-m", "phigguf", "quantize", *files, self.arguments.type]
        return [*command, "--threads", str(threads)]

    def _convert(self, threads: int) -> list[str | Path]:
        command = [sys.executable, "-m", "phigguf", "convert", self.checkpoint, "-o", self.ours]
        return [*command, "--type", self.arguments.type, "--threads", str(threads)]

    def _convert_script(self) -> list[str | Path]:
        kind = self.arguments.intermediate
        script = [self.arguments.peer_python, self.arguments.convert_script, self.checkpoint]
        return [*script, "--outfile", self.intermediate, "--outtype", kind]

    def _quantizer(self) -> list[str | Path]:
        file_type = find_recipe(self.arguments.type).file_type
        python = self.arguments.quantizer_python or self.arguments.peer_python
        files = [self.intermediate, self.theirs]
        return [python, "-c", QUANTIZE, *files, str(file_type), str(self.threads)]


def read_through(file: Path) -> None:
    """Bring a file into the page cache."""
    buffer = bytearray(1 << 24)
    with file.open("rb", buffering=0) as source:
        while source.readinto(buffer):
            pass


def quantizer_version(python: str) -> str:
    """Return the name and version of the package that brings llama.cpp's quantizer."""
    command = [python, "-c", QUANTIZER_VERSION]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def report(rounds: Sequence[dict[str, Usage]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Gather the rounds into one result."""
    seconds = {name: [each[name].seconds for each in rounds] for name in rounds[0]}
    both = [
        each["llama.cpp convert"].seconds + each["llama.cpp quantize"].seconds for each in rounds
    ]
    python = arguments.quantizer_python or arguments.peer_python
    return {
        "machine": machine(arguments.threads, quantizer_version(python)),
        "checkpoint": {"geometry": arguments.geometry, "layers": arguments.layers},
        "bytes": sum(file.stat().st_size for file in arguments.checkpoint.glob("*.safetensors")),
        "type": arguments.type,
        "intermediate": arguments.intermediate,
        "output_dir": str(arguments.output_dir),
        "steps": {
            name: {
                "seconds": summary(seconds[name]),
                "anonymous_bytes": max(each[name].anonymous_bytes for each in rounds),
                "resident_bytes": max(each[name].resident_bytes for each in rounds),
            }
            for name in seconds
        },
        "times_faster": {
            "quantize": ratios(seconds["llama.cpp quantize"], seconds["phigguf quantize"]),
            "convert": ratios(both, seconds["phigguf convert"]),
        },
        "times_faster_than_one_thread": {
            step: ratios(seconds[f"phigguf {step}{ALONE}"], seconds[f"phigguf {step}"])
            for step in ("quantize", "convert")
        },
    }


def make_checkpoint(directory: Path, name: str, layers: int | None, dtype: str) -> None:
    """Write a checkpoint with random weights, unless there is one."""
    if directory.exists():
        return
    sizes = vars(GEOMETRIES[name])
    geometry = Geometry(**{**sizes, "num_hidden_layers": layers or sizes["num_hidden_layers"]})
    write_checkpoint(directory, geometry, dtype=dtype)
    add_sentencepiece_model(directory)


def add_sentencepiece_model(directory: Path) -> None:
    """Write the vocabulary in the one form that llama.cpp's converter reads for Phi-3."""
    tokenizer = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    opening = 3  # which sentencepiece_model writes itself
    pieces = [
        piece(text, -index, BYTE if text.startswith("<0x") else None)
        for text, index in tokenizer["model"]["vocab"].items()
    ]
    model = sentencepiece_model(*pieces[opening:], trainer=TRAINER_SPEC)
    (directory / "tokenizer.model").write_bytes(model)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--geometry", choices=GEOMETRIES, default="phi-3.5-mini")
    parser.add_argument("--layers", type=int, help="cut the model to this many")
    parser.add_argument("--dtype", choices=("BF16", "F16", "F32"), default="BF16")
    parser.add_argument("--type", default="Q4_K_M", help="recipe to quantize to")
    parser.add_argument("--intermediate", choices=("f16", "bf16", "f32"), default="f16")
    parser.add_argument("--output-dir", type=Path, required=True, help="tmpfs or disk")
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--quantizer-python", help="if another one has the quantizer")
    parser.add_argument("--convert-script", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write there instead of to stdout")
    arguments = parser.parse_args()
    make_checkpoint(arguments.checkpoint, arguments.geometry, arguments.layers, arguments.dtype)
    steps = Steps(arguments)
    rounds = [steps.run_all() for _ in range(arguments.runs)]
    write_json(report(rounds, arguments), arguments.json)


if __name__ == "__main__":
    main()
