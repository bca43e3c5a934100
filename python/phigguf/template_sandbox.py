"""A jinja2 sandbox in which a template can neither reach Python nor run away.

jinja2's own sandbox keeps templates from Python's internals, but not from ``'a' * 10**9`` or from
loops within loops. Here every loop, call, operation and value is paid for from a budget. What
could make much from little in one step (a product, a join) is measured first; what cannot be
measured simply (padding, rounding and the like) is not offered.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from jinja2 import Template, Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from .template_meter import meter
from .template_operations import (
    FILTERS,
    check_format,
    check_method,
    check_operands,
    check_operation,
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FILTERS = _names(
    """abs capitalize count d default dictsort e escape first float int items last length list
    lower map max min reject rejectattr reverse safe select selectattr sort string title unique
    upper"""
)
_STRING_METHODS = _names(
    """capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit
    islower isnumeric isspace istitle isupper join lower lstrip partition removeprefix removesuffix
    replace rfind rindex rpartition rsplit rstrip split splitlines startswith strip swapcase title
    upper"""
)


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
        allowed = {name: self.filters[name] for name in _FILTERS} | FILTERS
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

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Let ``str.format`` look at what it formats before it does."""
        inner = super().wrap_str_format(value)
        if inner is None:
            return None
        text: str = value.__self__

        def wrapper(*args: Any, **kwargs: Any) -> str:
            check_format(text, (args, kwargs))
            return inner(*args, **kwargs)

        return wrapper

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Charge for a call and what it returns."""
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):
            args = check_method(obj.__name__, owner, args)
        check_operands(args, kwargs)
        return meter().made(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Charge for an operation, after a look at how large its result will be."""
        check_operation(operator, left, right)
        return meter().made(super().call_binop(context, operator, left, right))


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
    return meter().iterate(values, cost)


def _made(value: Any) -> Any:
    return meter().made(value)


@pass_context  # or jinja2 would compute constant output while compiling
def _charge_output(_context: Context, value: Any) -> Any:
    meter().charge(meter().size(value))
    return value


def _charged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def charged(*args: Any, **kwargs: Any) -> Any:
        check_operands(args, kwargs)
        return meter().made(function(*args, **kwargs))

    return charged
