"""Stop strings in a text that arrives piece by piece."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import InvalidArgument


class StopStrings:
    """Lets a text pass up to that of some strings which is complete first.

    What may be the beginning of a stop string is held back until the text that follows tells.

    Parameters
    ----------
    stops
        The strings; none lets everything pass.

    Raises
    ------
    InvalidArgument
        If one of them is empty or not a string.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = list(stops)
        self._held = ""
        self.found: str | None = None
        for stop in self._stops:
            if stop == "" or type(stop) is not str:
                raise InvalidArgument("must be a text of some length", field="stop", value=stop)

    def feed(self, text: str) -> str:
        """Add text; return what is now known to come before any stop string."""
        if self.found is not None:
            return ""
        text = self._held + text
        found = [stop for stop in self._stops if stop in text]
        if found:
            # The one complete first, wherever the text was cut; of several, the longest.
            self.found = min(found, key=lambda stop: (text.find(stop) + len(stop), -len(stop)))
            self._held = ""
            return text[: text.find(self.found)]
        certain = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[certain:]
        return text[:certain]

    def finish(self, text: str = "") -> str:
        """Add the last text; return all that is left before a stop string."""
        text = self.feed(text)
        held, self._held = self._held, ""
        return text + held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` with which `stop` begins."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
