"""Contract 1: the bytes of every quantized block are ggml's, on every instruction set and for every split."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.ggml_oracles import ORACLES
from kernels.inputs import CASES, IMPORTANCES, gaussian, heavy_tailed
from kernels.recode import dequantize, quantize, recode
from phigguf import _core
from phigguf.errors import QuantizationError, ShapeError, UnsupportedError

# 70,000 N(0, 1) does not fit a float16 minimum; scales of the formats without one are divided down far enough.
FORMATS_WITH_FLOAT16_MINIMUM = {"Q4_1", "Q5_1"}


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("importance", IMPORTANCES)
@pytest.mark.parametrize("case", CASES)
def test_bytes_are_ggmls(isa, fmt, case, importance, oracle):
    if case == "past_float16" and fmt["name"] in FORMATS_WITH_FLOAT16_MINIMUM:
        case = "gaussian"
    x = CASES[case](7, 768)
    imatrix = IMPORTANCES[importance](768)
    expected = ORACLES[oracle](x, fmt["id"], imatrix)
    assert np.array_equal(quantize(x, fmt["name"], imatrix), expected)


@pytest.mark.parametrize("importance", ["none", "smooth"])
def test_every_shape_and_thread_count(isa, fmt, shape, importance):
    x = heavy_tailed(*shape)
    imatrix = IMPORTANCES[importance](shape[1])
    expected = ORACLES["libgguf"](x, fmt["id"], imatrix)
    for threads in (1, 2, 3):
        assert np.array_equal(quantize(x, fmt["name"], imatrix, threads), expected)


def test_many_shares_of_work(fmt):
    x = heavy_tailed(300, 1024)
    expected = quantize(x, fmt["name"], threads=1)
    assert np.array_equal(quantize(x, fmt["name"], threads=2), expected)
    assert np.array_equal(np.concatenate([quantize(row[None], fmt["name"]) for row in x]), expected)


@pytest.mark.parametrize("source_type", ["F16", "BF16"])
@pytest.mark.parametrize("importance", ["none", "smooth"])
def test_half_width_sources_are_read_where_they_lie(isa, fmt, shape, source_type, importance):
    imatrix = IMPORTANCES[importance](shape[1])
    source = recode(heavy_tailed(*shape).view(np.uint8), "F32", source_type, shape[1])
    as_floats = recode(source, source_type, "F32", shape[1]).view(np.float32)
    direct = recode(source, source_type, fmt["name"], shape[1], imatrix)
    assert np.array_equal(direct, ORACLES["libgguf"](as_floats, fmt["id"], imatrix))


def test_requantizing_reads_the_blocks_as_floats(isa, fmt):
    blocks = quantize(gaussian(3, 512), "Q6_K")
    direct = recode(blocks, "Q6_K", fmt["name"], 512)
    assert np.array_equal(direct, quantize(dequantize(blocks, "Q6_K"), fmt["name"]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (4, 767), (2, 300)])
def test_values_that_are_not_finite_are_refused(isa, fmt, bad, place):
    x = gaussian(5, 768)
    x[place] = bad
    with pytest.raises(QuantizationError, match=f"row {place[0]}, column {place[1]}: only finite"):
        quantize(x, fmt["name"])


def test_a_scale_past_float16_is_refused(isa, fmt):
    x = gaussian(5, 768)
    x[3, 256:512] *= 3e8
    with pytest.raises(QuantizationError, match="row 3: a block's scale is past float16"):
        quantize(x, fmt["name"])


@pytest.mark.parametrize("row", [0, 3, 37, 63])
def test_the_row_of_a_value_past_every_scale_is_the_same_on_every_isa(isa, fmt, row):
    x = gaussian(64, 512)
    x[row:, 5] = 1e30
    with pytest.raises(QuantizationError, match=f"row {row}: a block's scale is past float16"):
        quantize(x, fmt["name"])


def test_float32s_largest_values_overflow_without_harm(isa, fmt):
    x = np.clip(gaussian(2, 512), -3, 3) * np.float32(1e38)
    with pytest.raises(QuantizationError):
        quantize(x, fmt["name"])


def test_squared_error_is_that_of_the_bytes(isa, fmt):
    x = gaussian(5, 768)
    target = np.zeros_like(quantize(x, fmt["name"]))
    error = _core.recode(x.view(np.uint8), "F32", target, fmt["name"], 768, None, 0, True)
    expected = np.sum((x.astype(np.float64) - dequantize(target, fmt["name"])) ** 2)
    # Each square has rounded three times (twice the difference's), each sum of 16 squares 15 times.
    assert error == pytest.approx(expected, rel=18 * 2**-24)


def test_squared_error_does_not_depend_on_the_split(fmt):
    x = gaussian(300, 1024)
    target = np.zeros_like(quantize(x, fmt["name"]))

    def error(threads: int) -> float:
        return _core.recode(x.view(np.uint8), "F32", target, fmt["name"], 1024, None, threads, True)

    assert error(1) == error(2) == error(3)


def test_row_width_must_fit_the_block(fmt):
    x = gaussian(2, 272)
    with pytest.raises(ShapeError, match="multiple of"):
        _core.recode(x.view(np.uint8), "F32", np.zeros((2, 8), np.uint8), fmt["name"], 272)


def test_arguments_are_never_converted(fmt):
    x = gaussian(4, 512)
    out = np.zeros((4, 8), np.uint8)
    with pytest.raises(TypeError, match="source must be a C-contiguous uint8 array of rank 2"):
        _core.recode(x, "F32", out, fmt["name"], 512)
    with pytest.raises(TypeError, match="C-contiguous"):
        _core.recode(x.view(np.uint8)[:, ::2], "F32", out, fmt["name"], 256)
    with pytest.raises(ShapeError, match="target"):
        _core.recode(x.view(np.uint8), "F32", out, fmt["name"], 512)
    with pytest.raises(TypeError, match="imatrix"):
        quantize(x, fmt["name"], np.ones(512))
    with pytest.raises(ShapeError, match="imatrix"):
        quantize(x, fmt["name"], np.ones(511, np.float32))
    out.flags.writeable = False
    with pytest.raises(TypeError, match="writeable"):
        _core.recode(x.view(np.uint8), "F32", out, fmt["name"], 512)


def test_an_unknown_type_is_refused_by_name():
    with pytest.raises(UnsupportedError, match="Q4_Z"):
        _core.recode(np.zeros((1, 4), np.uint8), "F32", np.zeros((1, 4), np.uint8), "Q4_Z", 1)


def test_an_imatrix_with_a_negative_or_undefined_weight_is_refused(fmt):
    x = gaussian(2, 256)
    for bad in (-1.0, np.nan, np.inf):
        imatrix = np.ones(256, np.float32)
        imatrix[17] = bad
        with pytest.raises(QuantizationError, match="imatrix, column 17"):
            quantize(x, fmt["name"], imatrix)
