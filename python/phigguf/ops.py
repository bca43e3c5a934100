"""Arrays in, arrays out: the native kernels as functions of NumPy arrays.

Quantizing and decoding follow ggml bit for bit. Products and the operations between them give the
same bits on every instruction set, for any number of threads, and for one row or many.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import _core
from .errors import ShapeError
from .types import TensorType, tensor_type

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def quantize(
    x: npt.ArrayLike,
    type: str,
    *,
    imatrix: npt.ArrayLike | None = None,
    threads: int | None = None,
) -> Bytes:
    """Turn numbers into a tensor type, as ggml does.

    Parameters
    ----------
    x
        float32 [..., cols], or what converts to it.
    type
        ggml's name, for example ``"Q4_K"``.
    imatrix
        float32 [cols]: importance of each column, finite and not negative.
    threads
        Threads to use; those of `set_num_threads` if None.

    Returns
    -------
    uint8 [..., row bytes]

    Raises
    ------
    UnsupportedError
        The type is unknown, or phigguf does not compute with it.
    ShapeError
        The number of columns is no multiple of the type's block width, or not the imatrix's.
    QuantizationError
        A number is not finite, or too large for the type; an importance is not valid.
    """
    rows = np.ascontiguousarray(x, np.float32)
    cols = _columns(rows)
    weights = None if imatrix is None else np.ascontiguousarray(imatrix, np.float32)
    target = np.empty((*rows.shape[:-1], tensor_type(type).row_bytes(cols)), np.uint8)
    _core.recode(
        _flat(rows.view(np.uint8)), "F32", _flat(target), type, cols, weights, threads or 0
    )
    return target


def dequantize(q: Bytes, type: str, *, threads: int | None = None) -> Floats:
    """Turn a tensor type into float32, as ggml does.

    Parameters
    ----------
    q
        uint8 [..., row bytes].
    type
        ggml's name, for example ``"Q4_K"``.
    threads
        Threads to use; those of `set_num_threads` if None.

    Returns
    -------
    float32 [..., cols]

    Raises
    ------
    UnsupportedError
        The type is unknown, or phigguf does not compute with it.
    ShapeError
        A row is no whole number of blocks.
    QuantizationError
        A block decodes to a number that is not finite.
    """
    rows = np.ascontiguousarray(q, np.uint8)
    cols = _weights_in(_columns(rows), tensor_type(type))
    target = np.empty((*rows.shape[:-1], cols), np.float32)
    _core.recode(_flat(rows), type, _flat(target.view(np.uint8)), "F32", cols, None, threads or 0)
    return target


def matmul(x: npt.ArrayLike, w: Bytes, type: str, *, threads: int | None = None) -> Floats:
    """Multiply activations with the transpose of a weight of any tensor type.

    For block types, activations are rounded to bytes with a scale for each block of the weight's
    width (csrc/kernels/matmul_blocks.h defines the result); for F32, F16 and BF16 they are not.

    Parameters
    ----------
    x
        float32 [m, k], or what converts to it.
    w
        uint8 [n, row bytes]; a row holds k weights.
    type
        The weight's type, for example ``"Q4_K"``.
    threads
        Threads to use; those of `set_num_threads` if None.

    Returns
    -------
    float32 [m, n]

    Raises
    ------
    UnsupportedError
        The type is unknown, or phigguf does not compute with it.
    ShapeError
        A row of the weight does not hold k weights.
    """
    activations = np.ascontiguousarray(x, np.float32)
    return _core.matmul(activations, np.ascontiguousarray(w, np.uint8), type, threads or 0)


def _columns(rows: npt.NDArray[np.generic]) -> int:
    if rows.ndim == 0 or rows.shape[-1] == 0:
        raise ShapeError("needs at least one column", field="shape", value=rows.shape)
    return int(rows.shape[-1])


def _flat(rows: Bytes) -> Bytes:
    return rows.reshape(-1, rows.shape[-1])


def _weights_in(row_bytes: int, type: TensorType) -> int:
    blocks, rest = divmod(row_bytes, type.block_bytes)
    if rest:
        raise ShapeError(
            f"a row of {type.name} must have a multiple of {type.block_bytes} bytes",
            value=row_bytes,
        )
    return blocks * type.block_width
