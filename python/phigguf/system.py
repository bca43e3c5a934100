"""What a measurement should say about the machine it was made on."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path


def cpu_name() -> str:
    """Return the CPU's marketing name, or its architecture where the system does not tell."""
    ask = {"Linux": _ask_linux, "Darwin": _ask_macos}.get(platform.system(), platform.processor)
    return ask() or platform.machine()


def _ask_linux() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    pairs = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in pairs if key.strip() == "model name"), "")


def _ask_macos() -> str:
    query = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
