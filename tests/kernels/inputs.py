"""Weights that quantizers find easy, and those that break them. Every case is float32 [rows, cols]."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def gaussian(rows: int, cols: int, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).standard_normal((rows, cols)).astype(np.float32)


def heavy_tailed(rows: int, cols: int, seed: int = 2) -> Floats:
    draws = np.random.default_rng(seed).standard_t(2.5, (rows, cols)) * 0.02
    return draws.astype(np.float32)


def _one_outlier(rows: int, cols: int) -> Floats:
    x = gaussian(rows, cols, 3) * np.float32(1e-3)
    x[:, ::97] = 50.0
    return x


def _denormals(rows: int, cols: int) -> Floats:
    return (gaussian(rows, cols, 4).astype(np.float64) * 1e-40).astype(np.float32)


def _some_denormal_blocks(rows: int, cols: int) -> Floats:
    x = gaussian(rows, cols, 5)
    x[:, cols // 2 : cols // 2 + 16] *= np.float32(1e-39)
    return x


def _ties(rows: int, cols: int) -> Floats:
    return np.random.default_rng(6).integers(-8, 9, (rows, cols)).astype(np.float32) * np.float32(
        0.5
    )


def _sparse(rows: int, cols: int) -> Floats:
    rng = np.random.default_rng(7)
    return np.where(rng.random((rows, cols)) < 0.03, gaussian(rows, cols, 8), 0).astype(np.float32)


def _powers(rows: int, cols: int) -> Floats:
    rng = np.random.default_rng(9)
    signs = rng.choice([-1.0, 1.0], (rows, cols))
    return (signs * 2.0 ** rng.integers(-30, 10, (rows, cols))).astype(np.float32)


def _mixed_magnitudes(rows: int, cols: int) -> Floats:
    scale = 10.0 ** np.random.default_rng(10).uniform(-12, 4, (rows, cols // 16))
    return (gaussian(rows, cols, 11) * np.repeat(scale, 16, axis=1)).astype(np.float32)


CASES = {
    "gaussian": gaussian,
    "heavy_tailed": heavy_tailed,
    "zeros": lambda rows, cols: np.zeros((rows, cols), np.float32),
    "negative_zeros": lambda rows, cols: np.full((rows, cols), -0.0, np.float32),
    "constant": lambda rows, cols: np.full((rows, cols), 0.37, np.float32),
    "negative_constant": lambda rows, cols: np.full((rows, cols), -0.37, np.float32),
    "one_outlier": _one_outlier,
    "denormals": _denormals,
    "some_denormal_blocks": _some_denormal_blocks,
    "past_float16": lambda rows, cols: gaussian(rows, cols, 12) * np.float32(70000),
    "ties": _ties,
    "positive_only": lambda rows, cols: np.abs(gaussian(rows, cols, 13)) + np.float32(0.1),
    "negative_only": lambda rows, cols: -np.abs(gaussian(rows, cols, 14)) - np.float32(0.1),
    "sparse": _sparse,
    "powers": _powers,
    "mixed_magnitudes": _mixed_magnitudes,
}

IMPORTANCES = {
    "none": lambda cols: None,
    "smooth": lambda cols: np.random.default_rng(20).gamma(2.0, 1.0, cols).astype(np.float32),
    "with_zeros": lambda cols: np.where(
        np.random.default_rng(21).random(cols) < 0.4, 0, np.random.default_rng(22).random(cols)
    ).astype(np.float32),
    "all_zero": lambda cols: np.zeros(cols, np.float32),
}
