"""A jinja2 sandbox in which a template can neither reach Python nor run away.

jinja2's own sandbox keeps templates from Python's internals, but not from ``'a' * 10**9`` or from
loops within loops. Here a template has a budget: every loop, call and operation costs a step, and
every text, list or number it makes costs its size. What could make much from little in one step
(a product, a join) is measured before it is made; what cannot be measured simply (padding,
formatting by width, and the like) is not offered.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from jinja2 import Environment, Template, Undefined, nodes, pass_context, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import make_attrgetter
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

MAX_SECONDS = 10.0  # a template takes milliseconds
MAX_INTEGER_BITS = 4096
MAX_STRIPPED_LETTERS = 64


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FILTERS = _names(
    """abs capitalize count d default dictsort e escape first float int items last length list
    lower map max min reject rejectattr replace reverse safe select selectattr sort string title
    trim unique upper"""
)
_STRING_METHODS = _names(
    """capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit
    islower isnumeric isspace istitle isupper join lower lstrip partition removeprefix removesuffix
    replace rfind rindex rpartition rsplit rstrip split splitlines startswith strip swapcase title
    upper"""
)
_WIDE_FORMAT = re.compile(r"\*|\d{3}")


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


_meter: ContextVar[Meter] = ContextVar("meter")


@contextmanager
def metered(budget: int) -> Iterator[None]:
    """Give `budget` units to the templates compiled or rendered inside."""
    token = _meter.set(Meter(budget))
    try:
        yield
    finally:
        _meter.reset(token)


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox whose templates spend from the `metered` budget around them."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # or constants would be computed while compiling
            finalize=_charge_output,
            extensions=[loopcontrols, _Generation],
        )
        allowed = {name: self.filters[name] for name in _FILTERS}
        allowed |= {"replace": _replace, "join": _join, "trim": _trim}
        self.filters = {name: _charged(function) for name, function in allowed.items()}
        self.filters |= {_LOOP: _loop, _MADE: _made}
        self.globals = {"range": self.globals["range"], "dict": _dict, "namespace": _Namespace}

    def compile_limited(self, source: str) -> Template:
        """Compile a template with a meter on what jinja2 would compile to plain Python."""
        return self.from_string(_AddMeters().visit(self.parse(source)))

    def add_filter(self, name: str, function: Callable[..., Any]) -> None:
        """Offer another filter, at a charge."""
        self.filters[name] = _charged(function)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Offer only methods of texts and numbers that cannot make much from little."""
        if isinstance(obj, str):
            return attr in _STRING_METHODS
        if isinstance(obj, (int, float, bytes)):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse at once; jinja2 would let the value pass as empty until it is used."""
        raise SecurityError(f"{type(obj).__name__}.{attribute} is out of reach")

    def wrap_str_format(self, value: Any) -> None:
        """Leave ``str.format`` to `is_safe_attribute`, which refuses it."""

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Charge for a call and what it returns."""
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):
            args = _checked_arguments(obj.__name__, owner, args)
        _check_operands(args, kwargs)
        return _meter.get().made(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Charge for an operation, after a look at how large its result will be."""
        _check_operands((left, right), {})
        if operator == "*":
            _check_product(left, right)
        elif operator == "**":
            _check_power(left, right)
        elif operator == "%" and isinstance(left, str) and _WIDE_FORMAT.search(left):
            raise LimitExceeded("formats a text too wide")
        return _meter.get().made(super().call_binop(context, operator, left, right))


class _Namespace(Namespace):
    def __repr__(self) -> str:  # the usual one writes out what it holds
        return "<namespace>"


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    """Make a dict; the class itself would offer methods that change one."""
    return dict(*args, **kwargs)


class _Generation(Extension):
    """``{% generation %}`` marks the model's own words for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


# --- Meters in a template's code ---

_LOOP, _MADE = "a loop", "a value"  # filters whose names cannot be written with a bar


class _AddMeters(NodeTransformer):
    """Puts a meter on loops, literals, slices and ``~``."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        written = sum(len(text.data) for text in node.find_all(nodes.TemplateData))
        node.iter = _filter(cast(nodes.Expr, node.iter), _LOOP, nodes.Const(1 + written))
        return node

    def _visit_literal(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node, _MADE)

    visit_List = _visit_literal  # noqa: N815
    visit_Dict = _visit_literal  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, _MADE) if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, _MADE) if isinstance(node.arg, nodes.Slice) else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        texts: list[nodes.Expr] = [_filter(part, "string") for part in node.nodes]
        return functools.reduce(lambda left, right: _like(left, nodes.Add(left, right)), texts)


def _filter(node: nodes.Expr, name: str, *args: nodes.Expr) -> nodes.Expr:
    return _like(node, nodes.Filter(node, name, list(args), [], None, None))


def _like(old: nodes.Expr, new: nodes.Expr) -> nodes.Expr:
    new.set_lineno(old.lineno)
    new.environment = old.environment
    return new


def _loop(values: Iterable[Any], cost: int) -> Iterator[Any]:
    return _meter.get().iterate(values, cost)


def _made(value: Any) -> Any:
    return _meter.get().made(value)


@pass_context  # or jinja2 would compute constant output while compiling
def _charge_output(_context: Context, value: Any) -> Any:
    _meter.get().charge(_meter.get().size(value))
    return value


def _charged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def charged(*args: Any, **kwargs: Any) -> Any:
        _check_operands(args, kwargs)
        return _meter.get().made(function(*args, **kwargs))

    return charged


# --- Operations that could make much from little ---


def _check_operands(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Make sure that the operands can be written out, as text or to compare them."""
    _meter.get().check(_meter.get().size([*args, *kwargs.values()]))


def _check_product(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())
        return
    for sequence, count in ((left, right), (right, left)):
        if isinstance(count, int):
            _meter.get().check(_meter.get().size(sequence) * count)


def _check_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() * abs(right))


def _check_bits(bits: int) -> None:
    if bits > MAX_INTEGER_BITS:
        raise LimitExceeded("makes too large a number")


def _checked_arguments(method: str, text: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if method == "replace":
        _check_replace(text, *args)
    elif method == "join" and args:
        args = (list(args[0]), *args[1:])
        _check_join(text, args[0])
    elif method in ("strip", "lstrip", "rstrip"):
        _check_strip(*args)
    return args


def _check_replace(text: str, old: str = "", new: str = "", count: int = -1) -> None:
    _meter.get().check(len(text) + text.count(old) * len(new))


def _check_join(separator: str, parts: list[Any]) -> None:
    _meter.get().check(_meter.get().size(parts) + len(parts) * len(separator))


def _check_strip(letters: str | None = None) -> None:
    if letters is not None and len(letters) > MAX_STRIPPED_LETTERS:
        raise LimitExceeded("strips too many different letters")


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
