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
    positions = np.r_[0:300, 4000:4200, 131000:131072].astype(np.int32)
    cosines, sines = _core.rope_tables(positions, frequencies, 1.0)
    angles = (positions[:, None].astype(np.float32) * frequencies).astype(np.float64)
    for table, exact in ((cosines, np.cos(angles)), (sines, np.sin(angles))):
        assert ulps(table, exact).max() <= 0.5000001


def test_rope_tables_of_any_angle():
    """Up to 2^30, at multiples of pi / 4 and next to them, where the reduction is hardest."""
    quarters = np.arange(0, 4096) * (math.pi / 4)
    angles = np.concatenate([quarters, np.exp2(np.arange(-149.0, 30)), -quarters])
    angles = np.concatenate([np.nextafter(np.float32(angles), np.float32(s)) for s in (-9e9, 9e9)])
    cosines, sines = _core.rope_tables(np.ones(1, np.int32), angles, 1.0)
    exact = [f(angle) for f in (math.cos, math.sin) for angle in angles.tolist()]
    assert ulps(np.concatenate([cosines[0], sines[0]]), np.array(exact)).max() <= 0.5000001


def test_rope_tables_past_reduction_are_nan():
    far = np.array([2.0**30, np.inf, -np.inf, np.nan], np.float32)
    assert np.isnan(_core.rope_tables(np.ones(1, np.int32), far, 1.0)).all()


def test_rope_tables_are_scaled_after_rounding():
    positions, frequencies = np.arange(9, dtype=np.int32), gaussian(1, 8)[0]
    plain = np.array(_core.rope_tables(positions, frequencies, 1.0))
    scaled = np.array(_core.rope_tables(positions, frequencies, 1.19))
    assert identical(scaled, plain * np.float32(1.19))


@pytest.mark.parametrize(("heads", "head_dim", "pairs"), [(3, 64, 32), (1, 96, 36), (4, 6, 3)])
def test_rotate_turns_the_first_dimensions_of_the_first_heads(isa, heads, head_dim, pairs):
    x, angles = gaussian(ROWS, heads * head_dim + 10), gaussian(ROWS, pairs, 3)
    c, s = np.cos(angles), np.sin(angles)
    expected = x.copy()
    for head in range(heads):
        first = slice(head * head_dim, head * head_dim + pairs)
        second = slice(first.stop, first.stop + pairs)
        expected[:, first] = x[:, first] * c - x[:, second] * s
        expected[:, second] = x[:, second] * c + x[:, first] * s
    _core.rotate(x, heads, head_dim, c, s)
    assert identical(x, expected)


def test_rows_do_not_influence_each_other(isa):
    x, weight = gaussian(300, 200), gaussian(1, 200)[0]
    normed, activated = _core.rms_norm(x, weight, 1e-5), _core.silu_mul(x)
    for row in (0, 1, 150, 299):
        assert identical(_core.rms_norm(x[row : row + 1], weight, 1e-5)[0], normed[row])
        assert identical(_core.silu_mul(x[row : row + 1])[0], activated[row])


def test_no_rows():
    nothing = np.zeros((0, 8), np.float32)
    assert _core.rms_norm(nothing, np.ones(8, np.float32), 1e-5).shape == (0, 8)
    assert _core.silu_mul(nothing).shape == (0, 4)


def test_arguments_are_checked():
    x, table = gaussian(2, 24), gaussian(2, 4)
    with pytest.raises(ShapeError, match="weight: axis 0 must have length 24"):
        _core.rms_norm(x, np.ones(23, np.float32), 1e-5)
    with pytest.raises(ShapeError, match="gate_up: axis 1 must have length 6"):
        _core.silu_mul(gaussian(2, 7))
    with pytest.raises(ShapeError, match="x has no room for 4 heads"):
        _core.rotate(x, 4, 8, table, table)
    with pytest.raises(ShapeError, match="a head of 6 has no such number of pairs"):
        _core.rotate(x, 4, 6, table, table)
    with pytest.raises(ShapeError, match="sines: axis 1"):
        _core.rotate(x, 3, 8, table, gaussian(2, 3))
    with pytest.raises(ShapeError, match="head_dim"):
        _core.rotate(x, 3, 0, table, table)
    x.flags.writeable = False
    with pytest.raises(TypeError, match="x must be writeable"):
        _core.rotate(x, 3, 8, table, table)
