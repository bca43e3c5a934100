"""The command line's options: those that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from phigguf.recipes import RECIPES

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _all_of(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _parse_overrides(
    _context: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> list[tuple[str, str]]:
    overrides = []
    for value in values:
        pattern, _, type_name = value.rpartition("=")
        if not pattern or not type_name:
            raise click.BadParameter(f"{value!r} is not of the form REGEX=TYPE")
        overrides.append((pattern, type_name))
    return overrides


FILE = click.Path(path_type=Path)
TYPES = f"One of {', '.join(RECIPES)}. The last is for Phi-4-mini: Q4_K_M with ffn_down at 8 bits."

model = click.argument("model", type=FILE)
threads = click.option(
    "-t", "--threads", type=click.IntRange(min=1), help="Threads; all cores if not given."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
context_size = click.option(
    "--n-ctx", type=click.IntRange(min=1), help="Tokens of context; the model's own if not given."
)
kv_type = click.option(
    "--kv-type",
    type=click.Choice(["F16", "F32", "Q8_0"], case_sensitive=False),
    default="F16",
    show_default=True,
    help="Type of the KV cache.",
)

quantizing = _all_of(
    click.option("--imatrix", type=FILE, help="Importance matrix, .dat or .gguf."),
    click.option(
        "--tensor-type",
        "overrides",
        multiple=True,
        metavar="REGEX=TYPE",
        callback=_parse_overrides,
        help="Type of the tensors whose name matches; may be repeated, the first match counts.",
    ),
    click.option("--output-tensor-type", "output_type", help="Type of the output matrix."),
    click.option("--token-embedding-type", "embedding_type", help="Type of the embeddings."),
    click.option("--pure", is_flag=True, help="The same type for every matrix."),
    click.option(
        "--allow-fallback", is_flag=True, help="Let a matrix that does not fit take another type."
    ),
    click.option("--dry-run", is_flag=True, help="Report what would be done; write nothing."),
    threads,
    as_json,
)

sampling = _all_of(
    click.option(
        "-n",
        "--max-tokens",
        type=click.IntRange(min=0),
        help="Stop after N tokens; if not given, when the text ends or the context is full.",
    ),
    click.option(
        "--temperature",
        type=click.FloatRange(min=0),
        default=0.8,
        show_default=True,
        help="0 always takes the likeliest token.",
    ),
    click.option(
        "--top-k",
        type=click.IntRange(min=0),
        default=40,
        show_default=True,
        help="Keep the K likeliest tokens; 0 keeps all.",
    ),
    click.option(
        "--top-p",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.95,
        show_default=True,
        help="Keep the likeliest tokens of this total probability.",
    ),
    click.option(
        "--min-p",
        type=click.FloatRange(0, 1),
        default=0.05,
        show_default=True,
        help="Drop tokens less probable than this part of the likeliest one.",
    ),
    click.option(
        "--repetition-penalty",
        type=click.FloatRange(min=0, min_open=True),
        default=1.0,
        show_default=True,
        help="Above 1 discourages tokens already in the text.",
    ),
    click.option("--seed", type=click.IntRange(min=0), help="Makes the choice repeatable."),
    click.option(
        "--stop", multiple=True, metavar="TEXT", help="Stop before this text; may be repeated."
    ),
    click.option(
        "--speculative",
        type=click.Choice(["prompt-lookup"]),
        help="Guess tokens from the text so far; it stays the same and may come faster.",
    ),
    context_size,
    kv_type,
    threads,
)
