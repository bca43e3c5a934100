"""A product along with what comes before and after it has the bits of the operations one by one."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.inputs import gaussian
from kernels.recode import quantize
from phigguf import _core
from phigguf.errors import ShapeError

COLS, ROWS, TOKENS, EPSILON = 512, 37, 5, 1e-5
TYPES = ("F32", "BF16", "Q4_0", "Q8_0", "Q4_K", "Q6_K")


@pytest.fixture(params=TYPES)
def weights(request):
    return quantize(gaussian(ROWS, COLS, 2), request.param), request.param


@pytest.fixture
def norm():
    return gaussian(1, COLS, 3)[0]


def identical(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def test_with_nothing_else_it_is_matmul(isa, weights):
    x = gaussian(TOKENS, COLS)
    assert identical(_core.linear(x, *weights), _core.matmul(x, *weights))


@pytest.mark.parametrize("tokens", [1, TOKENS])
def test_rows_may_be_normalized(isa, weights, norm, tokens):
    x = gaussian(tokens, COLS)
    expected = _core.matmul(_core.rms_norm(x, norm, EPSILON), *weights)
    assert identical(_core.linear(x, *weights, norm=norm, epsilon=EPSILON), expected)


@pytest.mark.parametrize("tokens", [1, TOKENS])
def test_rows_may_be_gated(isa, weights, tokens):
    gate_up = gaussian(tokens, 2 * COLS)
    expected = _core.matmul(_core.silu_mul(gate_up), *weights)
    assert identical(_core.linear(gate_up, *weights, gated=True), expected)


def test_products_may_be_added(isa, weights):
    x, residual = gaussian(TOKENS, COLS), gaussian(TOKENS, ROWS, 4)
    expected = residual + _core.matmul(x, *weights)
    assert _core.linear(x, *weights, add_to=residual) is residual
    assert identical(residual, expected)


def test_arguments_are_checked(norm):
    w = quantize(gaussian(ROWS, COLS, 2), "Q4_K")
    x, out = gaussian(TOKENS, COLS), np.zeros((TOKENS, ROWS), np.float32)
    with pytest.raises(ShapeError, match="norm: axis 0 must have length 512"):
        _core.linear(x, w, "Q4_K", norm=norm[:-1].copy())
    with pytest.raises(ShapeError, match="x: axis 1 must hold a gate and as many more"):
        _core.linear(gaussian(TOKENS, 2 * COLS - 1), w, "Q4_K", gated=True)
    with pytest.raises(TypeError, match="either normalized or gated"):
        _core.linear(gaussian(TOKENS, 2 * COLS), w, "Q4_K", norm=norm, gated=True)
    with pytest.raises(ShapeError, match="add_to: axis 1 must have length 37"):
        _core.linear(x, w, "Q4_K", add_to=np.zeros((TOKENS, ROWS - 1), np.float32))
    with pytest.raises(TypeError, match="add_to must be a C-contiguous float32"):
        _core.linear(x, w, "Q4_K", add_to=out.astype(np.float64))
    square = gaussian(COLS, COLS)
    with pytest.raises(TypeError, match="add_to must not be x"):
        _core.linear(square, square.view(np.uint8), "F32", add_to=square)
    out.flags.writeable = False
    with pytest.raises(TypeError, match="add_to must be writeable"):
        _core.linear(x, w, "Q4_K", add_to=out)
