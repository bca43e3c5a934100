"""Checkpoints with the features that a conversion must carry over, small and always the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from make_synthetic_checkpoint import Geometry, write_checkpoint

from tiny_checkpoints import write_tiny_checkpoint

VOCABULARY = Path(__file__).parent / "golden" / "vocabulary" / "phi3"

MODEL_CARD = """\
---
license: mit
license_link: https://huggingface.co/microsoft/Phi-3-mini-4k-instruct/resolve/main/LICENSE
language:
- en
- no
pipeline_tag: text-generation
tags:
- nlp
- code
base_model: microsoft/Phi-3-mini-4k-base
datasets:
- https://huggingface.co/datasets/someone/something
- someone/some-7B-chat-v0.2
inference:
  parameters:
    temperature: 0
---
# A model
"""


@dataclass(frozen=True)
class Case:
    """A checkpoint: its geometry, what differs from the tool's ``config.json``, further files.

    In place of a geometry, the name of a tiny checkpoint of another architecture.
    """

    geometry: Geometry | str
    config: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


CASES = {
    "Phi-3-mini-4k-instruct": Case(
        Geometry(448, 256, 512, 2, 4, 4, sliding_window=2047),
        files={"README.md": MODEL_CARD},
    ),
    "Phi-3.5-mini-instruct": Case(
        Geometry(448, 256, 512, 2, 4, 4, max_position_embeddings=131072, sliding_window=262144),
        config={"_name_or_path": "microsoft/Phi-3.5-mini-instruct"},
    ),
    # transformers 5's layout, with Phi-4-mini's features.
    "tuned-448K-chat-v1.2": Case(
        Geometry(448, 256, 256, 3, 8, 2, max_position_embeddings=16384, tie_word_embeddings=True),
        config={
            "rope_scaling": None,
            "rope_theta": None,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 12345.5,
                "partial_rotary_factor": 0.75,
                "original_max_position_embeddings": 4096,
                "short_factor": [1.0 + 0.1 * i for i in range(12)],
                "long_factor": [1.5 + 0.7 * i for i in range(12)],
            },
        },
        files={
            "generation_config.json": json.dumps(
                {"temperature": 0.7, "top_k": 40, "top_p": 0.95, "repetition_penalty": 1.1}
            )
        },
    ),
    "phi-2": Case("phi2"),
    "Phi-3.5-MoE-instruct": Case(
        "phimoe with LongRoPE", config={"_name_or_path": "microsoft/Phi-3.5-MoE-instruct"}
    ),
}


def write_case(parent: Path, name: str) -> Path:
    """Write a case's checkpoint in a directory of its name and return that."""
    case = CASES[name]
    directory = parent / name
    if isinstance(case.geometry, str):
        write_tiny_checkpoint(directory, case.geometry)
    else:
        write_checkpoint(directory, case.geometry, seed=len(name))
        for file in VOCABULARY.glob("*token*"):
            shutil.copy(file, directory)
    change_json(directory / "config.json", case.config)
    for file_name, text in case.files.items():
        (directory / file_name).write_text(text, encoding="utf-8")
    return directory


def change_json(path: Path, changes: Mapping[str, Any]) -> None:
    """Set fields of a JSON file; None removes one."""
    fields = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    kept = {key: value for key, value in fields.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")
