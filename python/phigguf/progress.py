"""A progress bar for people: on a terminal and in a notebook, and none in a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def progress_bar(total: int, unit: str, *, wanted: bool = True) -> tqdm[Any]:
    """Make a bar that shows rate and time left; close it, or use it as a context manager.

    Parameters
    ----------
    total
        Units until it is full.
    unit
        What is counted, in the singular.
    wanted
        Whether the caller asks for a bar. One appears only where somebody can watch it.
    """
    from tqdm.auto import tqdm  # slow to import, and not every command needs it

    visible = wanted and (_in_notebook() or (sys.stderr is not None and sys.stderr.isatty()))
    return tqdm(total=total, unit=f" {unit}s", unit_scale=True, disable=not visible, leave=False)


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules
