"""What this machine can do at most: machine_limits.cpp, compiled for its CPU and run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

LIMITS = ("int8_macs", "float32_macs", "read_bytes", "read_small_pages_bytes")  # a second
HERE = Path(__file__).resolve().parent


def compile_limits(folder: Path, compiler: str) -> Path:
    """Compile machine_limits.cpp for this CPU."""
    program = folder / "machine_limits"
    options = ["-std=c++17", "-O3", "-march=native", "-pthread"]
    source = HERE / "machine_limits.cpp"
    subprocess.run([compiler, *options, source, "-o", program], check=True)
    return program


def measure_limits(program: Path, threads: int) -> dict[str, Any]:
    """Run machine_limits once."""
    answer = subprocess.run([program, str(threads)], capture_output=True, check=True, text=True)
    limits: dict[str, Any] = json.loads(answer.stdout)
    return limits
