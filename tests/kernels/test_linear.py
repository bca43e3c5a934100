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
def weight(request):
    return _core.Weight(quantize(gaussian(ROWS, COLS, 2), request.param), request.param, COLS)


@pytest.fixture
def norm():
    return gaussian(1, COLS, 3)[0]


def identical(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("type", TYPES)
def test_with_nothing_else_it_is_matmul(isa, type):
    x, w = gaussian(TOKENS, COLS), quantize(gaussian(ROWS, COLS, 2), type)
    assert identical(_core.Weight(w, type, COLS).linear(x), _core.matmul(x, w, type))


@pytest.mark.parametrize("tokens", [1, TOKENS])
def test_rows_may_be_normalized(isa, weight, norm, tokens):
    x = gaussian(tokens, COLS)
    expected = weight.linear(_core.rms_norm(x, norm, EPSILON))
    assert identical(weight.linear(x, norm=norm, epsilon=EPSILON), expected)


@pytest.mark.parametrize("tokens", [1, TOKENS])
def test_rows_may_be_gated(isa, weight, tokens):
    gate_up = gaussian(tokens, 2 * COLS)
    assert identical(weight.linear(gate_up, gated=True), weight.linear(_core.silu_mul(gate_up)))


def test_products_may_be_added(isa, weight):
    x, residual = gaussian(TOKENS, COLS), gaussian(TOKENS, ROWS, 4)
    expected = residual + weight.linear(x)
    assert weight.linear(x, add_to=residual) is residual
    assert identical(residual, expected)


def test_arguments_are_checked(norm):
    weight = _core.Weight(quantize(gaussian(ROWS, COLS, 2), "Q4_K"), "Q4_K", COLS)
    x, out = gaussian(TOKENS, COLS), np.zeros((TOKENS, ROWS), np.float32)
    with pytest.raises(ShapeError, match="norm: axis 0 must have length 512"):
        weight.linear(x, norm=norm[:-1].copy())
    with pytest.raises(ShapeError, match="x: axis 1 must have length 1024"):
        weight.linear(gaussian(TOKENS, 2 * COLS - 1), gated=True)
    with pytest.raises(TypeError, match="either normalized or gated"):
        weight.linear(gaussian(TOKENS, 2 * COLS), norm=norm, gated=True)
    with pytest.raises(ShapeError, match="add_to: axis 1 must have length 37"):
        weight.linear(x, add_to=np.zeros((TOKENS, ROWS - 1), np.float32))
    with pytest.raises(TypeError, match="add_to must be a C-contiguous float32"):
        weight.linear(x, add_to=out.astype(np.float64))
    square = gaussian(COLS, COLS)
    with pytest.raises(TypeError, match="add_to must not be x"):
        _core.Weight(square.view(np.uint8), "F32", COLS).linear(square, add_to=square)
    out.flags.writeable = False
    with pytest.raises(TypeError, match="add_to must be writeable"):
        weight.linear(x, add_to=out)
