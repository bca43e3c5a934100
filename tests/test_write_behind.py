"""Tiles are written in order, while the next is made, and no failure is lost."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from phigguf.write_behind import TileBuffers, WriteBehind

LIMIT = 60  # seconds until a wait that should end at once counts as a deadlock


class Recorder:
    """Stands in for a `GGUFWriter`: writes once it may, and fails where it is told to."""

    def __init__(self, fail_at: object = None) -> None:
        self.calls: list[object] = []
        self.fail_at = fail_at
        self.may_write = threading.Event()
        self.may_write.set()

    def begin_tensor(self, name: str) -> None:
        self._record(name)

    def write(self, data: memoryview) -> None:
        assert self.may_write.wait(LIMIT)
        self._record(bytes(data))

    def finish(self) -> None:
        self._record("finish")

    def _record(self, call: object) -> None:
        if call == self.fail_at:
            raise OSError(f"cannot do {call!r}")
        self.calls.append(call)


def tile(text: bytes) -> Any:
    return np.frombuffer(text, np.uint8)


def write_two_tensors(recorder: Recorder) -> None:
    with WriteBehind(recorder) as writer:  # type: ignore[arg-type]
        for name, tiles in {"a": (b"a1", b"a2"), "b": (b"b1",)}.items():
            writer.begin_tensor(name)
            for text in tiles:
                writer.write(tile(text))
        writer.finish()


def test_everything_arrives_in_order() -> None:
    recorder = Recorder()
    write_two_tensors(recorder)
    assert recorder.calls == ["a", b"a1", b"a2", "b", b"b1", "finish"]


def test_a_write_returns_before_it_is_done() -> None:
    recorder = Recorder()
    recorder.may_write.clear()
    with WriteBehind(recorder) as writer:  # type: ignore[arg-type]
        writer.begin_tensor("a")
        writer.write(tile(b"a1"))
        assert b"a1" not in recorder.calls
        recorder.may_write.set()
        writer.write(tile(b"a2"))
        assert recorder.calls[:2] == ["a", b"a1"]
        writer.finish()


@pytest.mark.parametrize("fail_at", ["a", b"a1", b"a2", "b", b"b1", "finish"])
def test_every_failure_is_raised(fail_at: object) -> None:
    recorder = Recorder(fail_at)
    with pytest.raises(OSError, match="cannot do"):
        write_two_tensors(recorder)
    assert "finish" not in recorder.calls


def test_an_exception_leaves_no_thread_behind() -> None:
    def interrupted() -> None:
        with WriteBehind(Recorder()) as writer:  # type: ignore[arg-type]
            writer.write(tile(b"a1"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not [t for t in threading.enumerate() if t.name.startswith("phigguf-writer")]


def test_buffers_take_turns() -> None:
    buffers = TileBuffers(12)
    first, second, third = (buffers.take(rows, 4) for rows in (3, 2, 1))
    assert [a.shape for a in (first, second, third)] == [(3, 4), (2, 4), (1, 4)]
    assert np.shares_memory(first, third)
    assert not np.shares_memory(first, second)
