"""Record what llama.cpp's converter makes of the checkpoints of conversion_cases.py.

    PYTHONPATH=tests:tools python tests/golden/make_conversion.py LLAMA_CPP_DIRECTORY

needs gguf, sentencepiece, torch and transformers, and a llama.cpp source tree for its
`convert_hf_to_gguf.py`. Writes conversion.json beside this script: all metadata but the
vocabulary's, and every tensor's type, shape and hash. The committed one comes from the llama.cpp
in llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gguf

from conversion_cases import CASES, write_case

# The converter knows a byte-level tokenizer by a hash over the ids it gives to some text, and
# refuses one that it has not met. Phi-2's name is put in for the small vocabulary here.
CONVERTER = """
import runpy, sys
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "phi-2"
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
TYPES = ("f32", "bf16", "f16", "q8_0")


def metadata(reader: gguf.GGUFReader) -> dict[str, Any]:
    """Return each entry's value type and value."""
    entries = {}
    for key, entry in reader.fields.items():
        if not key.startswith(("tokenizer.", "GGUF.")):
            kind = "array of " if entry.types[0] is gguf.GGUFValueType.ARRAY else ""
            entries[key] = [kind + entry.types[-1].name.lower(), entry.contents()]
    return entries


def tensors(reader: gguf.GGUFReader) -> dict[str, list[Any]]:
    """Return each tensor's type, shape (slowest dimension first) and hash."""
    return {
        tensor.name: [
            tensor.tensor_type.name,
            [int(size) for size in reversed(tensor.shape)],
            hashlib.sha256(tensor.data.tobytes()).hexdigest()[:16],
        ]
        for tensor in reader.tensors
    }


def main() -> None:
    script = Path(sys.argv[1], "convert_hf_to_gguf.py").absolute()
    golden: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in CASES:
            source = write_case(Path(scratch), name)
            golden[name] = {"tensors": {}}
            for type_ in TYPES:
                target = Path(scratch, f"{name}.gguf")
                arguments = [script, source, "--outfile", target, "--outtype", type_]
                command = [sys.executable, "-c", CONVERTER, *map(str, arguments)]
                subprocess.run(command, check=True, capture_output=True)
                reader = gguf.GGUFReader(target)
                golden[name]["metadata"] = metadata(reader)
                golden[name]["tensors"][type_] = tensors(reader)
    text = json.dumps(golden, indent=1)
    Path(__file__).with_name("conversion.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
