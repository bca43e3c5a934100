"""The axes of every kernel test: a new tensor type or instruction set joins them by existing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from phigguf import _core

BLOCK_TYPES = [t for t in _core.tensor_types() if t["block_width"] > 1]
FLOAT_TYPES = [t for t in _core.tensor_types() if t["block_width"] == 1]


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of this CPU in turn; asserts that it is the one that runs."""
    before = _core.isa()
    _core.set_isa(request.param)
    assert _core.isa() == request.param
    yield request.param
    _core.set_isa(before)


@pytest.fixture(params=BLOCK_TYPES, ids=lambda t: t["name"])
def fmt(request: pytest.FixtureRequest) -> dict[str, object]:
    """Each block format: name, id, block_width, block_bytes."""
    return request.param


@pytest.fixture(params=[(1, 256), (3, 768), (17, 512), (40, 256)], ids=lambda s: f"{s[0]}x{s[1]}")
def shape(request: pytest.FixtureRequest) -> tuple[int, int]:
    """Rows and columns: fewer, as many and more blocks than a vector has lanes, and ragged tails."""
    return request.param
