"""ggml's own quantizers: two independent builds from the package registry."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import libggml
import libgguf
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def libgguf_quantize(x: Floats, type_id: int, imatrix: Floats | None) -> Bytes:
    raw = libgguf.quantize_rows_raw(type_id, x, len(x), x.shape[1], imatrix)
    return np.frombuffer(raw, np.uint8).reshape(len(x), -1)


@functools.cache
def _ggml() -> ctypes.CDLL:
    library = ctypes.CDLL(str(Path(libggml.__file__).parent / "lib64" / "libggml-base.so"))
    library.ggml_row_size.restype = ctypes.c_size_t
    library.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_void_p,
    ]
    return library


def libggml_quantize_into(x: Floats, blocks: Bytes, type_id: int, imatrix: Floats | None) -> None:
    written = _ggml().ggml_quantize_chunk(
        type_id,
        x.ctypes.data,
        blocks.ctypes.data,
        0,
        *x.shape,
        None if imatrix is None else imatrix.ctypes.data,
    )
    assert written == blocks.nbytes


def libggml_quantize(x: Floats, type_id: int, imatrix: Floats | None) -> Bytes:
    blocks = np.empty((len(x), _ggml().ggml_row_size(type_id, x.shape[1])), np.uint8)
    libggml_quantize_into(x, blocks, type_id, imatrix)
    return blocks


ORACLES = {"libgguf": libgguf_quantize, "libggml-python": libggml_quantize}
