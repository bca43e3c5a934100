"""Write tiny_logits.json: the last token's logits of tests/tiny_checkpoints.py, by `transformers`.

    python tests/golden/make_tiny_logits.py

Of the logits every seventh is kept. Needs torch and transformers. Everything is computed in float64
but for what `transformers` does in float32 of its own accord.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "tools")]

from tiny_checkpoints import CASES, KEPT, lengths_of, tokens_of, write_tiny_checkpoint


def model_of(case: str, directory: Path, **changes: Any) -> PreTrainedModel:
    """Load a case's checkpoint in float32; nothing in it may be left unused or made up."""
    write_tiny_checkpoint(directory, case, **changes)
    model, loading = AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=torch.float32,
        # Eager attention holds all scores of a sequence at once.
        attn_implementation="eager" if max(lengths_of(case)) < 1000 else "sdpa",
        experts_implementation="eager",
        output_loading_info=True,
    )
    problems = {kind: names for kind, names in loading.items() if names}
    assert not problems, problems
    return model.eval()


def use_long_factors(model: PreTrainedModel, length: int) -> None:
    """Tell `transformers` 5's Phimoe how long a sequence is, which it forgets to look at."""
    rope = getattr(model.model, "rotary_emb", None)
    if model.config.model_type == "phimoe" and rope.rope_type == "longrope":
        rope.rope_init_fn = partial(ROPE_INIT_FUNCTIONS["longrope"], seq_len=length)


def logits_of(model: PreTrainedModel, tokens: list[int]) -> np.ndarray:
    """Compute the logits of every token of a sequence."""
    use_long_factors(model, len(tokens))
    with torch.no_grad():
        return model(torch.tensor([tokens]), use_cache=False).logits[0].numpy()


def main() -> None:
    """Write the file."""
    logits = {}
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES:
            model = model_of(case, Path(scratch, case)).double()
            logits[case] = {
                length: logits_of(model, tokens_of(length))[-1, KEPT].tolist()
                for length in lengths_of(case)
            }
    path = Path(__file__).with_name("tiny_logits.json")
    rounded = json.loads(json.dumps(logits), parse_float=lambda text: round(float(text), 7))
    path.write_text(json.dumps(rounded, separators=(",", ":")).replace("]", "]\n") + "\n")


if __name__ == "__main__":
    main()
