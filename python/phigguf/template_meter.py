"""A budget for chat templates: what they may still compute and write.

Every step costs one unit, every letter of a text one, and every item of a list or mapping one, as
often as it would be written out. A value is paid for when it is made, so that whatever takes it
later, to compare it or write it, has bounded work.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

MAX_SECONDS = 10.0  # a template takes milliseconds


class LimitExceeded(Exception):
    """A template needs more than it may have."""


class Meter:
    """What a template may still spend.

    Parameters
    ----------
    budget
        Steps and letters.
    """

    def __init__(self, budget: int) -> None:
        self._left = budget
        self._deadline = time.monotonic() + MAX_SECONDS

    def charge(self, cost: int) -> None:
        """Spend `cost` units, at least one, or raise `LimitExceeded`."""
        self.check(cost)
        self._left -= max(cost, 1)

    def check(self, cost: int) -> None:
        """Raise `LimitExceeded` if `cost` units are more than what is left."""
        if cost > self._left:
            raise LimitExceeded("takes too many steps or makes too much text")
        if time.monotonic() > self._deadline:
            raise LimitExceeded(f"takes more than {MAX_SECONDS:.0f} s")

    def made(self, value: Any) -> Any:
        """Charge for a new value and return it; what is made lazily is charged when it is made."""
        if isinstance(value, Iterator):
            return self.iterate(value)
        # A container holds texts by reference, but comparing it reads them.
        cost = len(value) if isinstance(value, str) else self.size(value, letters_per_unit=64)
        self.charge(cost)
        return value

    def iterate(self, values: Iterable[Any], cost: int = 1) -> Iterator[Any]:
        """Charge for each step of a loop."""
        for value in values:
            self.charge(cost)
            yield value

    def size(self, value: Any, letters_per_unit: int = 1) -> int:
        """Return the size of a value written out; stop counting at what is left."""
        size, pending = 0, [value]
        while pending and size <= self._left:
            part = pending.pop()
            size += 1
            if isinstance(part, str):
                size += len(part) // letters_per_unit
            elif isinstance(part, (list, tuple)):
                pending.extend(part)
            elif isinstance(part, dict):
                pending.extend(part)
                pending.extend(part.values())
        return size


_in_force: ContextVar[Meter] = ContextVar("meter")


@contextmanager
def metered(budget: int) -> Iterator[None]:
    """Give `budget` units to the templates compiled or rendered inside."""
    token = _in_force.set(Meter(budget))
    try:
        yield
    finally:
        _in_force.reset(token)


def meter() -> Meter:
    """Return the meter of the innermost `metered` block."""
    return _in_force.get()
