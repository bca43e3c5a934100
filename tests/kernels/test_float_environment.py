"""How the host process rounds changes no result, and is left as it was."""

from __future__ import annotations

import ctypes
import platform
import sys

import numpy as np
import pytest

from kernels.inputs import gaussian
from kernels.recode import quantize
from phigguf import _core

UPWARD = 0x400000 if platform.machine().lower() in ("arm64", "aarch64") else 0x800


def results(threads):
    x, w = gaussian(3, 512), quantize(gaussian(40, 512), "Q8_0")
    return [
        lambda: _core.matmul(x, w, "Q8_0", threads),
        lambda: _core.rms_norm(x, x[0], 1e-5),
        lambda: np.stack(_core.rope_tables(0, 300, x[0], 1.0)),
        lambda: _core.KvCache(1, 2, 64, "F16").attend(0, x, 4, 0.125),
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="no fesetround to call by name")
@pytest.mark.parametrize("threads", [1, 2])
def test_the_hosts_rounding_changes_nothing(isa, threads):
    libc = ctypes.CDLL(None)
    for result in results(threads):
        expected = result()
        libc.fesetround(UPWARD)
        try:
            rounded, left = result(), libc.fegetround()
        finally:
            libc.fesetround(0)
        assert rounded.tobytes() == expected.tobytes()
        assert left == UPWARD
