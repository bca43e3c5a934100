"""The operations between matrix products: the same bits everywhere, and close to float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kernels.float32 import tree_sum, ulps
from kernels.inputs import gaussian
from phigguf import _core
from phigguf.errors import ShapeError

ROWS = 5
WIDTHS = [1, 15, 16, 64, 100, 1027]


@pytest.fixture
def on_scalar():
    """Calls a function with the scalar kernels, whatever is set."""

    def call(function, *arguments):
        before = _core.isa()
        _core.set_isa("scalar")
        try:
            return function(*arguments)
        finally:
            _core.set_isa(before)

    return call


def identical(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("cols", WIDTHS)
def test_rms_norm(isa, on_scalar, cols):
    x, weight, epsilon = gaussian(ROWS, cols), gaussian(1, cols, 2)[0], np.float32(1e-5)
    normed = _core.rms_norm(x, weight, epsilon)
    wide = x.astype(np.float64)
    root = np.sqrt((wide**2).mean(axis=1, keepdims=True) + epsilon)
    assert ulps(normed, wide / root * weight).max() < 5
    assert identical(normed, on_scalar(_core.rms_norm, x, weight, epsilon))


def test_rms_norm_adds_squares_in_sixteen_sums(isa):
    """Squares of powers of two need no rounding, so plain additions show the order."""
    x = np.exp2(np.random.default_rng(1).integers(-14, 15, (ROWS, 96))).astype(np.float32)
    sums = tree_sum((x * x).reshape(ROWS, 6, 16).cumsum(axis=1, dtype=np.float32)[:, -1])
    scale = np.float32(1) / np.sqrt(sums / np.float32(96) + np.float32(1e-5))
    expected = np.ones(96, np.float32) * (x * scale[:, None])
    assert identical(_core.rms_norm(x, np.ones(96, np.float32), 1e-5), expected)


@pytest.mark.parametrize("cols", WIDTHS)
def test_layer_norm(isa, on_scalar, cols):
    x, (weight, bias) = gaussian(ROWS, cols) + np.float32(3), gaussian(2, cols, 2)
    epsilon = np.float32(1e-5)
    normed = _core.layer_norm(x, weight, bias, epsilon)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + epsilon)
    assert np.abs(normed - (scaled * weight + bias)).max() < 4e-6
    assert identical(normed, on_scalar(_core.layer_norm, x, weight, bias, epsilon))


def test_layer_norm_adds_in_sixteen_sums(isa):
    """Small integers need no rounding until the mean is taken, so that only it shows the order."""
    x = np.exp2(np.random.default_rng(1).integers(-14, 15, (ROWS, 96))).astype(np.float32)
    sums = tree_sum(x.reshape(ROWS, 6, 16).cumsum(axis=1, dtype=np.float32)[:, -1])
    centred = x - (sums / np.float32(96))[:, None]
    ones, zeros = np.ones(96, np.float32), np.zeros(96, np.float32)
    scale = _core.rms_norm(centred, ones, 1e-5)
    assert identical(_core.layer_norm(x, ones, zeros, 1e-5), scale)


def gelu(x):
    return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize("cols", WIDTHS)
def test_gelu(isa, on_scalar, cols):
    x = gaussian(ROWS, cols) * np.float32(2)
    activated = _core.gelu(x)
    exact = gelu(x.astype(np.float64))
    assert np.abs(activated - exact).max() < 5e-7
    assert identical(activated, on_scalar(_core.gelu, x))


def test_gelu_from_the_smallest_to_the_largest(isa, on_scalar):
    exponents = np.exp2(np.arange(-149.0, 128)).astype(np.float32)
    x = np.concatenate([exponents, -exponents, np.linspace(-12, 12, 100_001), [0]])
    x = x.astype(np.float32)[None]
    activated = _core.gelu(x)
    with np.errstate(over="ignore"):
        exact = gelu(x.astype(np.float64))
    likely = x > -3  # below, e^-2u multiplies the rounding of u
    assert ulps(activated[likely], exact[likely]).max() < 12
    assert np.abs(activated[~likely] - exact[~likely]).max() < 1e-8
    assert identical(activated, on_scalar(_core.gelu, x))


def test_gelu_passes_on_what_is_not_finite(isa):
    activated = _core.gelu(np.array([[np.inf, np.nan, -np.inf]], np.float32))
    assert activated[0, 0] == np.inf
    assert np.isnan(activated[0, 1:]).all()  # of -infinity too, as in torch


@pytest.mark.parametrize("cols", WIDTHS)
def test_softmax(isa, on_scalar, cols):
    x = gaussian(ROWS, cols) * np.float32(5)
    x[0, 1::3] = -np.inf
    shares = _core.softmax(x)
    wide = np.exp((x - x.max(axis=1, keepdims=True)).astype(np.float64))
    exact = wide / wide.sum(axis=1, keepdims=True)
    assert ulps(shares, exact).max() < 8
    assert (shares[0, 1::3] == 0).all()
    assert identical(shares, on_scalar(_core.softmax, x))


def test_softmax_of_nothing_but_what_is_not_finite(isa):
    for row in ([-np.inf, -np.inf], [np.nan, 1], [np.inf, 1]):
        assert np.isnan(_core.softmax(np.array([row], np.float32))).any()


def silu(gate):
    with np.errstate(over="ignore"):
        return gate / (1 + np.exp(-gate))


@pytest.mark.parametrize("cols", WIDTHS)
def test_silu_mul(isa, on_scalar, cols):
    gate_up = gaussian(ROWS, 2 * cols) * np.float32(10)
    product = _core.silu_mul(gate_up)
    gate, up = np.split(gate_up.astype(np.float64), 2, axis=1)
    assert ulps(product, silu(gate) * up).max() < 4
    assert identical(product, on_scalar(_core.silu_mul, gate_up))


def test_silu_from_the_smallest_to_the_largest(isa, on_scalar):
    """Every exponent and sign, and densely where e^-x goes through all of its range."""
    exponents = np.exp2(np.arange(-149.0, 128)).astype(np.float32)
    dense = np.linspace(-120, 120, 100_001, dtype=np.float32)
    gate = np.concatenate([exponents, -exponents, dense, [0]]).astype(np.float32)[None]
    gate_up = np.concatenate([gate, np.ones_like(gate)], axis=1)
    product = _core.silu_mul(gate_up)
    exact = silu(gate.astype(np.float64))
    finite = gate > -88.7228  # below, e^-x is past float32, and silu is a zero, as in torch
    assert np.abs(exact[~finite]).max() < 3e-37
    assert (product[~finite] == 0).all()
    assert ulps(product[finite], exact[finite]).max() < 3
    assert identical(product, on_scalar(_core.silu_mul, gate_up))


def test_silu_passes_on_what_is_not_finite(isa):
    gate_up = np.array([[np.inf, np.nan, 1, 1]], np.float32)
    assert _core.silu_mul(gate_up)[0, 0] == np.inf
    assert np.isnan(_core.silu_mul(gate_up)[0, 1])


def test_rope_tables_are_rounded_sines(isa):
    frequencies = (10000.0 ** -(np.arange(48) / 48)).astype(np.float32)
    for start, count in ((0, 300), (4000, 200), (131000, 72)):
        cosines, sines = _core.rope_tables(start, count, frequencies, 1.0)
        positions = np.arange(start, start + count, dtype=np.float32)
        angles = (positions[:, None] * frequencies).astype(np.float64)
        for table, exact in ((cosines, np.cos(angles)), (sines, np.sin(angles))):
            assert ulps(table, exact).max() <= 0.5000001


def test_rope_tables_of_any_angle():
    """Up to 2^30, at multiples of pi / 4 and next to them, where the reduction is hardest."""
    quarters = np.arange(0, 4096) * (math.pi / 4)
    angles = np.concatenate([quarters, np.exp2(np.arange(-149.0, 30)), -quarters])
    angles = np.concatenate([np.nextafter(np.float32(angles), np.float32(s)) for s in (-9e9, 9e9)])
    cosines, sines = _core.rope_tables(1, 1, angles, 1.0)
    exact = [f(angle) for f in (math.cos, math.sin) for angle in angles.tolist()]
    assert ulps(np.concatenate([cosines[0], sines[0]]), np.array(exact)).max() <= 0.5000001


def test_rope_tables_past_reduction_are_nan():
    far = np.array([2.0**30, np.inf, -np.inf, np.nan], np.float32)
    assert np.isnan(_core.rope_tables(1, 1, far, 1.0)).all()


def test_rope_tables_are_scaled_after_rounding():
    frequencies = gaussian(1, 8)[0]
    plain = np.array(_core.rope_tables(0, 9, frequencies, 1.0))
    scaled = np.array(_core.rope_tables(0, 9, frequencies, 1.19))
    assert identical(scaled, plain * np.float32(1.19))


def test_rows_do_not_influence_each_other(isa):
    x, weight = gaussian(300, 200), gaussian(1, 200)[0]
    operations = [
        lambda rows: _core.rms_norm(rows, weight, 1e-5),
        lambda rows: _core.layer_norm(rows, weight, weight, 1e-5),
        _core.gelu,
        _core.softmax,
        _core.silu_mul,
    ]
    for operation in operations:
        whole = operation(x)
        for row in (0, 1, 150, 299):
            assert identical(operation(x[row : row + 1])[0], whole[row])


def test_no_rows():
    nothing = np.zeros((0, 8), np.float32)
    assert _core.rms_norm(nothing, np.ones(8, np.float32), 1e-5).shape == (0, 8)
    assert _core.silu_mul(nothing).shape == (0, 4)
    eight = np.ones(8, np.float32)
    assert _core.layer_norm(nothing, eight, eight, 1e-5).shape == (0, 8)
    for operation in (_core.gelu, _core.softmax):
        assert operation(nothing).shape == (0, 8)
        assert operation(np.zeros((3, 0), np.float32)).shape == (3, 0)


def test_arguments_are_checked():
    x = gaussian(2, 24)
    with pytest.raises(ShapeError, match="weight: axis 0 must have length 24"):
        _core.rms_norm(x, np.ones(23, np.float32), 1e-5)
    right, wrong = np.ones(24, np.float32), np.ones(23, np.float32)
    for weight, bias, name in ((wrong, right, "weight"), (right, wrong, "bias")):
        with pytest.raises(ShapeError, match=f"{name}: axis 0 must have length 24"):
            _core.layer_norm(x, weight, bias, 1e-5)
    for operation in (_core.gelu, _core.softmax):
        with pytest.raises(TypeError, match="x must be a C-contiguous float32 array of rank 2"):
            operation(right)
    with pytest.raises(ShapeError, match="gate_up: axis 1 must have length 6"):
        _core.silu_mul(gaussian(2, 7))
