"""Products with a matrix for each group of rows: every row is what its own matrix makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.inputs import gaussian
from kernels.recode import quantize
from phigguf import _core
from phigguf.errors import InvalidArgument, ShapeError

TYPES = ["F32", "BF16", "Q8_0", "Q4_K", "Q6_K"]
GROUPS, ROWS, COLS = 5, 21, 256


def weights_of(type_: str) -> np.ndarray:
    return quantize(gaussian(GROUPS * ROWS, COLS, 2), type_).reshape(GROUPS, ROWS, -1)


def grouped(x: np.ndarray, weights: np.ndarray, type_: str, counts: list[int]) -> np.ndarray:
    return _core.grouped_matmul(x, weights, type_, np.array(counts, np.int32))


@pytest.mark.parametrize("counts", [[1, 0, 0, 0, 0], [0, 3, 0, 40, 1], [0, 0, 0, 0, 2], [9] * 5])
@pytest.mark.parametrize("type_", TYPES)
def test_rows_are_multiplied_with_their_groups_matrix(
    isa: str, type_: str, counts: list[int]
) -> None:
    x, weights = gaussian(sum(counts), COLS), weights_of(type_)
    groups = np.repeat(np.arange(GROUPS), counts)
    alone = [_core.matmul(x[i : i + 1], weights[group], type_)[0] for i, group in enumerate(groups)]
    assert grouped(x, weights, type_, counts).tobytes() == np.array(alone).tobytes()


def test_no_rows() -> None:
    none = grouped(np.zeros((0, COLS), np.float32), weights_of("Q8_0"), "Q8_0", [0] * GROUPS)
    assert none.shape == (0, ROWS)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1, 1, 1, 1, 1], r"counts\[4\]: must be from 0 to the 0 rows left \(got 1\)"),
        ([1, 1, 1, 0, 0], r"counts: leave rows over \(got 1\)"),
        ([5, -1, 0, 0, 0], r"counts\[0\]: must be from 0 to the 4 rows left \(got 5\)"),
        ([2, -1, 3, 0, 0], r"counts\[1\]: must be from 0 to the 2 rows left \(got -1\)"),
    ],
)
def test_counts_are_those_of_the_rows(counts: list[int], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        grouped(gaussian(4, COLS), weights_of("Q8_0"), "Q8_0", counts)


def test_shapes_are_checked() -> None:
    x, weights = gaussian(4, COLS), weights_of("Q8_0")
    with pytest.raises(ShapeError, match="counts: axis 0 must have length 5"):
        grouped(x, weights, "Q8_0", [4])
    with pytest.raises(TypeError, match="w must be a C-contiguous uint8 array of rank 3"):
        grouped(x, weights[0], "Q8_0", [4, 0, 0, 0, 0])
    with pytest.raises(ShapeError, match="w: axis 2 must have length"):
        grouped(x[:, :32].copy(), weights, "Q8_0", [4, 0, 0, 0, 0])
