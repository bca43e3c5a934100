"""Draw what bench_vs_peers.py and bench_matmul.py measured, and write it down as tables.

    python benchmarks/plot_speed.py docs --peers peers.json... --matmul matmul.json --avx2 avx2.json

needs the [plot] extra. Writes speed.md, speed-peers.svg and speed-matmul.svg.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

Result = dict[str, Any]

PEERS_PICTURE, MATMUL_PICTURE = "speed-peers.svg", "speed-matmul.svg"
LABELS = {
    "phigguf": "phigguf",
    "llama.cpp": "llama.cpp",
    "llama.cpp-no-repack": "llama.cpp, no repack",
    "ik_llama.cpp": "ik_llama.cpp",
}
COLORS = {
    "phigguf": "tab:blue",
    "llama.cpp": "0.45",
    "llama.cpp-no-repack": "0.65",
    "ik_llama.cpp": "0.8",
}
PAGE = """# How fast prompts and generation are

{machine}.
Made by `benchmarks/bench_vs_peers.py`, `benchmarks/bench_matmul.py` and `benchmarks/plot_speed.py`.

## Beside llama.cpp and ik_llama.cpp

Both peers are built from their sdists for this CPU (`GGML_NATIVE=ON`). All engines read the same file with the same
number of threads, in turns; weights are synthetic but the demo's. Tokens per second, median of {runs} runs, and in
brackets the fraction of the limit that was measured in the same rounds: its median, and its smallest and largest. This
machine is a virtual one that shares its host, hence the spread. On a CPU with AMX, llama.cpp is built without it: with
it, llama-cpp-python 0.3.36 crashed at a prompt of 512 tokens.

![Fraction of the limit by model, of every engine]({peers_picture})

### Prompts

The limit is the speed at which {threads} threads multiply and add bytes with {instruction}, when they do nothing else:
{int8:.0f} billion a second, divided by the weights of the layers. It is no bound for a kernel that uses AMX, or sums
several products in 16 bits before it widens them. Without repack, llama.cpp uses the weights as they lie in the file; else it
copies them into another order when it loads the model.

{prompts}

### Generation

The limit is the speed at which as many threads read memory, {read:.1f} GB/s, divided by the bytes of the weights; models
smaller than the caches can be faster. That is memory in huge pages, read as four streams by each thread; in pages of
4 KB it is {small:.1f} GB/s. Files had been read anew from disk, which leaves them in larger pages than writing them
does: a file that lies in the page cache as it was written took up to a tenth longer per token. Choosing a token is
not included.

{generation}

### Loading

Seconds until the model is ready to read a prompt, its file in the page cache.

{loading}

{avx2}## By format

Billion multiply-adds per second of one matrix multiplication with {matmul_threads} threads, by tokens, of {columns}
weights in a row; for one token, also the weight's bytes read per second. In the same run the limits were
{matmul_int8:.0f} billion a second for bytes, {matmul_float:.0f} for float32 and {matmul_read:.1f} GB/s.

![Multiply-adds per second by format and number of tokens]({matmul_picture})

{matmul}
"""

AVX2_SECTION = """## With AVX2 alone

The same with `PHIGGUF_ISA=avx2`, beside a llama.cpp built with AVX-512 off (`GGML_NATIVE=OFF` and AVX2, FMA, F16C and
BMI2 on). Fractions are of the limits above, which take AVX-512, measured in the same rounds.

### Prompts

{prompts}

### Generation

{generation}

"""


def table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """Make a Markdown table whose first column is text and whose others are numbers."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def describe(machine: Result) -> str:
    """Say where the figures come from."""
    peers = f" beside {machine['peer']}" if machine["peer"] else ""
    return (
        f"{machine['cpu']} ({machine['isa']}), {machine['threads']} threads, "
        f"phigguf {machine['phigguf']} ({machine['commit']}){peers}"
    )


