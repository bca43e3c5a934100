"""Floats from blocks are those of the `gguf` package's NumPy code, bit for bit, for any bytes."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from kernels.inputs import CASES, gaussian
from kernels.recode import dequantize, quantize
from phigguf.errors import QuantizationError

FLOAT16_FIELDS = {  # byte offsets of a block's float16 fields
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}


def reference(blocks, fmt):
    return gguf.dequantize(blocks, gguf.GGMLQuantizationType(fmt["id"]))


def same_bits(a, b):
    return np.array_equal(a.view(np.uint32), b.view(np.uint32))


def test_random_bytes(isa, fmt):
    rng = np.random.default_rng(31)
    blocks = rng.integers(0, 256, (64, 3, fmt["block_bytes"]), dtype=np.uint8)
    for offset in FLOAT16_FIELDS[fmt["name"]]:
        blocks[:, :, offset + 1] &= 0xBF  # every finite exponent below 2, denormals too
    rows = blocks.reshape(64, -1)
    assert same_bits(dequantize(rows, fmt["name"]), reference(rows, fmt))


@pytest.mark.parametrize("case", [c for c in CASES if c != "past_float16"])
def test_quantized_cases(isa, fmt, case):
    blocks = quantize(CASES[case](4, 512), fmt["name"])
    assert same_bits(dequantize(blocks, fmt["name"]), reference(blocks, fmt))


@pytest.mark.parametrize("bits", [0x7C00, 0xFC00, 0x7E00])
def test_a_block_with_a_scale_that_is_not_finite_is_refused(isa, fmt, bits):
    blocks = quantize(gaussian(3, 512), fmt["name"])
    scale = FLOAT16_FIELDS[fmt["name"]][0]
    blocks[2, scale : scale + 2] = [bits & 255, bits >> 8]
    with pytest.raises(QuantizationError, match="row 2, column 0: a block decodes to a value that"):
        dequantize(blocks, fmt["name"])
