"""Write tiny_logits.json: the last token's logits of tests/tiny_checkpoints.py, by `transformers`.

    python tests/golden/make_tiny_logits.py

Needs torch and transformers. Everything is computed in float64 but for what `transformers` does in
float32 of its own accord.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny_checkpoints import CASES, LENGTHS, tokens_of, write_tiny_checkpoint


def model_of(case: str, directory: Path) -> PreTrainedModel:
    """Load a case's checkpoint; nothing in it may be left unused or made up."""
    write_tiny_checkpoint(directory, case)
    model, loading = AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=torch.float32,
        attn_implementation="eager",
        experts_implementation="eager",
        output_loading_info=True,
    )
    problems = {kind: names for kind, names in loading.items() if names}
    assert not problems, problems
    return model.eval().double()


def use_long_factors(model: PreTrainedModel, length: int) -> None:
    """Tell `transformers` 5's Phimoe how long a sequence is, which it forgets to look at."""
    rope = getattr(model.model, "rotary_emb", None)
    if model.config.model_type == "phimoe" and rope.rope_type == "longrope":
        rope.rope_init_fn = partial(ROPE_INIT_FUNCTIONS["longrope"], seq_len=length)


def last_logits(model: PreTrainedModel, length: int) -> list[float]:
    """Compute the logits after a whole sequence."""
    use_long_factors(model, length)
    return model(torch.tensor([tokens_of(length)]), use_cache=False).logits[0, -1].tolist()


def main() -> None:
    """Write the file."""
    logits = {}
    with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
        for case in CASES:
            model = model_of(case, Path(scratch, case))
            logits[case] = {length: last_logits(model, length) for length in LENGTHS}
    path = Path(__file__).with_name("tiny_logits.json")
    rounded = json.loads(json.dumps(logits), parse_float=lambda text: round(float(text), 7))
    path.write_text(json.dumps(rounded, separators=(",", ":")).replace("]", "]\n") + "\n")


if __name__ == "__main__":
    main()