def name(result: Result) -> str:
    """Name a model as its file is named."""
    return str(result["model"]).removesuffix(".gguf")


def task_rows(results: Sequence[Result], kind: str, engines: Sequence[str]) -> Iterator[list[str]]:
    """Yield the speeds and fractions of all tasks of a kind."""
    for result in results:
        for task in result["tasks"]:
            if not task["task"].startswith(kind):
                continue
            cells = []
            for engine in engines:
                speed = task["tokens_per_second"][engine]["median"]
                fraction = task["fraction_of_limit"][engine]
                spread = f"{fraction['min']:.2f} to {fraction['max']:.2f}"
                cells.append(f"{speed:.1f} ({fraction['median']:.2f}; {spread})")
            what = task["task"].removeprefix(f"{kind} ")
            yield [name(result), what, *cells, f"{task['limit']['median']:.1f}"]


def loading_rows(results: Sequence[Result], engines: Sequence[str]) -> Iterator[list[str]]:
    """Yield the seconds that loading took."""
    for result in results:
        yield [name(result), *(f"{result['load_seconds'][engine]:.2f}" for engine in engines)]


def matmul_rows(measured: Result) -> Iterator[list[str]]:
    """Yield the speeds of each format and instruction set."""
    speeds: dict[tuple[str, str], list[Result]] = {}
    for result in measured["results"]:
        speeds.setdefault((result["format"], result["isa"]), []).append(result)
    for (fmt, isa), results in speeds.items():
        macs = [f"{result['macs_per_second']['median'] / 1e9:.1f}" for result in results]
        yield [fmt, isa, *macs, f"{results[0]['bytes_per_second']['median'] / 1e9:.1f}"]


def limit(results: Sequence[Result], key: str) -> float:
    """Return the median of a limit over all models, in billions."""
    found = [result["limits"].get("all", result["limits"]["one"])[key] for result in results]
    return float(np.median([each["median"] for each in found])) / 1e9


def task_table(results: Sequence[Result], kind: str) -> str:
    """Return the table of all tasks of a kind."""
    engines = list(results[0]["load_seconds"])
    labels = [LABELS[engine] for engine in engines]
    return table(["model", "tokens", *labels, "limit"], task_rows(results, kind, engines))


def avx2_section(results: Sequence[Result]) -> str:
    """Return what was measured with AVX2 alone, if anything was."""
    if not results:
        return ""
    return AVX2_SECTION.format(
        prompts=task_table(results, "prefill"), generation=task_table(results, "decode")
    )


def page(machine: Result, results: Sequence[Result], matmul: Result, avx2: Sequence[Result]) -> str:
    """Return the page with all tables."""
    engines = list(results[0]["load_seconds"])
    labels = [LABELS[engine] for engine in engines]
    tokens = sorted({result["tokens"] for result in matmul["results"]})
    runs = {len(task["limit"]["runs"]) for result in results for task in result["tasks"]}
    limits = matmul["limits"]
    return PAGE.format(
        machine=describe(machine),
        runs=" or ".join(map(str, sorted(runs))),
        peers_picture=PEERS_PICTURE,
        threads=machine["threads"],
        instruction=results[0]["int8_instruction"],
        int8=limit(results, "int8_macs"),
        read=limit(results, "read_bytes"),
        small=limit(results, "read_small_pages_bytes"),
        prompts=task_table(results, "prefill"),
        generation=task_table(results, "decode"),
        loading=table(["model", *labels], loading_rows(results, engines)),
        avx2=avx2_section(avx2),
        matmul_threads=matmul["machine"]["threads"],
        columns=3072,
        matmul_int8=limits["int8_macs"]["median"] / 1e9,
        matmul_float=limits["float32_macs"]["median"] / 1e9,
        matmul_read=limits["read_bytes"]["median"] / 1e9,
        matmul_picture=MATMUL_PICTURE,
        matmul=table(["format", "isa", *map(str, tokens), "GB/s"], matmul_rows(matmul)),
    )


