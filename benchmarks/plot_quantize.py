"""Draw what bench_quantize.py measured, and write it down as a table.

    python benchmarks/plot_quantize.py quantize.json docs

needs the [plot] extra. Writes quantize-speed.svg and quantize-speed.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Result = dict[str, Any]

PICTURE = "quantize-speed.svg"
PAGE = """# How fast quantizing is

{machine}. The bytes of all are equal.
Made by `benchmarks/bench_quantize.py` and `benchmarks/plot_quantize.py`.

![Weights per second by tensor type, of every instruction set and of ggml]({picture})

Million weights per second, median of {runs} runs that alternate, and in brackets the ratio to
ggml's speed: its median, and its smallest and largest.

{speeds}

The types that need no search are bound by memory: the speed of ours as a fraction of the speed at
which as many threads merely read the float32 weights ({read:.1f} GB/s).

{fractions}

[quantize-bounds.md](quantize-bounds.md) says what bounds these figures, how long whole files take, and what
a Zen 3 machine gave.
"""


def describe(machine: dict[str, Any]) -> str:
    """Say where the figures come from."""
    threads = machine["threads"]
    return (
        f"{machine['cpu']}, {threads} thread{'s' if threads > 1 else ''}, "
        f"phigguf {machine['phigguf']} ({machine['commit']}) beside {machine['peer']}"
    )


def title(result: Result) -> str:
    """Name a result's row."""
    return f"{result['format']} with imatrix" if result["imatrix"] else str(result["format"])


def table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """Make a Markdown table whose first column is text and whose others are numbers."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def speed_rows(results: Sequence[Result], isas: Sequence[str], peer: str) -> Iterator[list[str]]:
    """Yield each result's speeds and ratios."""
    for result in results:
        speeds = {k: v["median"] / 1e6 for k, v in result["weights_per_second"].items()}
        ratios = result["ratio_to_ggml"]
        yield [
            title(result),
            f"{speeds[peer]:.1f}",
            *(
                f"{speeds[isa]:.0f} ({ratios[isa]['median']:.1f}; "
                f"{ratios[isa]['min']:.1f} to {ratios[isa]['max']:.1f})"
                for isa in isas
            ),
        ]


def fraction_rows(results: Sequence[Result], isas: Sequence[str]) -> Iterator[list[str]]:
    """Yield the fractions of reading speed, of the results that have them."""
    for result in results:
        if fractions := result.get("fraction_of_read"):
            yield [title(result), *(f"{fractions[isa]['median']:.0%}" for isa in isas)]


def page(measured: dict[str, Any]) -> str:
    """Return the page with both tables."""
    results = measured["results"]
    peer, *isas = results[0]["weights_per_second"]
    reads = [r["read_bytes_per_second"]["median"] for r in results if "fraction_of_read" in r]
    return PAGE.format(
        machine=describe(measured["machine"]),
        picture=PICTURE,
        runs=len(results[0]["weights_per_second"][peer]["runs"]),
        speeds=table(["type", "ggml", *isas], speed_rows(results, isas, peer)),
        read=float(np.median(reads)) / 1e9,
        fractions=table(["type", *isas], fraction_rows(results, isas)),
    )


def draw_bars(axes: Axes, results: Sequence[Result]) -> None:
    """Draw one bar per engine and format, with the spread of its runs."""
    engines = list(results[0]["weights_per_second"])
    width = 0.8 / len(engines)
    for place, engine in enumerate(engines):
        speeds = [result["weights_per_second"][engine] for result in results]
        medians = np.array([speed["median"] for speed in speeds])
        spread = [
            medians - [speed["min"] for speed in speeds],
            [speed["max"] for speed in speeds] - medians,
        ]
        at = np.arange(len(results)) + (place - (len(engines) - 1) / 2) * width
        style = {"color": "0.6", "label": "ggml"} if place == 0 else {"label": engine}
        axes.bar(at, medians / 1e6, width, yerr=np.array(spread) / 1e6, ecolor="0.3", **style)
    axes.set_yscale("log")
    axes.set_ylabel("million weights per second")
    axes.set_xticks(np.arange(len(results)), [result["format"] for result in results])
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def picture(measured: dict[str, Any]) -> Figure:
    """Draw the speeds without and with an importance matrix, one above the other."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    halves = figure.subplots(2, 1, sharey=True)
    for axes, imatrix in zip(halves, (False, True), strict=True):
        draw_bars(axes, [r for r in measured["results"] if r["imatrix"] is imatrix])
        axes.set_title("with an importance matrix" if imatrix else "without an importance matrix")
    halves[0].legend(ncols=5, loc="upper right")
    figure.suptitle(describe(measured["machine"]), fontsize="medium")
    return figure


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    measured = json.loads(arguments.json.read_text(encoding="utf-8"))
    mpl.rcParams["svg.hashsalt"] = "phigguf"  # equal figures, equal files
    mpl.rcParams["svg.fonttype"] = "none"  # letters, not their outlines: a small file
    picture(measured).savefig(arguments.folder / PICTURE, metadata={"Date": None})
    text = page(measured)
    (arguments.folder / PICTURE).with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
