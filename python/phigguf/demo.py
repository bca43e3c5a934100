"""The demonstration: the small model in this package, converted and run before your eyes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

import phigguf
from phigguf._core import num_threads
from phigguf.generate import generate
from phigguf.models import Model

PROMPT = "And it came to pass in those days, that"
TEMPERATURE = 0.7
REPETITION_PENALTY = 1.05
TYPE = "Q4_K_M"


def run_demo(
    write: Callable[[str], None],
    *,
    prompt: str | None = None,
    max_tokens: int = 128,
    seed: int = 0,
    perplexity: bool = False,
    threads: int | None = None,
) -> None:
    """Convert the packaged checkpoint to Q4_K_M in a temporary directory and let it write.

    Parameters
    ----------
    write
        Takes each piece of output as it comes; pieces are not lines.
    prompt
        Text to continue.
    max_tokens
        Tokens to write.
    seed
        Seed of the sampler.
    perplexity
        Also compare the perplexities of Q4_K_M and BF16 on text held out of training.
    threads
        Threads; all cores if None.
    """
    with demo_checkpoint() as checkpoint, _scratch_directory() as scratch:
        file = scratch / f"demo-{TYPE}.gguf"
        write(f"Converting the demo checkpoint to {TYPE}\n\n")
        write(f"{phigguf.convert(checkpoint, file, TYPE, threads=threads)}\n\n")
        model = phigguf.load(file, threads=threads)
        _complete(write, model, prompt or PROMPT, max_tokens, seed)
        if perplexity:
            _compare_perplexities(write, model, checkpoint, scratch, threads)


@contextmanager
def demo_checkpoint() -> Iterator[Path]:
    """Give the directory of the packaged Hugging Face checkpoint."""
    with as_file(files("phigguf") / "demo_model") as directory:
        yield directory


@contextmanager
def _scratch_directory() -> Iterator[Path]:
    # Windows does not delete a file that is still mapped; it will when it cleans up.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def held_out_texts(checkpoint: Path) -> list[str]:
    """Return the chapters that the demo model was not trained on."""
    return (checkpoint / "heldout.txt").read_text(encoding="utf-8").splitlines()


def _complete(
    write: Callable[[str], None], model: Model, prompt: str, max_tokens: int, seed: int
) -> None:
    write(prompt)
    stream = generate(
        model,
        prompt,
        max_tokens=max_tokens,
        temperature=TEMPERATURE,
        repetition_penalty=REPETITION_PENALTY,
        seed=seed,
        stream=True,
    )
    for piece in stream:
        write(piece)
    if stream.result:
        write(
            f"\n\n{len(stream.result.token_ids)} tokens, {stream.result.decode_tps:.0f} tokens/s "
        )
        write(f"({phigguf.isa()}, {num_threads()} threads)\n")


def _compare_perplexities(
    write: Callable[[str], None],
    model: Model,
    checkpoint: Path,
    scratch: Path,
    threads: int | None,
) -> None:
    from phigguf.perplexity import perplexity

    reference_file = scratch / "demo-BF16.gguf"
    phigguf.convert(checkpoint, reference_file, "BF16", threads=threads)
    texts = held_out_texts(checkpoint)
    quantized = perplexity(model, texts)
    reference = perplexity(phigguf.load(reference_file, threads=threads), texts)
    change = 100 * (quantized / reference - 1)
    write(f"\nPerplexity on text held out of training: {TYPE} {quantized:.3f}, ")
    write(f"BF16 {reference:.3f} ({change:+.2f} %)\n")
