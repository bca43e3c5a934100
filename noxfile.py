"""Everything that is checked, one session each: `nox` runs the quick ones, `nox -s NAME` one."""

from __future__ import annotations

from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.sessions = ["lint", "types", "tests"]

# Formatters and checkers change their minds between versions, so theirs are fixed here
# (and, equal, in .pre-commit-config.yaml); oracles too, because we compare with their numbers.
FORMATTERS = ["clang-format==23.1.5", "ruff==0.17.6"]
TYPE_CHECKER = ["mypy==2.4.1", "types-pyyaml", "types-tqdm"]
ORACLES = ["cyllama==0.2.18", "mistral-common==1.13.1", "torch==2.13.0", "transformers==5.23.0"]

VOCABULARIES = "litellm==1.110.2"  # for its data files; nothing of it is imported


@nox.session
def lint(session: nox.Session) -> None:
    """Check the format and style of Python and C++."""
    session.install(*FORMATTERS)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    sources = session.run(
        "git", "ls-files", "csrc/*.h", "csrc/*.cpp", "tests/native", external=True, silent=True
    )
    session.run("clang-format", "--dry-run", "--Werror", *str(sources).split())


@nox.session
def types(session: nox.Session) -> None:
    """Check the Python types, and that `_core.pyi` says what the extension does."""
    session.install(".", "nox", *TYPE_CHECKER)
    session.run("mypy")
    allowlist = Path("tools/stubtest_allowlist.txt").resolve()
    session.chdir(session.create_tmp())  # so that stubtest sees the installed package
    session.run("stubtest", "phigguf._core", "--allowlist", str(allowlist))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def oracle(session: nox.Session) -> None:
    """Compare with transformers and llama.cpp, live."""
    session.install(".[test]", *ORACLES)
    session.install("--no-deps", VOCABULARIES)
    session.run("python", "-m", "pytest", "-m", "oracle", *session.posargs)


@nox.session
def neon(session: nox.Session) -> None:
    """Cross-compile the kernels for 64-bit ARM and compare them, under qemu, with this CPU's."""
    session.install("cmake", "ninja")
    session.run("tools/check_neon.sh", external=True, env={"CMAKE_GENERATOR": "Ninja"})


@nox.session
def avx512(session: nox.Session) -> None:
    """Compare the AVX-512 and AVX-VNNI kernels with the scalar ones, emulating what this CPU lacks."""
    session.install("cmake", "ninja")
    session.run("tools/check_avx512.sh", external=True, env={"CMAKE_GENERATOR": "Ninja"})


@nox.session
def asan(session: nox.Session) -> None:
    """Run the tests under the address sanitizer."""
    run_sanitized(session, "asan")


@nox.session
def ubsan(session: nox.Session) -> None:
    """Run the tests under the undefined behaviour sanitizer."""
    run_sanitized(session, "ubsan")


@nox.session
def tsan(session: nox.Session) -> None:
    """Run the tests under the thread sanitizer."""
    run_sanitized(session, "tsan")


def run_sanitized(session: nox.Session, preset: str) -> None:
    """Configure, build and test one of CMakePresets.json's workflows."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    session.install("cmake", "ninja", "pybind11")
    session.install(*project["dependencies"], *project["optional-dependencies"]["test"])
    pybind11 = session.run("python", "-m", "pybind11", "--cmakedir", silent=True)
    session.run(
        "cmake", "--workflow", "--preset", preset, env={"pybind11_DIR": str(pybind11).strip()}
    )
