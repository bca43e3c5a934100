"""Files equal to llama.cpp's, byte by byte, with its quantizer running beside ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from phigguf import gguf_to_gguf, hf_to_gguf
from phigguf.recipes import STOCK_RECIPES
from phigguf.types import tensor_type
from small_models import OTHERS, checkpoint

pytestmark = pytest.mark.oracle

# cyllama's binding cannot pass an importance matrix; tests/golden/recipes.json covers those.
UNGUIDED = [name for name, recipe in STOCK_RECIPES.items() if not recipe.needs_imatrix]
DEPTHS = ("1 layers, 1 per kv", "2 layers, 4 per kv", "4 layers, 1 per kv", "8 layers, 4 per kv")

# llama.cpp ends its process on some inputs and prints on every one, so it gets its own.
LLAMA_CPP = """
import json, sys
from cyllama.llama import llama_cpp
source, target, options = sys.argv[1:]
parameters = llama_cpp.LlamaModelQuantizeParams()
for name, value in json.loads(options).items():
    setattr(parameters, name, value)
llama_cpp.model_quantize(source, target, parameters)
"""


def llama_cpp_quantize(source: Path, target: Path, options: dict[str, Any]) -> None:
    command = [sys.executable, "-c", LLAMA_CPP, str(source), str(target), json.dumps(options)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)


@pytest.fixture(scope="module", params=[*DEPTHS, "2 layers, tied", *OTHERS])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a checkpoint, ``model``, and what we make of it, ``BF16.gguf``."""
    folder = tmp_path_factory.mktemp("oracle")
    checkpoint(folder / "model", request.param)
    hf_to_gguf.convert(folder / "model", folder / "BF16.gguf", "BF16", progress=False)
    return folder


def assert_equal_files(
    model: Path, tmp_path: Path, recipe: str, theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    """Quantize by llama.cpp and by phigguf, each with its own options: all bytes agree."""
    expected, direct, detour = (tmp_path / f"{name}.gguf" for name in ("llama", "hf", "gguf"))
    theirs = {"ftype": STOCK_RECIPES[recipe].file_type, **theirs}
    llama_cpp_quantize(model / "BF16.gguf", expected, theirs)
    hf_to_gguf.convert(model / "model", direct, recipe, progress=False, **ours)
    gguf_to_gguf.quantize_file(model / "BF16.gguf", detour, recipe, progress=False, **ours)
    assert direct.read_bytes() == expected.read_bytes()
    assert detour.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("recipe", UNGUIDED)
def test_every_recipe_gives_llama_cpps_file(model: Path, recipe: str, tmp_path: Path) -> None:
    assert_equal_files(model, tmp_path, recipe, {}, {})


Q5_0, Q8_0 = (tensor_type(name).id for name in ("Q5_0", "Q8_0"))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"pure": True}, {"pure": True}),
        ({"output_tensor_type": Q5_0}, {"output_type": "Q5_0"}),
        ({"token_embedding_type": Q8_0}, {"embedding_type": "Q8_0"}),
        (
            {"output_tensor_type": Q5_0, "token_embedding_type": Q8_0},
            {"output_type": "Q5_0", "embedding_type": "Q8_0"},
        ),
    ],
)
@pytest.mark.parametrize("recipe", ["Q4_K_M", "Q3_K_L"])
def test_options_give_llama_cpps_file(
    model: Path, recipe: str, theirs: dict[str, Any], ours: dict[str, Any], tmp_path: Path
) -> None:
    assert_equal_files(model, tmp_path, recipe, theirs, ours)
