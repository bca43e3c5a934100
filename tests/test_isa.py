"""Choosing an instruction set: what this CPU must offer, and that a forced one is the one that runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import phigguf
from phigguf import _core
from phigguf.errors import InvalidArgument


def isa_of_a_new_process(forced: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PHIGGUF_ISA": forced}
    command = [sys.executable, "-c", "import phigguf; print(phigguf.isa())"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )


def test_every_isa_that_ci_expects_is_available():
    expected = os.environ.get("PHIGGUF_EXPECT_ISAS", "scalar").split(",")
    assert set(expected) <= set(phigguf.available_isas())


def test_the_slowest_isa_runs_everywhere():
    assert phigguf.available_isas()[-1] == "scalar"
    assert set(phigguf.available_isas()) <= set(_core.compiled_isas())


@pytest.mark.parametrize("name", phigguf.available_isas())
def test_the_environment_forces_an_isa(name):
    process = isa_of_a_new_process(name)
    assert (process.stdout, process.stderr) == (f"{name}\n", "")


@pytest.mark.parametrize("name", ["", " avx2", "AVX2", "mmx"])
def test_an_unknown_isa_is_refused_and_changes_nothing(name):
    before = phigguf.isa()
    with pytest.raises(InvalidArgument, match="not an instruction set of this CPU"):
        phigguf.set_isa(name)
    assert phigguf.isa() == before


def test_an_unknown_isa_in_the_environment_is_refused():
    process = isa_of_a_new_process("mmx")
    assert process.returncode == 1
    assert "InvalidArgument" in process.stderr
    assert "'mmx'" in process.stderr


@pytest.mark.parametrize("count", [0, -1])
def test_a_number_of_threads_is_positive(count):
    before = _core.num_threads()
    with pytest.raises(InvalidArgument, match="num_threads"):
        phigguf.set_num_threads(count)
    assert _core.num_threads() == before
