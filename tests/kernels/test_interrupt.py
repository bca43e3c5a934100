"""Ctrl-C ends native work that is under way, whichever it is."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A second of work or more; a process interrupts itself a tenth of a second into it.
WORK = {
    "matmul": "_core.matmul(np.zeros((4096, 8192), np.float32), np.zeros((8192, 8704), np.uint8), 'Q8_0')",
    "attend": "_core.KvCache(1, 32, 256, 'F32').attend(0, np.zeros((8192, 96 * 256), np.float32), 32, 1)",
}
PROGRAM = """
import os, signal, threading
import numpy as np
from phigguf import _core
_core.set_isa("scalar")
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    {work}
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("work", WORK)
def test_ctrl_c(work):
    program = PROGRAM.format(work=WORK[work])
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == "interrupted\n"
    assert run.stderr == ""