def peers_picture(machine: Result, results: Sequence[Result]) -> Figure:
    """Draw every engine's fraction of the limit, for prompts above and generation below."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    halves = figure.subplots(2, 1)
    engines = list(results[0]["load_seconds"])
    width = 0.8 / len(engines)
    for axes, kind, title in zip(
        halves, ("prefill", "decode"), ("prompts", "generation"), strict=True
    ):
        tasks = [
            (f"{name(result)}\n{task['task'].removeprefix(kind + ' ')}", task)
            for result in results
            for task in result["tasks"]
            if task["task"].startswith(kind)
        ]
        for place, engine in enumerate(engines):
            fractions = [task["fraction_of_limit"][engine] for _, task in tasks]
            at = np.arange(len(tasks)) + (place - (len(engines) - 1) / 2) * width
            medians = np.array([fraction["median"] for fraction in fractions])
            spread = [
                medians - [fraction["min"] for fraction in fractions],
                [fraction["max"] for fraction in fractions] - medians,
            ]
            axes.bar(
                at,
                medians,
                width,
                yerr=spread,
                ecolor="0.3",
                color=COLORS[engine],
                label=LABELS[engine],
            )
        axes.set_xticks(np.arange(len(tasks)), [label for label, _ in tasks], fontsize="x-small")
        axes.set_ylabel("fraction of the limit")
        axes.set_title(title)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    halves[0].legend(ncols=4, fontsize="small")
    figure.suptitle(describe(machine), fontsize="small")
    return figure


def matmul_picture(measured: Result) -> Figure:
    """Draw multiply-adds per second of each format, a bar for each number of tokens."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots()
    best = [result for result in measured["results"] if result["isa"] == measured["machine"]["isa"]]
    formats = list(dict.fromkeys(result["format"] for result in best))
    tokens = sorted({result["tokens"] for result in best})
    width = 0.8 / len(tokens)
    for place, count in enumerate(tokens):
        speeds = [r["macs_per_second"]["median"] / 1e9 for r in best if r["tokens"] == count]
        at = np.arange(len(formats)) + (place - (len(tokens) - 1) / 2) * width
        shade = mpl.colormaps["Blues"](0.3 + 0.6 * place / (len(tokens) - 1))
        axes.bar(
            at, speeds, width, color=shade, label=f"{count} tokens" if count > 1 else "1 token"
        )
    peak = measured["limits"]["int8_macs"]["median"] / 1e9
    axes.axhline(peak, color="tab:red", lw=1, label=f"limit for bytes ({peak:.0f})")
    axes.set_xticks(np.arange(len(formats)), formats)
    axes.set_ylabel("billion multiply-adds per second")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(ncols=6, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, 1.14))
    return figure


def read(path: Path) -> Result:
    """Return the JSON of a benchmark."""
    measured: Result = json.loads(path.read_text(encoding="utf-8"))
    return measured


def all_results(measured: Sequence[Result]) -> list[Result]:
    """Return the results of all files."""
    return [result for each in measured for result in each["results"]]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", type=Path, nargs="+", required=True)
    parser.add_argument("--matmul", type=Path, required=True)
    parser.add_argument("--avx2", type=Path, nargs="*", default=[], help="peers with AVX2 alone")
    arguments = parser.parse_args()
    measured = [read(path) for path in arguments.peers]
    matmul = read(arguments.matmul)
    results = all_results(measured)
    avx2 = all_results([read(path) for path in arguments.avx2])
    machine = measured[0]["machine"]
    mpl.rcParams["svg.hashsalt"] = "phigguf"  # equal figures, equal files
    for picture, path in (
        (peers_picture(machine, results), PEERS_PICTURE),
        (matmul_picture(matmul), MATMUL_PICTURE),
    ):
        picture.savefig(arguments.folder / path, metadata={"Date": None})
    text = page(machine, results, matmul, avx2)
    (arguments.folder / "speed.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
