"""The `phigguf` command: the library's verbs, with one line for every failure.

The exit status is 0 for success, 2 for what the user can put right, 130 after Ctrl-C, and 1 when
the reader of a pipe has gone (click's doing).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

import phigguf
from phigguf import cli_options as options

FAILED = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    Parameters
    ----------
    arguments
        The words after `phigguf`; those of this process if None.
    """
    _write_any_text()
    try:
        status = cli.main(arguments, prog_name="phigguf", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (phigguf.Error, OSError) as error:
        click.echo(f"phigguf: error: {error}", err=True)
        return FAILED
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def run() -> NoReturn:
    """Run this process's command line and exit."""
    sys.exit(main())


def _write_any_text() -> None:
    """Let a model say any character, even where the terminal cannot show it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(phigguf.__version__, message="phigguf %(version)s")
def cli() -> None:
    """Convert, quantize and run Phi models as GGUF files."""


@cli.command()
@click.argument("checkpoint", type=options.FILE)
@click.option("-o", "--output", type=options.FILE, required=True, help="GGUF file to write.")
@click.option(
    "--type",
    "type_name",
    default="BF16",
    show_default=True,
    help=options.TYPES,
)
@options.quantizing
def convert(checkpoint: Path, output: Path, type_name: str, as_json: bool, **settings: Any) -> None:
    """Turn a Hugging Face CHECKPOINT directory into a GGUF file of any type."""
    _show_report(phigguf.convert(checkpoint, output, type_name, **settings), as_json)


@cli.command()
@click.argument("source", type=options.FILE)
@click.argument("output", type=options.FILE)
@click.argument("type_name", metavar="TYPE")
@click.option(
    "--allow-requantize", is_flag=True, help="Read quantized tensors too; their errors add up."
)
@options.quantizing
def quantize(source: Path, output: Path, type_name: str, as_json: bool, **settings: Any) -> None:
    """Turn the GGUF file SOURCE into one of another TYPE, which `phigguf convert --help` lists."""
    _show_report(phigguf.quantize_file(source, output, type_name, **settings), as_json)


@cli.command()
@options.model
@click.option("-p", "--prompt", required=True, help="Text to continue; - reads standard input.")
@options.sampling
def generate(
    model: Path, prompt: str, n_ctx: int | None, kv_type: str, threads: int | None, **sampling: Any
) -> None:
    """Continue a prompt with MODEL."""
    from phigguf import generate as generation

    text = sys.stdin.read() if prompt == "-" else prompt
    loaded = phigguf.load(model, n_ctx=n_ctx, threads=threads, kv_type=kv_type)
    _stream(generation.generate(loaded, text, stream=True, **sampling))


@cli.command()
@options.model
@click.option("--system", help="What the model is told before the conversation.")
@options.sampling
def chat(
    model: Path,
    system: str | None,
    n_ctx: int | None,
    kv_type: str,
    threads: int | None,
    **sampling: Any,
) -> None:
    """Talk with MODEL, a line at a time; the end of input ends the conversation."""
    from phigguf import generate as generation

    loaded = phigguf.load(model, n_ctx=n_ctx, threads=threads, kv_type=kv_type)
    messages = [{"role": "system", "content": system}] if system else []
    for line in _user_lines():
        messages.append({"role": "user", "content": line})
        answer = _stream(generation.chat(loaded, messages, stream=True, **sampling))
        messages.append({"role": "assistant", "content": answer})


@cli.command()
@options.model
@click.option("--arrays", is_flag=True, help="With --json, write metadata arrays in full.")
@options.as_json
def inspect(model: Path, arrays: bool, as_json: bool) -> None:
    """Show the metadata and tensors of a GGUF file."""
    from phigguf import inspection

    with phigguf.read_gguf(model) as file:
        if as_json:
            _show_json(inspection.to_dict(file, arrays=arrays))
        else:
            click.echo(inspection.to_text(file))


@cli.command()
@options.model
@click.option(
    "-p",
    "--n-prompt",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Prompt tokens to read.",
)
@click.option(
    "-n",
    "--n-gen",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Tokens to generate.",
)
@click.option(
    "-d",
    "--n-depth",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Tokens in the cache before.",
)
@click.option("-r", "--repetitions", type=click.IntRange(min=1), default=5, show_default=True)
@options.kv_type
@options.threads
@options.as_json
def bench(
    model: Path,
    n_prompt: int,
    n_gen: int,
    n_depth: int,
    repetitions: int,
    kv_type: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure how fast MODEL reads a prompt and generates."""
    from phigguf.bench import measure

    loaded = phigguf.load(model, threads=threads, kv_type=kv_type)
    prefill, decode = measure(
        loaded, n_prompt=n_prompt, n_gen=n_gen, n_depth=n_depth, repetitions=repetitions
    )
    machine = _machine()
    if as_json:
        _show_json(
            {
                "model": str(model),
                **machine,
                "kv_type": kv_type,
                "depth": n_depth,
                "prefill_tps": prefill.median,
                "decode_tps": decode.median,
                "prefill": prefill.to_dict(),
                "decode": decode.to_dict(),
            }
        )
    else:
        click.echo(f"{model}, {machine['isa']}, {machine['threads']} threads, {machine['cpu']}")
        after = f" after {n_depth}" if n_depth else ""
        click.echo(f"prompt of {n_prompt:>5}{after}  {prefill}")
        click.echo(f"generated {n_gen:>5}{after}  {decode}")


@cli.command()
@options.as_json
def info(as_json: bool) -> None:
    """Show the version, the CPU and the instruction sets that can be used."""
    from phigguf._core import compiled_isas

    facts = _machine() | {
        "available_isas": phigguf.available_isas(),
        "compiled_isas": compiled_isas(),
    }
    if as_json:
        _show_json(facts)
        return
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"{name.replace('_', ' '):<15} {shown}")


@cli.command()
@click.option("-p", "--prompt", help="Text to continue.")
@click.option("-n", "--max-tokens", type=click.IntRange(min=1), default=128, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--perplexity", is_flag=True, help="Also measure it on text held out of training.")
@options.threads
def demo(
    prompt: str | None, max_tokens: int, seed: int, perplexity: bool, threads: int | None
) -> None:
    """Convert the small model in this package to Q4_K_M and let it write."""
    from phigguf.demo import run_demo

    run_demo(
        _write,
        prompt=prompt,
        max_tokens=max_tokens,
        seed=seed,
        perplexity=perplexity,
        threads=threads,
    )


def _machine() -> dict[str, Any]:
    from phigguf._core import num_threads
    from phigguf.system import cpu_name

    return {
        "version": phigguf.__version__,
        "isa": phigguf.isa(),
        "threads": num_threads(),
        "cpu": cpu_name(),
    }


def _write(text: str) -> None:
    click.echo(text, nl=False)  # click flushes, so a stream appears as it comes


def _stream(pieces: Iterable[str]) -> str:
    written = []
    for piece in pieces:
        _write(piece)
        written.append(piece)
    _write("\n")
    return "".join(written)


def _user_lines() -> Iterator[str]:
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            return
        if line:
            yield line


def _show_report(report: phigguf.Report, as_json: bool) -> None:
    if as_json:
        _show_json(report.to_dict())
    else:
        click.echo(str(report))


def _show_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, allow_nan=False))
