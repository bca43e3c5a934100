"""F32, F16 and BF16: exact conversions, for every bit pattern."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.ggml_oracles import ORACLES
from kernels.recode import recode
from phigguf.errors import QuantizationError


def finite_floats(seed: int, n: int = 1 << 16) -> np.ndarray:
    bits = np.random.default_rng(seed).integers(0, 1 << 32, n, dtype=np.uint32)
    floats = bits.view(np.float32)
    return np.where(np.isfinite(floats), floats, np.float32(0)).reshape(16, -1)


def test_every_float16_becomes_its_float32(isa):
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].reshape(1, -1)
    floats = recode(halves.view(np.uint8), "F16", "F32", halves.size).view(np.float32)
    assert np.array_equal(floats.view(np.uint32), halves.astype(np.float32).view(np.uint32))


def test_every_bfloat16_becomes_its_float32(isa):
    bits = np.arange(1 << 16, dtype=np.uint16)
    bits = bits[(bits & 0x7F80) != 0x7F80].reshape(1, -1)
    floats = recode(bits.view(np.uint8), "BF16", "F32", bits.size).view(np.uint32)
    assert np.array_equal(floats, bits.astype(np.uint32) << 16)


def test_float32_to_float16_rounds_to_nearest_even(isa):
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    midpoints = ((halves[1:] + halves[:-1]) / 2).astype(np.float32)
    nudged = np.concatenate(
        [np.nextafter(midpoints, 0), midpoints, np.nextafter(midpoints, np.inf)]
    )
    x = np.concatenate([nudged, -nudged, np.float32([0.0, -0.0, 65504, 65519.996])]).astype(
        np.float32
    )
    x = x[None, : x.size]
    assert np.array_equal(
        recode(x.view(np.uint8), "F32", "F16", x.size).view(np.uint16),
        x.astype(np.float16).view(np.uint16),
    )


def test_float32_to_bfloat16_is_ggmls(isa):
    x = finite_floats(41)
    x = np.where(np.abs(x) > 3.3e38, np.float32(1), x)
    expected = ORACLES["libggml-python"](x, 30, None)
    assert np.array_equal(recode(x.view(np.uint8), "F32", "BF16", x.shape[1]), expected)


@pytest.mark.parametrize("value", [65520.0, -65520.0, 1e30])
def test_values_past_float16_are_refused(isa, value):
    x = np.ones((3, 50), np.float32)
    x[1, 49] = value
    with pytest.raises(
        QuantizationError, match="row 1, column 49: the value is past the range of F16"
    ):
        recode(x.view(np.uint8), "F32", "F16", 50)


def test_values_past_bfloat16_are_refused(isa):
    x = np.full((1, 50), np.finfo(np.float32).max, np.float32)
    with pytest.raises(
        QuantizationError, match="row 0, column 0: the value is past the range of BF16"
    ):
        recode(x.view(np.uint8), "F32", "BF16", 50)


@pytest.mark.parametrize("target", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("cols", [1, 3, 16, 33])
def test_values_that_are_not_finite_are_refused_at_any_width(isa, target, cols):
    x = np.zeros((2, cols), np.float32)
    x[1, cols - 1] = np.nan
    with pytest.raises(QuantizationError, match=f"row 1, column {cols - 1}: only finite"):
        recode(x.view(np.uint8), "F32", target, cols)
