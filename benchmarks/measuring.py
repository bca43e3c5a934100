"""What every benchmark shares: the machine, timing in turns, and JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import phigguf
from phigguf.system import cpu_name

REPOSITORY = Path(__file__).resolve().parent.parent


def machine(threads: int, peer: str) -> dict[str, Any]:
    """Return what a reader needs to know of where and with what the figures were made."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "isa": phigguf.isa(),
        "threads": threads,
        "phigguf": phigguf.__version__,
        "commit": _commit(),
        "python": sys.version.split()[0],
        "peer": peer,
    }


def _commit() -> str:
    """Return the commit checked out here, marked if tracked files differ from it."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def time_in_turns(calls: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Time several calls alternately, so that a drifting machine harms all alike.

    The first round is not counted.

    Returns
    -------
    Seconds of each counted run, by the call's name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(1 + runs):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: each[1:] for name, each in seconds.items()}


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return the median, the spread and every value."""
    return {
        "median": median(values),
        "min": min(values),
        "max": max(values),
        "runs": list(values),
    }


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> dict[str, Any]:
    """Summarize the quotients of values of the same rounds."""
    return summary([a / b for a, b in zip(numerators, denominators, strict=True)])


def write_json(result: Mapping[str, Any], path: Path | None) -> None:
    """Write a result to a file, or to stdout."""
    text = json.dumps(result, indent=1) + "\n"
    if path is None:
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")
