"""Make golden distributions: logits, and what transformers' logits processors leave of them.

    python tests/golden/make_sampling.py

needs torch and transformers. The committed file comes from transformers 5.23.0. Logits are
multiples of 1/1024 without ties, so that every number in the file is exact and no order is free.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

SETTINGS: list[dict[str, float]] = [
    {},
    {"temperature": 0.3},
    {"temperature": 2.5},
    {"top_k": 1},
    {"top_k": 7},
    {"top_p": 0.5},
    {"top_p": 0.95},
    {"min_p": 0.05},
    {"min_p": 0.5},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.7},
    {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.1},
    {"temperature": 1.7, "top_k": 20, "top_p": 0.6},
    {"temperature": 1.2, "top_p": 0.9, "min_p": 0.1},
    {"temperature": 0.5, "top_k": 30, "min_p": 0.02, "repetition_penalty": 1.5},
]


def processors(settings: dict[str, Any]) -> LogitsProcessorList:
    """In the order of transformers' generate."""
    made = LogitsProcessorList()
    if "repetition_penalty" in settings:
        made.append(RepetitionPenaltyLogitsProcessor(settings["repetition_penalty"]))
    if "temperature" in settings:
        made.append(TemperatureLogitsWarper(settings["temperature"]))
    if "top_k" in settings:
        made.append(TopKLogitsWarper(settings["top_k"]))
    if "top_p" in settings:
        made.append(TopPLogitsWarper(settings["top_p"]))
    if "min_p" in settings:
        made.append(MinPLogitsWarper(settings["min_p"]))
    return made


def case(index: int, settings: dict[str, Any]) -> dict[str, Any]:
    rng = random.Random(index)
    logits = [value / 1024 for value in rng.sample(range(-12_000, 12_000), 64)]
    history = rng.choices(range(64), k=12)
    scores = torch.tensor([logits], dtype=torch.float64)
    left = torch.softmax(processors(settings)(torch.tensor([history]), scores), -1)[0]
    kept = {str(id): float(p) for id, p in enumerate(left) if p > 0}
    return {"settings": settings, "logits": logits, "history": history, "probabilities": kept}


def main() -> None:
    cases = [case(n * 100 + k, s) for k, s in enumerate(SETTINGS) for n in range(2)]
    path = Path(__file__).parent / "sampling.json"
    lines = ",\n".join(json.dumps(case) for case in cases)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
