"""Operations of chat templates that could make much from little, measured before they act."""

from __future__ import annotations

import re
from collections.abc import Iterable
from string import Formatter
from typing import Any

from jinja2 import Environment, pass_environment
from jinja2.filters import make_attrgetter

from .template_meter import LimitExceeded, meter

MAX_INTEGER_BITS = 4096
MAX_STRIPPED_LETTERS = 64

_WIDE = re.compile(r"\*|\d{3}")  # a width or precision that is given later, or is large


def check_operands(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Make sure that the operands can be written out, as text or to compare them."""
    meter().check(meter().size([*args, *kwargs.values()]))


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Measure what an operator will make of its operands."""
    check_operands((left, right), {})
    if operator == "*":
        _check_product(left, right)
    elif operator == "**":
        _check_power(left, right)
    elif operator == "%" and isinstance(left, str):
        _check_percent(left, right)


def _check_product(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())
        return
    for sequence, count in ((left, right), (right, left)):
        if isinstance(count, int):
            meter().check(meter().size(sequence) * count)


def _check_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * abs(right))


def _check_bits(bits: int) -> None:
    if bits > MAX_INTEGER_BITS:
        raise LimitExceeded("makes too large a number")


def check_method(name: str, text: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Measure what a method of `text` will make of its arguments, and return these."""
    if name == "replace":
        _check_replace(text, *args)
    elif name == "join" and args:
        args = (list(args[0]), *args[1:])
        _check_join(text, args[0])
    elif name in ("strip", "lstrip", "rstrip"):
        _check_strip(*args)
    return args


def _check_replace(text: str, old: str = "", new: str = "", count: int = -1) -> None:
    meter().check(len(text) + text.count(old) * len(new))


def _check_join(separator: str, parts: list[Any]) -> None:
    meter().check(meter().size(parts) + len(parts) * len(separator))


def _check_strip(letters: str | None = None) -> None:
    if letters is not None and len(letters) > MAX_STRIPPED_LETTERS:
        raise LimitExceeded("strips too many different letters")


def _check_percent(text: str, values: Any) -> None:
    if _WIDE.search(text):
        raise LimitExceeded("formats a text too wide")
    meter().check(len(text) + text.count("%") * meter().size(values))


def check_format(text: str, values: Any) -> None:
    """Measure what ``str.format`` will make of some values."""
    fields = list(Formatter().parse(text))
    if any(spec and ("{" in spec or _WIDE.search(spec)) for _, _, spec, _ in fields):
        raise LimitExceeded("formats a text too wide")
    meter().check(len(text) + len(fields) * meter().size(values))


def _format(value: Any, *args: Any, **kwargs: Any) -> str:
    _check_percent(str(value), (args, kwargs))
    return str(str(value) % (kwargs or args))


def _replace(value: Any, old: Any, new: Any, count: int = -1) -> str:
    text, old, new = str(value), str(old), str(new)
    _check_replace(text, old, new, count)
    return text.replace(old, new, count)


def _trim(value: Any, chars: str | None = None) -> str:
    _check_strip(chars)
    return str(value).strip(chars)


@pass_environment
def _join(
    environment: Environment, value: Iterable[Any], d: Any = "", attribute: Any = None
) -> str:
    values = list(value)
    if attribute is not None:
        values = list(map(make_attrgetter(environment, attribute), values))
    _check_join(str(d), values)
    return str(d).join(map(str, values))


FILTERS = {"format": _format, "join": _join, "replace": _replace, "trim": _trim}
