"""A number of threads for the duration of one call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import _core


@contextmanager
def thread_limit(threads: int | None) -> Iterator[None]:
    """Use this many threads within the block; None leaves the setting as it is."""
    if threads is None:
        yield
        return
    before = _core.num_threads()
    _core.set_num_threads(threads)
    try:
        yield
    finally:
        _core.set_num_threads(before)
