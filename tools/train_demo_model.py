"""Train the small Phi-3 model that `phigguf demo` runs, from a public-domain text.

The text is the King James Bible of Debian's packages `bible-kjv` and `bible-kjv-text`. Every
50th chapter is kept out of training and stored as ``heldout.txt``, one chapter per line. The
result is an ordinary Hugging Face checkpoint of at most 10 MB. It takes about half an hour on one
core::

    apt-get install bible-kjv bible-kjv-text
    pip install torch transformers sentencepiece
    OMP_NUM_THREADS=1 python tools/train_demo_model.py --output python/phigguf/demo_model
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from demo_tokenizer import save_tokenizer, to_hugging_face, train_sentencepiece, write_json
from safetensors.torch import save
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import Phi3Config, Phi3ForCausalLM

SEED = 1611
VERSES_IN_THE_BIBLE = 31_102
HELD_OUT_EVERY = 50
CONTEXT = 1024
TOKENS_PER_STEP = 4096
DROPOUT = 0.1
WEIGHT_DECAY = 0.1  # keeps outliers tame, so that 4-bit quantization costs little
WARMUP_STEPS = 100
MAX_BYTES = 10_000_000
PROMPT = "And it came to pass in those days, that"

Chapter = list[str]


# --- text ---------------------------------------------------------------------------------------


def read_chapters() -> list[Chapter]:
    """Return the chapters of the King James Bible, each one a list of verses."""
    printed = subprocess.run(
        ["bible", "-f", "Ge1:1-Rev22:21"], check=True, capture_output=True, text=True
    ).stdout
    verses = [re.fullmatch(r"(\w+?\d+):\d+ (.+)", line.strip()) for line in printed.splitlines()]
    found = [verse.groups() for verse in verses if verse]
    if len(found) != VERSES_IN_THE_BIBLE:
        raise SystemExit(f"bible -f printed {len(found)} verses, expected {VERSES_IN_THE_BIBLE}")
    by_chapter = itertools.groupby(found, key=lambda verse: verse[0])
    return [[" ".join(text.split()) for _, text in verses] for _, verses in by_chapter]


def split_chapters(chapters: Sequence[Chapter]) -> tuple[list[Chapter], list[Chapter]]:
    """Split whole chapters, spread evenly over the text, off as the held-out part."""
    held_out = range(HELD_OUT_EVERY // 2, len(chapters), HELD_OUT_EVERY)
    training = [chapter for i, chapter in enumerate(chapters) if i not in held_out]
    return training, [chapters[i] for i in held_out]


def dialogue(chapter: Chapter, rng: random.Random) -> str:
    """Turn a passage into Phi-3's chat format: the user quotes it, the assistant carries on."""
    start = rng.randrange(max(1, len(chapter) - 4))
    middle = start + rng.randint(1, 2)
    end = middle + rng.randint(2, 5)
    question, answer = " ".join(chapter[start:middle]), " ".join(chapter[middle:end])
    return f"<|user|>\n{question}<|end|>\n<|assistant|>\n{answer}<|end|>\n"


def training_documents(chapters: Sequence[Chapter]) -> Iterator[str]:
    """Yield each chapter as prose, half of them after ``<s>``, and as many short dialogues."""
    rng = random.Random(SEED)
    for chapter in rng.sample(chapters, len(chapters)):
        prose, chat = " ".join(chapter), dialogue(chapter, rng)
        yield from (f"<s>{prose}" if rng.random() < 0.5 else prose, chat)


