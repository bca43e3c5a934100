"""Matmul equals its definition in NumPy integers, bit for bit, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.conftest import FLOAT_TYPES
from kernels.float32 import dot, fma
from kernels.inputs import gaussian
from kernels.recode import dequantize, quantize, row_bytes
from kernels.test_dequantize import FLOAT16_FIELDS
from phigguf import _core
from phigguf.errors import ShapeError, UnsupportedError

COLS, ROWS, TOKENS = 512, 21, 5


def with_scales(blocks, fmt, scale, minimum=0.0):
    """The same blocks with other float16 fields."""
    changed = blocks.reshape(len(blocks), -1, fmt["block_bytes"]).copy()
    for offset, value in zip(FLOAT16_FIELDS[fmt["name"]], (scale, minimum), strict=False):
        changed[:, :, offset : offset + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)
    return changed.reshape(blocks.shape)


def integer_weights(blocks, fmt, **scales):
    """sub_scale * (code - zero point), or the signed minimum: dequantizing with scales of 1 and 0."""
    return dequantize(with_scales(blocks, fmt, **scales), fmt["name"]).astype(np.int64)


def float16_field(blocks, fmt, index):
    offset = FLOAT16_FIELDS[fmt["name"]][index]
    fields = blocks.reshape(len(blocks), -1, fmt["block_bytes"])[:, :, offset : offset + 2]
    return fields.copy().view(np.float16)[:, :, 0].astype(np.float32)


def quantized_activations(x, width):
    """Codes int64 [m, blocks, width] and scales float32 [m, blocks]."""
    blocks = x.reshape(len(x), -1, width)
    largest = np.abs(blocks).max(axis=2)
    flushed = largest < np.float32(2.0**-119)
    inverse = np.float32(127) / np.where(flushed, np.float32(1), largest)
    codes = np.rint(blocks * np.where(flushed, np.float32(0), inverse)[:, :, None])
    scales = np.where(flushed, np.float32(0), largest / np.float32(127))
    return codes.astype(np.int64), scales


def reference(x, blocks, fmt):
    """The definition at the head of csrc/kernels/matmul_blocks.h."""
    width = fmt["block_width"]
    codes, dx = quantized_activations(x, width)
    factors = [(integer_weights(blocks, fmt, scale=1), float16_field(blocks, fmt, 0))]
    if len(FLOAT16_FIELDS[fmt["name"]]) == 2:
        mins = integer_weights(blocks, fmt, scale=0, minimum=1)
        factors.append((mins, float16_field(blocks, fmt, 1)))
    acc = np.zeros((len(x), len(blocks)), np.float32)
    for b in range(codes.shape[1]):
        for weights, scale in factors:
            total = codes[:, b] @ weights[:, b * width : (b + 1) * width].T
            assert np.abs(total).max() < 2**31
            acc = fma(dx[:, b, None] * scale[None, :, b], total.astype(np.float32), acc)
    return acc


def matmul(x, blocks, fmt, threads=0):
    return _core.matmul(x, blocks, fmt["name"], threads)


def same(actual, expected):
    """Equal, zeros of either sign alike: a minimum is added here that the kernels subtract."""
    return actual.shape == expected.shape and np.array_equal(actual, expected)


def identical(a, b):
    return a.tobytes() == b.tobytes()


def random_blocks(fmt, rows=ROWS, cols=COLS, seed=5, values=range(256)):
    rng = np.random.default_rng(seed)
    blocks = rng.choice(np.array(values, np.uint8), (rows, row_bytes(fmt["name"], cols)))
    return with_scales(blocks, fmt, 0.0123, 0.456)


ACTIVATIONS = {
    "gaussian": lambda: gaussian(TOKENS, COLS),
    "one sign": lambda: np.abs(gaussian(TOKENS, COLS)),
    "largest codes": lambda: np.sign(gaussian(TOKENS, COLS)),
    "all equal": lambda: np.full((TOKENS, COLS), -3.5, np.float32),
    "ties": lambda: (
        np.random.default_rng(3).integers(-254, 255, (TOKENS, COLS)).astype(np.float32) / 2
    ),
    "outliers": lambda: (
        gaussian(TOKENS, COLS) * np.where(np.arange(COLS) % 71 == 0, 1e4, 1).astype(np.float32)
    ),
    "zeros": lambda: np.zeros((TOKENS, COLS), np.float32),
    "tiny": lambda: gaussian(TOKENS, COLS) * np.float32(2.0**-120),
    "denormal": lambda: gaussian(TOKENS, COLS) * np.float32(1e-41),
    "huge": lambda: gaussian(TOKENS, COLS) * np.float32(1e30),
}


@pytest.mark.parametrize("activations", ACTIVATIONS)
def test_equals_the_integer_definition(isa, fmt, activations):
    x = ACTIVATIONS[activations]()
    blocks = quantize(gaussian(ROWS, COLS, 2), fmt["name"])
    assert same(matmul(x, blocks, fmt), reference(x, blocks, fmt))


@pytest.mark.parametrize("activations", ["gaussian", "one sign", "largest codes", "all equal"])
@pytest.mark.parametrize("values", [range(256), (0, 255), (0x7F, 0x80)], ids=str)
def test_any_bytes_neither_saturate_nor_overflow(isa, fmt, values, activations):
    x = ACTIVATIONS[activations]()
    blocks = random_blocks(fmt, values=values)
    assert same(matmul(x, blocks, fmt), reference(x, blocks, fmt))


@pytest.mark.parametrize("byte", [0, 0x7F, 0x80, 255])
def test_blocks_of_one_byte(isa, fmt, byte):
    """Every product of a sub-block as large as it can be, all of one sign."""
    blocks = random_blocks(fmt, values=[byte])
    for x in (np.ones((1, COLS), np.float32), -np.ones((1, COLS), np.float32)):
        assert same(matmul(x, blocks, fmt), reference(x, blocks, fmt))


@pytest.mark.parametrize("rows", [1, 3, 16, 17, 70])
def test_any_number_of_rows(isa, fmt, rows):
    x, blocks = gaussian(3, 256), random_blocks(fmt, rows, 256)
    assert same(matmul(x, blocks, fmt), reference(x, blocks, fmt))


def test_tokens_do_not_influence_each_other(isa, fmt):
    x, blocks = gaussian(70, COLS), random_blocks(fmt)
    together = matmul(x, blocks, fmt)
    for m in (1, 2, 3, 37):
        pieces = [matmul(x[i : i + m], blocks, fmt) for i in range(0, 70, m)]
        assert identical(np.concatenate(pieces), together)


def test_threads_do_not_show(isa, fmt):
    x, blocks = gaussian(37, COLS), random_blocks(fmt, rows=150)
    one = matmul(x, blocks, fmt, threads=1)
    assert identical(matmul(x, blocks, fmt, threads=2), one)
    assert identical(matmul(x, blocks, fmt, threads=3), one)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_its_token_alone(isa, fmt, value):
    x, blocks = gaussian(4, COLS), random_blocks(fmt)
    clean = matmul(x, blocks, fmt)
    x[2, 300] = value
    product = matmul(x, blocks, fmt)
    assert np.isnan(product[2]).all()
    assert identical(product[[0, 1, 3]], clean[[0, 1, 3]])


def test_the_product_is_close_to_that_of_floats(isa, fmt):
    """Bytes for activations cost up to half a step in each of them, and little is lost besides."""
    x, blocks = gaussian(8, 1024), quantize(gaussian(16, 1024, 2), fmt["name"])
    weights = dequantize(blocks, fmt["name"]).astype(np.float64)
    steps = quantized_activations(x, fmt["block_width"])[1].repeat(fmt["block_width"], axis=1)
    bound = 0.51 * steps @ np.abs(weights).T
    assert (np.abs(matmul(x, blocks, fmt) - x @ weights.T) < bound).all()


@pytest.fixture(params=FLOAT_TYPES, ids=lambda t: t["name"])
def float_type(request):
    return request.param["name"]


@pytest.mark.parametrize("cols", [1, 16, 100, 2077])
@pytest.mark.parametrize("rows", [1, 16, 37])
@pytest.mark.parametrize("tokens", [4, 35])
def test_float_weights_are_summed_in_the_defined_order(isa, float_type, rows, cols, tokens):
    x, weights = gaussian(tokens, cols), quantize(gaussian(rows, cols, 2), float_type)
    product = _core.matmul(x, weights, float_type)
    assert identical(product, dot(x[:, None], dequantize(weights, float_type)[None]))
    assert identical(
        np.concatenate([_core.matmul(x[i : i + 1], weights, float_type) for i in range(tokens)]),
        product,
    )


def test_no_tokens_and_no_rows(fmt):
    blocks = random_blocks(fmt)
    assert matmul(np.zeros((0, COLS), np.float32), blocks, fmt).shape == (0, ROWS)
    assert matmul(gaussian(2, COLS), blocks[:0], fmt).shape == (2, 0)


def test_rows_are_read_and_decoded(isa, fmt):
    blocks = random_blocks(fmt)
    ids = np.array([3, 0, 20, 3], np.int32)
    rows = _core.Weight(blocks, fmt["name"], COLS).rows(ids)
    assert identical(rows, dequantize(blocks, fmt["name"])[ids])


def test_arguments_are_checked(fmt):
    x, blocks = gaussian(2, COLS), random_blocks(fmt)
    with pytest.raises(TypeError, match="x must be a C-contiguous float32 array of rank 2"):
        matmul(x.astype(np.float64), blocks, fmt)
    with pytest.raises(TypeError, match="w must be a C-contiguous uint8"):
        matmul(x, blocks[:, ::2], fmt)
    with pytest.raises(ShapeError, match="w: axis 1 must have length"):
        matmul(x, blocks[:, :-1].copy(), fmt)
    with pytest.raises(ShapeError, match="the row width must be a multiple of"):
        matmul(x[:, :100].copy(), blocks, fmt)
    with pytest.raises(UnsupportedError, match="unknown tensor type"):
        _core.matmul(x, blocks, "Q9_9")
    with pytest.raises(TypeError, match="aligned"):
        _core.matmul(x, np.zeros(4 * COLS + 1, np.uint8)[1:].reshape(1, -1), "F32")


@pytest.mark.parametrize("bad", [-1, ROWS, 2**31 - 1])
def test_rows_that_do_not_exist_are_not_read(fmt, bad):
    weight = _core.Weight(random_blocks(fmt), fmt["name"], COLS)
    with pytest.raises(ValueError, match=rf"ids\[1\]: there are {ROWS} rows \(got {bad}\)"):
        weight.rows(np.array([0, bad], np.int32))
