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


def test_products_may_be_added(isa, weight):
    x, residual = gaussian(TOKENS, COLS), gaussian(TOKENS, ROWS, 4)
    expected = residual + weight.linear(x)
    assert weight.linear(x, add_to=residual) is residual
    assert identical(residual, expected)


def test_products_may_be_written_to_an_array(isa, weight):
    x, out = gaussian(TOKENS, COLS), np.full((TOKENS, ROWS), np.nan, np.float32)
    assert weight.linear(x, out=out) is out
    assert identical(out, weight.linear(x))


def test_arguments_are_checked(norm):
    weight = _core.Weight(quantize(gaussian(ROWS, COLS, 2), "Q4_K"), "Q4_K", COLS)
    x, out = gaussian(TOKENS, COLS), np.zeros((TOKENS, ROWS), np.float32)
    with pytest.raises(ShapeError, match="norm: axis 0 must have length 512"):
        weight.linear(x, norm=norm[:-1].copy())
    with pytest.raises(ShapeError, match="x: axis 1 must have length 512"):
        weight.linear(gaussian(TOKENS, COLS - 1))
    with pytest.raises(ShapeError, match="add_to: axis 1 must have length 37"):
        weight.linear(x, add_to=np.zeros((TOKENS, ROWS - 1), np.float32))
    with pytest.raises(TypeError, match="add_to must be a C-contiguous float32"):
        weight.linear(x, add_to=out.astype(np.float64))
    with pytest.raises(ShapeError, match="out: axis 0 must have length"):
        weight.linear(x, out=np.zeros((TOKENS + 1, ROWS), np.float32))
    with pytest.raises(TypeError, match="add_to and out exclude each other"):
        weight.linear(x, add_to=out, out=out)
    square = gaussian(COLS, COLS)
    with pytest.raises(TypeError, match="add_to must not be x"):
        _core.Weight(square.view(np.uint8), "F32", COLS).linear(square, add_to=square)
    out.flags.writeable = False
    with pytest.raises(TypeError, match="add_to must be writeable"):
        weight.linear(x, add_to=out)


@pytest.mark.parametrize("tokens", [1, TOKENS])
@pytest.mark.parametrize("type", TYPES)
def test_a_swiglu_is_its_parts(isa, type, tokens, norm):
    gate_up, down = (
        _core.Weight(quantize(gaussian(rows, cols, rows), type), type, cols)
        for rows, cols in ((2 * 768, COLS), (COLS, 768))
    )
    x = gaussian(tokens, COLS)
    expected = x + down.linear(_core.silu_mul(gate_up.linear(x, norm=norm, epsilon=EPSILON)))
    _core.add_swiglu(x, norm, EPSILON, gate_up, down)
    assert identical(x, expected)


def test_arguments_of_a_swiglu_are_checked(norm):
    def weight(rows, cols):
        return _core.Weight(gaussian(rows, cols).view(np.uint8), "F32", cols)

    x, gate_up, down = gaussian(TOKENS, COLS), weight(64, COLS), weight(COLS, 32)
    for arguments, message in (
        ((gaussian(TOKENS, 40), norm, 0.1, gate_up, down), "x: axis 1 must have length 512"),
        ((x, norm[1:].copy(), 0.1, gate_up, down), "norm: axis 0 must have length 512"),
        ((x, norm, 0.1, gate_up, weight(COLS, 31)), "gate_up: axis 0 must have length 62"),
        ((x, norm, 0.1, gate_up, weight(COLS - 1, 32)), "x: axis 1 must have length 511"),
    ):
        with pytest.raises(ShapeError, match=message):
            _core.add_swiglu(*arguments)
    x.flags.writeable = False
    with pytest.raises(TypeError, match="x must be writeable"):
        _core.add_swiglu(x, norm, 0.1, gate_up, down)
