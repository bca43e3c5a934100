"""How fast prompts are read and tokens generated, beside llama.cpp, ik_llama.cpp and the machine's limits.

    python benchmarks/bench_vs_peers.py MODEL.gguf... --threads 2 --json peers.json \
        --llama-python LLAMA/bin/python --ik-python IK/bin/python

LLAMA and IK are environments with llama-cpp-python and ik-llama-cpp-python, built from their sdists
for this CPU: `CMAKE_ARGS=-DGGML_NATIVE=ON pip install --no-binary :all: ...`. Each engine is a
process that keeps the same file open; they take turns, and so does machine_limits.cpp, which is
compiled here by the system's compiler for this CPU. The first round is not counted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limits import LIMITS, compile_limits, measure_limits
from measuring import machine, ratios, summary, write_json

import phigguf

HERE = Path(__file__).resolve().parent
PAUSE = 0.05  # seconds, in which the threads of the engine before go to sleep
PACKAGES = {"llama.cpp": "llama-cpp-python", "ik_llama.cpp": "ik-llama-cpp-python"}


@dataclass(frozen=True)
class Task:
    """Tokens to be read after others, so many at once."""

    depth: int
    tokens: int
    batch: int

    @property
    def name(self) -> str:
        """Its name in the result."""
        work = "decode" if self.batch == 1 else "prefill"
        return f"{work} {self.tokens}" + (f" after {self.depth}" if self.depth else "")


class Worker:
    """An engine in a process of its own; see speed_worker.py."""

    def __init__(self, engine: str, python: str, model: Path, threads: int, context: int) -> None:
        self.engine = engine
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the process)
        self._process = subprocess.Popen(
            [python, HERE / "speed_worker.py", engine, model, str(threads), str(context)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
        )
        self.load_seconds = self._answer()

    def seconds(self, task: Task) -> float:
        """Do a task; return how long it took."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{task.depth} {task.tokens} {task.batch}\n")
        return self._answer()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return float(line)
        self._log.seek(0)
        sys.exit(f"{self.engine} ended:\n{self._log.read().decode(errors='replace')[-2000:]}")

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def needs(model: Path) -> dict[str, int]:
    """Return what a token needs: multiply-adds in a prompt, bytes of weights when generated.

    A prompt needs no logits but the last token's, and nobody reads all of the embeddings.
    """
    with phigguf.read_gguf(model) as file:
        tensors = file.tensors
        layers = [tensor for name, tensor in tensors.items() if name.startswith("blk.")]
        output = tensors.get("output.weight") or tensors["token_embd.weight"]
        return {
            "macs": sum(t.shape[0] * t.shape[1] for t in layers if len(t.shape) == 2),
            "bytes": sum(tensor.nbytes for tensor in layers) + output.nbytes,
        }


def run_rounds(
    workers: Sequence[Worker], tasks: Sequence[Task], limits: Path, threads: int, runs: int
) -> Iterator[tuple[dict[str, Any], dict[tuple[str, str], float]]]:
    """Yield, for each counted round, the machine's limits and tokens per second of all."""
    for number in range(1 + runs):
        speeds = {}
        for task in tasks:
            for worker in workers:
                time.sleep(PAUSE)
                speeds[task.name, worker.engine] = task.tokens / worker.seconds(task)
        found = measure_limits(limits, threads)
        if number:
            yield found, speeds


def compare(
    model: Path, pythons: dict[str, str], tasks: Sequence[Task], limits: Path, options: Any
) -> dict[str, Any]:
    """Measure one model with all engines."""
    context = max(task.depth + task.tokens for task in tasks)
    with ExitStack() as stack:
        workers = []
        for engine, python in pythons.items():
            workers.append(Worker(engine, python, model, options.threads, context))
            stack.callback(workers[-1].close)
        rounds = list(run_rounds(workers, tasks, limits, options.threads, options.runs))
    need = needs(model)
    return {
        "model": model.name,
        "per_token": need,
        "load_seconds": {worker.engine: worker.load_seconds for worker in workers},
        "limits": {
            threads: {key: summary([found[threads][key] for found, _ in rounds]) for key in LIMITS}
            for threads in ("one", "all")
            if threads in rounds[0][0]
        },
        "int8_instruction": rounds[0][0]["int8_instruction"],
        "tasks": [task_result(task, list(pythons), rounds, need) for task in tasks],
    }


def task_result(
    task: Task, engines: Sequence[str], rounds: Sequence[Any], need: dict[str, int]
) -> dict[str, Any]:
    """Summarize one task: tokens per second, and as a fraction of what the machine allows."""
    key, amount = ("read_bytes", "bytes") if task.batch == 1 else ("int8_macs", "macs")
    limit = [found["all" if "all" in found else "one"][key] / need[amount] for found, _ in rounds]
    speeds = {engine: [speed[task.name, engine] for _, speed in rounds] for engine in engines}
    return {
        "task": task.name,
        "limit": summary(limit),
        "tokens_per_second": {engine: summary(speed) for engine, speed in speeds.items()},
        "fraction_of_limit": {engine: ratios(speed, limit) for engine, speed in speeds.items()},
        "ratio_to_phigguf": {
            engine: ratios(speed, speeds["phigguf"]) for engine, speed in speeds.items()
        },
    }


def peer_version(python: str, package: str) -> str:
    """Ask an interpreter for a package's version."""
    code = f"from importlib.metadata import version; print(version('{package}'))"
    answer = subprocess.run([python, "-c", code], capture_output=True, check=True, text=True)
    return f"{package} {answer.stdout.strip()}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    parser.add_argument("--llama-python", help="interpreter with llama-cpp-python")
    parser.add_argument("--ik-python", help="interpreter with ik-llama-cpp-python")
    parser.add_argument("--json", type=Path, help="write there instead of to stdout")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512, help="tokens to read")
    parser.add_argument("--generate", type=int, default=32, help="tokens, one by one")
    parser.add_argument("--depth", type=int, nargs="+", default=[0], help="tokens before")
    parser.add_argument("--compiler", default="c++")
    options = parser.parse_args()
    pythons, peers = {"phigguf": sys.executable}, []
    if options.llama_python:
        pythons |= dict.fromkeys(("llama.cpp", "llama.cpp-no-repack"), options.llama_python)
        peers.append(peer_version(options.llama_python, PACKAGES["llama.cpp"]))
    if options.ik_python:
        pythons["ik_llama.cpp"] = options.ik_python
        peers.append(peer_version(options.ik_python, PACKAGES["ik_llama.cpp"]))
    tasks = [
        Task(depth, tokens, batch)
        for depth in options.depth
        for tokens, batch in ((options.prompt, min(options.prompt, 512)), (options.generate, 1))
    ]
    with tempfile.TemporaryDirectory() as folder:
        limits = compile_limits(Path(folder), options.compiler)
        results = [compare(model, pythons, tasks, limits, options) for model in options.models]
    described = machine(options.threads, ", ".join(peers))
    write_json({"machine": described, "results": results}, options.json)


if __name__ == "__main__":
    main()
