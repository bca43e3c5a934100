"""Files whose hyper-parameters or tensors are not a Phi-3 are refused by name."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import phigguf
from phigguf.errors import GGUFError, QuantizationError, ShapeError, UnsupportedError
from phigguf.io.gguf_format import GGUFValueType, array, f32, i32, string, u32, u64
from tiny_phi3 import EVERYTHING, tensors_of, write_tiny

NAN, INFINITY = f32(math.nan), f32(math.inf)
BAD_NUMBERS = [
    *(("embedding_length", value) for value in (u32(0), i32(-64), u32(2**32 - 1), u32(66), None)),
    *(("attention.head_count", value) for value in (u32(0), i32(-4), u32(2**31), None)),
    *(("attention.head_count", value) for value in (f32(4), string("4"), u64(2**63))),
    ("attention.head_count", array(GGUFValueType.UINT32, [4, 4])),
    *(("attention.head_count_kv", value) for value in (u32(0), i32(-2), u32(3), u32(8))),
    *(("feed_forward_length", value) for value in (u32(0), i32(-1), u32(2**31), None)),
    *(("block_count", value) for value in (u32(0), i32(-1), u32(10**6), u32(2**32 - 1), None)),
    *(("context_length", value) for value in (u32(0), i32(-1), None)),
    *(("attention.sliding_window", value) for value in (i32(-1), f32(3))),
    *(("rope.dimension_count", value) for value in (u32(0), u32(7), u32(18), i32(-2))),
    *(("rope.freq_base", value) for value in (f32(0), f32(-1), NAN, INFINITY, string("x"))),
    *(("rope.scaling.original_context_length", value) for value in (u32(0), i32(-1), None)),
    *(("rope.scaling.attn_factor", value) for value in (f32(0), NAN, INFINITY, None)),
    *(
        ("attention.layer_norm_rms_epsilon", value)
        for value in (f32(0), f32(-1e-5), NAN, INFINITY, u32(0), None)
    ),
]


def load(path, **changes):
    return phigguf.load(write_tiny(path / "tiny.gguf", EVERYTHING, **changes))


@pytest.mark.parametrize(("key", "value"), BAD_NUMBERS, ids=lambda v: str(getattr(v, "value", v)))
def test_bad_hyperparameters(tmp_path, key, value):
    with pytest.raises(GGUFError) as caught:
        load(tmp_path, metadata={f"phi3.{key}": value})
    assert caught.value.field == f"phi3.{key}"
    assert caught.value.file.endswith("tiny.gguf")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("phi3.rope.scaling.type", string("yarn")),
        ("phi3.rope.scaling.type", string("linear")),
        ("phi3.rope.scaling.factor", f32(4.0)),
        ("phi3.attention.key_length", u32(32)),
        ("phi3.attention.value_length", u32(8)),
        ("general.architecture", string("llama")),
        ("general.architecture", u32(3)),
        ("general.architecture", array(GGUFValueType.STRING, ["phi3"])),
        ("general.architecture", None),
    ],
    ids=str,
)
def test_what_is_not_computed_is_refused(tmp_path, key, value):
    with pytest.raises(UnsupportedError, match=re.escape(key)):
        load(tmp_path, metadata={key: value})


@pytest.mark.parametrize("name", tensors_of(EVERYTHING))
def test_missing_tensors(tmp_path, name):
    with pytest.raises(GGUFError, match=f"tensor {name}: the tensor is missing"):
        load(tmp_path, tensors={name: None})


@pytest.mark.parametrize("name", tensors_of(EVERYTHING))
def test_tensors_of_another_shape(tmp_path, name):
    tensor = tensors_of(EVERYTHING)[name]
    larger = np.ones((*tensor.shape[:-1], tensor.shape[-1] + 1), np.float32)
    for other in (larger, tensor[None].repeat(2, axis=0)):
        with pytest.raises(ShapeError, match=f"tensor {name}: must "):
            load(tmp_path, tensors={name: other})


@pytest.mark.parametrize("name", ["blk.0.attn_qkv.bias", "blk.2.attn_norm.weight", "extra"])
def test_tensors_that_would_be_ignored(tmp_path, name):
    with pytest.raises(UnsupportedError, match=f"tensor {re.escape(name)}: .* no such tensor"):
        load(tmp_path, tensors={name: np.ones(64, np.float32)})


@pytest.mark.parametrize("value", [0.0, -1.0])
@pytest.mark.parametrize("kind", ["short", "long"])
def test_long_rope_factors_are_above_zero(tmp_path, kind, value):
    factors = np.array([1, 2, value, 3, 4, 5], np.float32)
    with pytest.raises(GGUFError, match=f"rope_factors_{kind}.weight: must hold numbers above"):
        load(tmp_path, tensors={f"rope_factors_{kind}.weight": factors})


def test_an_attention_factor_without_long_rope(tmp_path):
    factors = {f"rope_factors_{kind}.weight": None for kind in ("short", "long")}
    with pytest.raises(UnsupportedError, match=r"phi3\.rope\.scaling\.attn_factor"):
        load(tmp_path, tensors=factors)


def test_norms_that_are_not_finite(tmp_path):
    path = write_tiny(tmp_path / "tiny.gguf")
    info = phigguf.read_gguf(path).tensors["output_norm.weight"]
    raw = bytearray(path.read_bytes())
    raw[info.offset + 8 : info.offset + 12] = np.float32(np.nan).tobytes()
    path.write_bytes(raw)
    with pytest.raises(QuantizationError, match=r"tensor output_norm\.weight, row 0, column 2"):
        phigguf.load(path)


def test_types_that_are_not_computed(tmp_path):
    path = write_tiny(tmp_path / "tiny.gguf", type="Q4_0")
    raw = path.read_bytes()
    name = b"blk.1.ffn_down.weight"
    start = raw.index(name) + len(name) + 4 + 2 * 8
    assert raw[start : start + 4] == bytes([2, 0, 0, 0])
    path.write_bytes(raw[:start] + bytes([20, 0, 0, 0]) + raw[start + 4 :])  # IQ4_NL, as large
    with pytest.raises(UnsupportedError, match=r"tensor blk\.1\.ffn_down\.weight: .*IQ4_NL"):
        phigguf.load(path)
