"""Fixtures that tests of every part may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import phigguf
from phigguf.demo import demo_checkpoint

ORACLE_TESTS = Path(__file__).parent / "oracle"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import tests against torch and llama.cpp only when they are to run: those are no small need."""
    unwanted = collection_path == ORACLE_TESTS and config.option.markexpr == "not oracle"
    return True if unwanted else None


@pytest.fixture(scope="session")
def checkpoint() -> Iterator[Path]:
    """The packaged Hugging Face checkpoint: a small Phi-3 that writes English."""
    with demo_checkpoint() as directory:
        yield directory


@pytest.fixture(scope="session")
def demo_gguf(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged checkpoint as a BF16 file."""
    path = tmp_path_factory.mktemp("demo") / "demo-BF16.gguf"
    phigguf.convert(checkpoint, path, "BF16", progress=False)
    return path
