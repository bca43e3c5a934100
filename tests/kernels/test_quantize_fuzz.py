"""Thousands of blocks of every format that are made to disagree about, and nobody does.

ggml (`libgguf`) says what is right; every instruction set, number of threads and source type gives
the same bytes.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

from kernels.fuzz_inputs import importances, weights
from kernels.ggml_oracles import ORACLES
from kernels.recode import quantize, recode

SEEDS = range(8)
ROWS, COLS = 128, 1024  # 512 blocks of 256, or 4096 of 32, for each seed


@functools.cache
def case(seed, source_type, guided):
    """Weights that a source type holds exactly, as its bytes and as float32, and importances."""
    rng = np.random.default_rng([seed, guided])
    floats = weights(rng, ROWS, COLS)
    imatrix = importances(rng, COLS) if guided else None
    if source_type == "F16":
        source = floats.astype(np.float16)
        return source.view(np.uint8), source.astype(np.float32), imatrix
    if source_type == "BF16":
        source = (floats.view(np.uint32) >> 16).astype(np.uint16)
        return source.view(np.uint8), (source.astype(np.uint32) << 16).view(np.float32), imatrix
    return floats.view(np.uint8), floats, imatrix


@functools.cache
def ggmls(type_name, type_id, seed, source_type, guided):
    _, floats, imatrix = case(seed, source_type, guided)
    return ORACLES["libgguf"](floats, type_id, imatrix)


def assert_same_blocks(actual, expected, floats, fmt):
    """Compare, and show the weights of the first block that differs."""
    if np.array_equal(actual, expected):
        return
    differs = (actual != expected).reshape(len(actual), -1, fmt["block_bytes"]).any(axis=2)
    row, block = np.argwhere(differs)[0]
    block_weights = floats.reshape(len(floats), -1, fmt["block_width"])[row, block]
    pytest.fail(f"{differs.sum()} blocks differ, first block {block} of row {row}: {block_weights}")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("guided", [False, True], ids=["plain", "imatrix"])
def test_every_instruction_set_gives_ggmls_bytes(isa, fmt, seed, guided):
    _, floats, imatrix = case(seed, "F32", guided)
    expected = ggmls(fmt["name"], fmt["id"], seed, "F32", guided)
    assert_same_blocks(quantize(floats, fmt["name"], imatrix), expected, floats, fmt)


@pytest.mark.parametrize("source_type", ["F16", "BF16"])
@pytest.mark.parametrize("guided", [False, True], ids=["plain", "imatrix"])
def test_every_source_type_gives_ggmls_bytes(isa, fmt, source_type, guided):
    source, floats, imatrix = case(0, source_type, guided)
    expected = ggmls(fmt["name"], fmt["id"], 0, source_type, guided)
    actual = recode(source, source_type, fmt["name"], COLS, imatrix)
    assert_same_blocks(actual, expected, floats, fmt)
    assert_same_blocks(quantize(floats, fmt["name"], imatrix), expected, floats, fmt)


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("guided", [False, True], ids=["plain", "imatrix"])
def test_every_number_of_threads_gives_one_threads_bytes(fmt, threads, guided):
    imatrix = case(0, "F32", guided)[2]
    floats = np.concatenate([case(seed, "F32", False)[1] for seed in SEEDS])  # 16 shares of work
    expected = one_threads(fmt["name"], guided)
    assert_same_blocks(quantize(floats, fmt["name"], imatrix, threads), expected, floats, fmt)


@functools.cache
def one_threads(type_name, guided):
    """The bytes of all seeds' weights by one thread, a few rows at a time."""
    imatrix = case(0, "F32", guided)[2]
    parts = [part for seed in SEEDS for part in np.split(case(seed, "F32", False)[1], 4)]
    return np.concatenate([quantize(part, type_name, imatrix, threads=1) for part in parts])
