"""Weights and importances made to disagree about: random mixtures of what tells two roundings apart.

A row is a chain of runs of 16 weights, each of some kind (`RUNS`) and magnitude. Runs of one row
share a magnitude more often than not, since a block's sub-blocks matter together; some weights stick
out of their run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Generator = np.random.Generator
Run = Callable[[Generator, tuple[int, int]], npt.NDArray[np.float64]]

RUN = 16
LARGEST = 3e4  # so that every scale and minimum fits float16


def _few_values(rng: Generator, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Duplicates, and their negatives: which of equal magnitudes comes first decides a scale's sign."""
    return rng.integers(-2, 3, shape).astype(np.float64)


def _ties(rng: Generator, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Codes of 2 to 8 bits, and the middle between them."""
    largest = 2.0 ** rng.integers(1, 8, (shape[0], 1))
    codes = np.round(rng.uniform(-largest, largest, shape) * 2) / 2
    codes[:, 0] = largest[:, 0]
    return codes


def _near_ties(rng: Generator, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    ties = _ties(rng, shape).astype(np.float32)
    towards = rng.choice(np.float32([-np.inf, np.inf]), shape)
    return np.nextafter(ties, towards).astype(np.float64)


def _powers_of_two(rng: Generator, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    return rng.choice([-1.0, 1.0], shape) * 2.0 ** rng.integers(-20, 1, shape)


def _nearly_constant(rng: Generator, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    return rng.choice([-1.0, 1.0], (shape[0], 1)) * (1 + rng.integers(0, 3, shape) * 2.0**-23)


def _sparse(rng: Generator, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    return np.where(rng.random(shape) < 0.1, rng.standard_normal(shape), 0.0)


def _signed_zeros(rng: Generator, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    return rng.choice([-0.0, 0.0], shape)


RUNS: dict[str, Run] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy_tailed": lambda rng, shape: rng.standard_t(2, shape),
    "positive": lambda rng, shape: rng.uniform(0.01, 1, shape),
    "negative": lambda rng, shape: -rng.uniform(0.01, 1, shape),
    "ramp": lambda rng, shape: np.linspace(rng.uniform(-1, 1, shape[0]), 1, RUN, axis=1),
    "few_values": _few_values,
    "ties": _ties,
    "near_ties": _near_ties,
    "powers_of_two": _powers_of_two,
    "nearly_constant": _nearly_constant,
    "sparse": _sparse,
    "signed_zeros": _signed_zeros,
}


def weights(rng: Generator, rows: int, cols: int) -> Floats:
    """Draw a matrix [rows, cols], float32, finite."""
    runs = rows * cols // RUN
    kinds = rng.integers(len(RUNS), size=runs)
    values = np.empty((runs, RUN))
    for kind, draw in enumerate(RUNS.values()):
        chosen = kinds == kind
        values[chosen] = draw(rng, (int(chosen.sum()), RUN))
    # A fifth of the runs stand apart from their row, between denormals and LARGEST.
    of_row = np.repeat(_magnitudes(rng, rows), cols // RUN)
    magnitude = np.where(rng.random(runs) < 0.2, _magnitudes(rng, runs), of_row)
    values *= magnitude[:, None]
    outliers = rng.random(values.shape) < 0.002
    values[outliers] *= 10.0 ** rng.uniform(1, 4, int(outliers.sum()))
    return np.clip(values, -LARGEST, LARGEST).astype(np.float32).reshape(rows, cols)


def _magnitudes(rng: Generator, n: int) -> npt.NDArray[np.float64]:
    """Mostly those of weights; else float32's denormals, float16's, and up to the largest."""
    ordinary = 10.0 ** rng.uniform(-3, 0, n)
    extreme = 10.0 ** rng.choice([-44, -41, -38, -20, -14, -7, -5, 2, 4], n)
    return np.where(rng.random(n) < 0.75, ordinary, extreme)


def importances(rng: Generator, cols: int) -> Floats:
    """Draw the importances of columns: zeros alone and in runs, and ratios of up to 10^24."""
    drawn = rng.gamma(0.5, 2.0, cols)
    drawn *= 10.0 ** (rng.choice([0, 3, 12]) * rng.uniform(-1, 1, cols))
    drawn[rng.random(cols) < rng.choice([0.0, 0.05, 0.6])] = 0
    drawn.reshape(-1, RUN)[rng.random(cols // RUN) < 0.1] = 0
    return drawn.astype(np.float32)
