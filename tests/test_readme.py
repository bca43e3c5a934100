"""The README's Python runs as it is written."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path

import numpy as np

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_examples_run(checkpoint, tmp_path, monkeypatch, capsys):
    examples = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert len(examples) == 3
    shutil.copytree(checkpoint, tmp_path / "Phi-3-mini-4k-instruct")
    script = tmp_path / "examples.py"
    script.write_text("\n".join(examples), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(script))

    printed = capsys.readouterr().out
    assert str(names["report"]) in printed
    assert names["logits"].shape == (len(names["model"].tokenizer.encode("one two three")), 2112)
    assert len(names["answers"]) == 2
    assert (names["first"].shape, names["second"].shape) == ((3, 2112), (2, 2112))
    assert names["codes"].shape == (256, 576)
    assert np.abs(names["again"] - names["weights"]).max() < 0.5
    assert names["product"].shape == (256, 256)
    assert "phi3 (2112, 256)" in printed


def test_every_command_it_shows_exists():
    from phigguf.cli import cli

    shown = set(re.findall(r"`phigguf (\w+)", README))
    assert shown == set(cli.commands)
