"""Choosing an instruction set: what this CPU must offer, and that a forced one is the one that runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import phigguf
from phigguf import _core
from phigguf.errors import InvalidArgument


def run_python(forced: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PHIGGUF_ISA": forced}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_every_isa_that_ci_expects_is_available():
    expected = os.environ.get("PHIGGUF_EXPECT_ISAS", "scalar").split(",")
    assert set(expected) <= set(phigguf.available_isas())


def test_the_slowest_isa_runs_everywhere():
    assert phigguf.available_isas()[-1] == "scalar"
    assert set(phigguf.available_isas()) <= set(_core.compiled_isas())


@pytest.mark.parametrize("name", phigguf.available_isas())
def test_the_environment_forces_an_isa(name):
    process = run_python(name, "-c", "import phigguf; print(phigguf.isa())")
    assert (process.stdout, process.stderr) == (f"{name}\n", "")


@pytest.mark.parametrize("name", ["", " avx2", "AVX2", "mmx"])
def test_an_unknown_isa_is_refused_and_changes_nothing(name):
    before = phigguf.isa()
    with pytest.raises(InvalidArgument, match="not an instruction set of this CPU"):
        phigguf.set_isa(name)
    assert phigguf.isa() == before


NEEDS_KERNELS = [
    "phigguf.isa()",
    "phigguf.quantize(np.zeros((1, 32), np.float32), 'Q8_0')",
    "phigguf.dequantize(np.zeros((1, 34), np.uint8), 'Q8_0')",
    "phigguf.matmul(np.zeros((1, 32), np.float32), np.zeros((1, 34), np.uint8), 'Q8_0')",
]


@pytest.mark.parametrize("action", NEEDS_KERNELS)
def test_an_unknown_isa_in_the_environment_is_refused_when_kernels_are_needed(action):
    script = f"""
import numpy as np, phigguf
from phigguf.errors import InvalidArgument
for _ in range(2):
    try:
        {action}
    except InvalidArgument as error:
        print(error.field, error.value)
phigguf.set_isa("scalar")
{action}
"""
    process = run_python("mmx", "-c", script)
    assert (process.stdout, process.stderr) == ("PHIGGUF_ISA mmx\n" * 2, "")


@pytest.mark.parametrize("command", [["info"], ["demo", "-n", "1"]])
def test_the_command_line_refuses_an_unknown_isa_in_one_line(command):
    process = run_python("mmx", "-m", "phigguf", *command)
    assert process.returncode == 2
    assert process.stderr.startswith("phigguf: error: PHIGGUF_ISA: not an instruction set")
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize("count", [0, -1])
def test_a_number_of_threads_is_positive(count):
    before = _core.num_threads()
    with pytest.raises(InvalidArgument, match="num_threads"):
        phigguf.set_num_threads(count)
    assert _core.num_threads() == before