# --- batches ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TokenStream:
    """Documents laid end to end, and where each one starts."""

    tokens: torch.Tensor
    starts: torch.Tensor

    @classmethod
    def of(cls, documents: Iterator[str], tokenizer: Tokenizer) -> TokenStream:
        """Encode each document and end it with ``<|endoftext|>``."""
        encoded = [tokenizer.encode(text + "<|endoftext|>").ids for text in documents]
        starts = list(itertools.accumulate(map(len, encoded[:-1]), initial=0))
        return cls(torch.tensor(list(itertools.chain(*encoded))), torch.tensor(starts))

    def batch(self, rows: int, length: int, generator: torch.Generator) -> torch.Tensor:
        """Draw int64 [rows, length + 1]; half of the rows begin where a document does."""
        anywhere = torch.randint(len(self.tokens), (rows,), generator=generator)
        document = torch.randint(len(self.starts), (rows // 2,), generator=generator)
        anywhere[: rows // 2] = self.starts[document]
        return self.tokens[(anywhere[:, None] + torch.arange(length + 1)) % len(self.tokens)]


# --- model --------------------------------------------------------------------------------------


def model_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the ``config.json`` of a Phi-3 whose every row is a multiple of 256 weights.

    Blocks of the k-quants are 256 weights wide.
    """
    end_of_text = tokenizer.token_to_id("<|endoftext|>")
    return {
        "architectures": ["Phi3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.token_to_id("<s>"),
        "embd_pdrop": 0.0,
        "eos_token_id": end_of_text,
        "hidden_act": "silu",
        "hidden_size": 256,
        "initializer_range": 0.02,
        "intermediate_size": 768,
        "max_position_embeddings": CONTEXT,
        "model_type": "phi3",
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "original_max_position_embeddings": CONTEXT,
        "pad_token_id": end_of_text,
        "resid_pdrop": 0.0,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": math.ceil(tokenizer.get_vocab_size() / 64) * 64,
    }


def generation_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the ``generation_config.json``; a text or a turn of a dialogue ends generation."""
    ends = ("<|endoftext|>", "<|assistant|>", "<|end|>")
    return {
        "bos_token_id": tokenizer.token_to_id("<s>"),
        "eos_token_id": [tokenizer.token_to_id(token) for token in ends],
        "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
    }


# --- training -----------------------------------------------------------------------------------


def train(model: Phi3ForCausalLM, stream: TokenStream, steps: int) -> Iterator[tuple[int, float]]:
    """Train in place with AdamW; yield the number and the loss of each step."""
    generator = torch.Generator().manual_seed(SEED)
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    vectors = [weight for weight in model.parameters() if weight.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}],
        weight_decay=WEIGHT_DECAY,
        betas=(0.9, 0.95),
        fused=True,
    )
    compiled = torch.compile(model, dynamic=False)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        length = row_length(step, steps)
        rows = stream.batch(TOKENS_PER_STEP // length, length, generator)
        model.train()
        with torch.autocast("cpu", torch.bfloat16):
            logits = compiled(rows[:, :-1], use_cache=False).logits
        loss = cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield step + 1, loss.item()


def learning_rate(step: int, steps: int, peak: float = 3e-3) -> float:
    """Return the rate of a linear warm-up, followed by half a cosine down to zero."""
    if step < WARMUP_STEPS:
        return peak * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def row_length(step: int, steps: int) -> int:
    """Return short rows, which train faster, and the whole context in the last quarter."""
    return 256 if step < 0.75 * steps else CONTEXT


# --- evaluation ---------------------------------------------------------------------------------


@torch.no_grad()
def perplexity(model: Phi3ForCausalLM, tokenizer: Tokenizer, chapters: Sequence[str]) -> float:
    """Return the perplexity per token, in float32.

    Each chapter is cut into windows of at most `CONTEXT` tokens; every token of a window but the
    first is predicted from those before it in the window.
    """
    model.eval()
    total, count = 0.0, 0
    for chapter in chapters:
        for window in torch.tensor(tokenizer.encode(chapter).ids).split(CONTEXT):
            logits = model(window[None], use_cache=False).logits[0, :-1]
            total += cross_entropy(logits, window[1:], reduction="sum").item()
            count += len(window) - 1
    return math.exp(total / count)


@torch.no_grad()
def complete(model: Phi3ForCausalLM, tokenizer: Tokenizer, prompt: str, temperature: float) -> str:
    """Continue `prompt` by up to 80 tokens; a temperature of zero takes the likeliest each time."""
    model.eval()
    choice: dict[str, Any] = {"do_sample": False}
    if temperature > 0:
        choice = {"do_sample": True, "temperature": temperature, "top_k": 0}
    with torch.random.fork_rng():  # sampling leaves the random numbers of training alone
        torch.manual_seed(SEED)
        prompt_ids = torch.tensor([tokenizer.encode(prompt).ids])
        tokens = model.generate(prompt_ids, max_new_tokens=80, **choice)
    return tokenizer.decode(tokens[0].tolist())


# --- checkpoint ---------------------------------------------------------------------------------

README = """\
# Demo model

A Phi-3-architecture model of {weights:,} weights, trained from scratch on the King James Bible.
It continues a text in that English, and answers a quoted passage with the passage that follows.

* Text: King James Bible (1611, public domain), from Debian's packages `bible-kjv` and
  `bible-kjv-text`.
* Made by `tools/train_demo_model.py` of phigguf, under phigguf's licence.
* `heldout.txt`: every {held_out_every}th chapter, one per line, never trained on. The perplexity
  of the bfloat16 weights on it is {perplexity:.3f} per token ({loss:.4f} nats): each line is
  tokenized by itself and cut into windows of at most {context} tokens, and every token of a window
  but the first is predicted from those before it in the window.
"""


def save_weights(directory: Path, model: Phi3ForCausalLM) -> None:
    """Write the weights in bfloat16, under a hard limit on the size of the whole checkpoint."""
    weights = {name: weight.bfloat16().contiguous() for name, weight in model.state_dict().items()}
    (directory / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    size = sum(file.stat().st_size for file in directory.iterdir())
    if size > MAX_BYTES:
        raise SystemExit(f"{directory} takes {size:,} bytes, more than {MAX_BYTES:,}")


def evaluate(directory: Path, tokenizer: Tokenizer, chapters: Sequence[str]) -> None:
    """Print what the stored checkpoint can do, and write it into its README."""
    model = Phi3ForCausalLM.from_pretrained(directory, dtype=torch.float32)
    held_out = perplexity(model, tokenizer, chapters)
    print(f"held-out perplexity of the bfloat16 checkpoint: {held_out:.4f}")
    for temperature in (0.0, 0.7):
        print(
            f"temperature {temperature}: {complete(model, tokenizer, PROMPT, temperature)}",
            flush=True,
        )
    readme = README.format(
        weights=model.num_parameters(),
        held_out_every=HELD_OUT_EVERY,
        perplexity=held_out,
        loss=math.log(held_out),
        context=CONTEXT,
    )
    (directory / "README.md").write_text(readme, encoding="utf-8")


def main() -> None:
    """Train the tokenizer and the model; the checkpoint is written anew at every report."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, required=True, help="directory of the checkpoint")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--report-every", type=int, default=200, metavar="STEPS")
    args = parser.parse_args()

    torch.manual_seed(SEED)
    training, held_out = split_chapters(read_chapters())
    held_out_prose = [" ".join(chapter) for chapter in held_out]
    sentencepiece_model = train_sentencepiece(" ".join(chapter) for chapter in training)
    tokenizer = to_hugging_face(sentencepiece_model)
    config = model_config(tokenizer)

    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "heldout.txt").write_text("\n".join(held_out_prose) + "\n", encoding="utf-8")
    save_tokenizer(args.output, sentencepiece_model, tokenizer, CONTEXT)
    write_json(args.output / "config.json", config)
    write_json(args.output / "generation_config.json", generation_config(tokenizer))

    model = Phi3ForCausalLM(Phi3Config(**{**config, "resid_pdrop": DROPOUT, "embd_pdrop": DROPOUT}))
    stream = TokenStream.of(training_documents(training), tokenizer)
    for step, loss in train(model, stream, args.steps):
        if step % args.report_every == 0 or step == args.steps:
            print(f"step {step}: training loss {loss:.3f}", flush=True)
            save_weights(args.output, model)
            evaluate(args.output, tokenizer, held_out_prose)


if __name__ == "__main__":
    main()
