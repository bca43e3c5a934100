"""Short calls of `_core.recode`, shared by the kernel tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from phigguf import _core

TYPES = {t["name"]: t for t in _core.tensor_types()}


def row_bytes(type_name: str, cols: int) -> int:
    t = TYPES[type_name]
    return cols // t["block_width"] * t["block_bytes"]


def recode(
    source: npt.NDArray[np.uint8],
    source_type: str,
    target_type: str,
    cols: int,
    imatrix: npt.NDArray[np.float32] | None = None,
    threads: int = 0,
) -> npt.NDArray[np.uint8]:
    target = np.zeros((len(source), row_bytes(target_type, cols)), np.uint8)
    _core.recode(source, source_type, target, target_type, cols, imatrix, threads)
    return target


def quantize(
    x: npt.NDArray[np.float32],
    type_name: str,
    imatrix: npt.NDArray[np.float32] | None = None,
    threads: int = 0,
) -> npt.NDArray[np.uint8]:
    return recode(x.view(np.uint8), "F32", type_name, x.shape[1], imatrix, threads)


def dequantize(blocks: npt.NDArray[np.uint8], type_name: str) -> npt.NDArray[np.float32]:
    t = TYPES[type_name]
    cols = blocks.shape[1] // t["block_bytes"] * t["block_width"]
    return recode(blocks, type_name, "F32", cols).view(np.float32)
