"""float32 arithmetic as IEEE 754 defines it, where NumPy lacks it or leaves the order open."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def fma(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> Floats:
    """a * b + c, rounded once.

    The product is exact in float64. Rounding the sum to odd there keeps what the rounding to float32
    needs to know (Boldo and Melquiond, 2008).
    """
    product = np.asarray(a, np.float32).astype(np.float64) * np.asarray(b, np.float32)
    addend = np.asarray(c, np.float32).astype(np.float64)
    total = product + addend
    rounded = total - product
    error = (product - (total - rounded)) + (addend - rounded)
    is_even = total.view(np.uint64) % 2 == 0
    odd = np.where((error != 0) & is_even, np.nextafter(total, np.copysign(np.inf, error)), total)
    return odd.astype(np.float32)


def tree_sum(partials: Floats) -> Floats:
    """The sum over the last axis, of length 16: i and i + 8, then + 4, + 2, + 1."""
    for half in (8, 4, 2, 1):
        partials = partials[..., :half] + partials[..., half : 2 * half]
    return partials[..., 0]


def dot(a: Floats, b: Floats) -> Floats:
    """Products over the last axis, element k added to partial sum k % 16 by `fma`."""
    cols = a.shape[-1]
    padding = [(0, 0)] * (a.ndim - 1) + [(0, -cols % 16)]
    partials = np.zeros((*np.broadcast_shapes(a.shape[:-1], b.shape[:-1]), 16), np.float32)
    a, b = np.pad(a, padding), np.pad(b, padding)
    for k in range(0, cols, 16):
        partials = fma(a[..., k : k + 16], b[..., k : k + 16], partials)
    return tree_sum(partials)


def ulps(actual: Floats, exact: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distance in units in the last place of the float32 nearest to the exact value."""
    spacing = np.spacing(np.abs(exact.astype(np.float32))).astype(np.float64)
    return np.abs(actual.astype(np.float64) - exact) / spacing
