"""Writing a file's tiles while the next ones are made."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .io.gguf_writer import GGUFWriter

if TYPE_CHECKING:
    from typing_extensions import Self

Bytes = npt.NDArray[np.uint8]


class TileBuffers:
    """Two buffers that take turns: while one is written, the other is filled.

    Parameters
    ----------
    nbytes
        Of the largest tile.
    """

    def __init__(self, nbytes: int) -> None:
        self._turns = cycle([np.empty(nbytes, np.uint8) for _ in range(2)])

    def take(self, rows: int, row_bytes: int) -> Bytes:
        """Return uint8 [rows, row bytes], which is good until the call after the next."""
        return next(self._turns)[: rows * row_bytes].reshape(rows, row_bytes)


class WriteBehind:
    """Hands what a `GGUFWriter` is told to a thread, in order and at most one tile behind.

    An error is raised by a later call, at the latest by `finish`. To be used as a context manager,
    whose end waits for the write that is under way and drops what else was left.
    """

    def __init__(self, writer: GGUFWriter) -> None:
        self._writer = writer
        self._thread = ThreadPoolExecutor(1, "phigguf-writer")
        self._pending: list[Future[None]] = []

    def begin_tensor(self, name: str) -> None:
        """Start the next tensor, as `GGUFWriter.begin_tensor` does."""
        self._pending.append(self._thread.submit(self._writer.begin_tensor, name))

    def write(self, tile: Bytes) -> None:
        """Wait for the tile before, then return while this one, C-contiguous, is being written."""
        self._wait()
        self._pending.append(self._thread.submit(self._writer.write, tile.data))

    def finish(self) -> None:
        """Wait for the last tile, and finish as `GGUFWriter.finish` does."""
        self._wait()
        self._writer.finish()

    def _wait(self) -> None:
        for written in self._pending:
            written.result()
        self._pending.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)
