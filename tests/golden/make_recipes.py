"""Record what llama.cpp's quantizer makes of small models: types and hashes per tensor.

    pip install llama-cpp-python==0.3.36 -C cmake.args="-DGGML_NATIVE=OFF"
    PYTHONPATH=tests:tools python tests/golden/make_recipes.py .../llama_cpp/lib/libllama.so

Writes recipes.json beside this script. Types with an importance matrix are recorded where they
differ from those without.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from phigguf.hf_to_gguf import convert
from phigguf.io.gguf import read_gguf
from phigguf.io.imatrix import Imatrix
from phigguf.plan import is_quantizable
from phigguf.recipes import STOCK_RECIPES
from phigguf.types import tensor_type
from small_models import (
    GEOMETRIES,
    HASHED,
    OTHERS,
    OVERRIDDEN,
    OVERRIDES,
    checkpoint,
    imatrix_for,
)

Types = dict[str, dict[str, str]]
Hashes = dict[str, dict[str, str]]


class ImatrixEntry(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.POINTER(ctypes.c_float)),
        ("size", ctypes.c_size_t),
    )


class Override(ctypes.Structure):
    _fields_ = (("pattern", ctypes.c_char_p), ("type", ctypes.c_int32))


class Parameters(ctypes.Structure):
    """llama.h's llama_model_quantize_params."""

    _fields_ = (
        ("nthread", ctypes.c_int32),
        ("ftype", ctypes.c_int32),
        ("output_tensor_type", ctypes.c_int32),
        ("token_embedding_type", ctypes.c_int32),
        ("allow_requantize", ctypes.c_bool),
        ("quantize_output_tensor", ctypes.c_bool),
        ("only_copy", ctypes.c_bool),
        ("pure", ctypes.c_bool),
        ("keep_split", ctypes.c_bool),
        ("dry_run", ctypes.c_bool),
        ("imatrix", ctypes.POINTER(ImatrixEntry)),
        ("kv_overrides", ctypes.c_void_p),
        ("tt_overrides", ctypes.POINTER(Override)),
        ("prune_layers", ctypes.c_void_p),
        ("max_buf_size", ctypes.c_size_t),
    )


class LlamaCpp:
    """llama.cpp's quantizer, from its shared library."""

    def __init__(self, path: str) -> None:
        self.library = ctypes.CDLL(path)
        self.library.llama_model_quantize_default_params.restype = Parameters
        self.silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
            lambda level, text, data: None
        )
        self.library.llama_log_set(self.silent, None)
        self.library.llama_backend_init()

    def quantize(
        self,
        src: Path,
        dst: Path,
        file_type: int,
        imatrix: Imatrix | None = None,
        overrides: Sequence[tuple[str, str]] = (),
    ) -> None:
        parameters = self.library.llama_model_quantize_default_params()
        parameters.nthread = 2
        parameters.ftype = file_type
        if imatrix:
            parameters.imatrix = imatrix_entries(imatrix)
        if overrides:
            pairs = [Override(name.encode(), tensor_type(type_).id) for name, type_ in overrides]
            parameters.tt_overrides = (Override * (len(pairs) + 1))(*pairs)
        status = self.library.llama_model_quantize(
            str(src).encode(), str(dst).encode(), ctypes.byref(parameters)
        )
        if status:
            raise SystemExit(f"llama.cpp refused file type {file_type}")


def imatrix_entries(imatrix: Imatrix) -> ctypes.Array[ImatrixEntry]:
    entries = [
        ImatrixEntry(
            name.encode(), values.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), values.size
        )
        for name, values in imatrix.entries.items()
    ]
    return (ImatrixEntry * (len(entries) + 1))(*entries)


def types_by_kind(path: Path) -> dict[str, str]:
    """Return each kind of weight's types in layer order: ``{"ffn_down": "1xQ6_K 2xQ4_K"}``."""
    kinds: dict[str, list[str]] = {}
    with read_gguf(path) as file:
        for name, tensor in file.tensors.items():
            if is_quantizable(name, tensor.shape):
                kinds.setdefault(name.split(".")[-2], []).append(tensor.type.name)
    return {
        kind: " ".join(f"{len(list(run))}x{type_}" for type_, run in itertools.groupby(types))
        for kind, types in sorted(kinds.items())
    }


def hashes(path: Path) -> dict[str, str]:
    with read_gguf(path) as file:
        return {
            name: hashlib.sha256(tensor.data).hexdigest()[:16]
            for name, tensor in file.tensors.items()
        }


def record(llama: LlamaCpp, case: str) -> tuple[Types, Hashes]:
    """Quantize one model by every recipe, each without and with an importance matrix."""
    types: Types = {}
    sums: Hashes = {}
    with tempfile.TemporaryDirectory() as scratch:
        source, output = Path(scratch, "f32.gguf"), Path(scratch, "quantized.gguf")
        convert(checkpoint(Path(scratch, "model"), case), source, "F32", progress=False)
        imatrix = imatrix_for(source)
        for recipe in STOCK_RECIPES.values():
            if not recipe.needs_imatrix:
                llama.quantize(source, output, recipe.file_type)
                types[recipe.name] = types_by_kind(output)
                sums[recipe.name] = hashes(output)
            llama.quantize(source, output, recipe.file_type, imatrix)
            guided = types_by_kind(output)
            if guided != types.get(recipe.name):
                types[f"{recipe.name} with imatrix"] = guided
            sums[f"{recipe.name} with imatrix"] = hashes(output)
    return types, sums


def record_overrides(llama: LlamaCpp) -> Types:
    """Quantize one model by every recipe that is not a float type, with single types changed."""
    types: Types = {}
    with tempfile.TemporaryDirectory() as scratch:
        source, output = Path(scratch, "f32.gguf"), Path(scratch, "quantized.gguf")
        convert(checkpoint(Path(scratch, "model"), OVERRIDDEN), source, "F32", progress=False)
        imatrix = imatrix_for(source)
        for recipe in STOCK_RECIPES.values():
            if recipe.default_type.block_width > 1:
                llama.quantize(source, output, recipe.file_type, imatrix, OVERRIDES)
                types[recipe.name] = types_by_kind(output)
    return types


def main() -> None:
    llama = LlamaCpp(sys.argv[1])
    records = {case: record(llama, case) for case in (*GEOMETRIES, *OTHERS)}
    golden = {
        "types": {case: types for case, (types, _) in records.items()},
        "types with overrides": record_overrides(llama),
        "sha256": {case: records[case][1] for case in HASHED},
    }
    text = json.dumps(golden, indent=1)
    Path(__file__).with_name("recipes.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
