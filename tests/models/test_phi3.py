"""Phi-3's forward pass: the numbers of `transformers`, and the same bits however tokens come."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import phigguf
from models.phi3_cases import CASES, LENGTHS, tokens_of
from phigguf import _core
from phigguf._core import Weight
from phigguf.errors import InvalidArgument, QuantizationError, ShapeError
from phigguf.models.session import CHUNK
from tiny_phi3 import EVERYTHING, ORIGINAL, QUANTIZABLE, write_tiny

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "phi3_logits.json").read_text())
# The farthest from `transformers` in float64 is 7e-6 of the logits' spread; float32 inside
# `transformers` itself is up to 1e-5 away. A window wider by one position is 0.7 away.
NOISE = 1.5e-5


def identical(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def model(case, tmp_path_factory):
    path = write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf", CASES[case])
    return phigguf.load(path, kv_type="F32")


@pytest.fixture(scope="module", params=["F32", "BF16", "Q8_0", "Q4_K", "Q6_K"])
def quantized(request, tmp_path_factory):
    """A model with every feature, in several types of weights."""
    path = tmp_path_factory.mktemp("tiny") / f"{request.param}.gguf"
    return phigguf.load(write_tiny(path, QUANTIZABLE, type=request.param))


@pytest.mark.parametrize("length", LENGTHS)
def test_logits_are_those_of_transformers(case, model, length):
    expected = np.array(GOLDEN[case][str(length)])
    logits = model.logits(tokens_of(length))[-1]
    assert np.abs(logits - expected).max() < NOISE * expected.std()


def test_every_case_computes_something_else():
    """So that a feature that is not computed cannot go unnoticed."""
    longest = str(LENGTHS[-1])
    last = [np.array(rows[longest]) for rows in GOLDEN.values()]
    for i, logits in enumerate(last):
        for other in last[:i]:
            assert np.abs(logits - other).max() > 0.1 * logits.std()


def test_pieces_do_not_show(quantized):
    """Not where they are cut, nor whether LongRoPE's switch falls into one or between two."""
    tokens = tokens_of(2 * ORIGINAL)
    whole = quantized.logits(tokens)
    for pieces in ([1] * len(tokens), [ORIGINAL, ORIGINAL], [ORIGINAL - 1, 2, 19], [7, 30, 3]):
        session, rows = quantized.session(), []
        for piece in pieces:
            rows.append(session.forward(tokens[len(session) :][:piece], last_only=False))
        kept = len(whole) - ORIGINAL  # what came before the switch was rotated otherwise
        assert identical(np.concatenate(rows)[-kept:], whole[-kept:])


def test_a_sequence_depends_on_its_own_length_alone(quantized):
    for length in (ORIGINAL - 1, ORIGINAL, ORIGINAL + 1):
        tokens = tokens_of(length)
        session = quantized.session()
        one_by_one = [session.forward([token]) for token in tokens][-1]
        assert identical(one_by_one, quantized.logits(tokens)[-1:])


def test_long_prompts_are_read_in_chunks_that_do_not_show(tmp_path, monkeypatch):
    model = phigguf.load(write_tiny(tmp_path / "tiny.gguf", EVERYTHING))
    tokens = tokens_of(100)
    whole = model.logits(tokens)
    assert len(tokens) < CHUNK
    for chunk in (1, 7, 64, 99):
        monkeypatch.setattr("phigguf.models.session.CHUNK", chunk)
        assert identical(model.logits(tokens), whole)
        assert identical(model.session().forward(tokens), whole[-1:])


def test_instruction_sets_and_threads_do_not_show(quantized):
    tokens = tokens_of(LENGTHS[-1])
    isa, threads, expected = _core.isa(), _core.num_threads(), quantized.logits(tokens)
    try:
        for name in _core.available_isas():
            _core.set_isa(name)
            for n in (1, 2, 3):
                _core.set_num_threads(n)
                assert identical(quantized.logits(tokens), expected)
    finally:
        _core.set_isa(isa)
        _core.set_num_threads(threads)


def test_the_context_does_not_show(tmp_path):
    path = write_tiny(tmp_path / "tiny.gguf", EVERYTHING)
    tokens = tokens_of(ORIGINAL - 1)
    wide, narrow = phigguf.load(path), phigguf.load(path, n_ctx=ORIGINAL)
    assert wide.n_ctx == 128
    assert identical(wide.logits(tokens), narrow.logits(tokens))


@pytest.mark.parametrize(("kv_type", "error"), [("F16", 3e-3), ("Q8_0", 6e-2)])
def test_a_smaller_cache_costs_little(tmp_path, kv_type, error):
    path = write_tiny(tmp_path / "tiny.gguf", QUANTIZABLE)
    tokens = tokens_of(40)
    exact = phigguf.load(path, kv_type="F32").logits(tokens)
    logits = phigguf.load(path, kv_type=kv_type).logits(tokens)
    assert 0 < np.std(logits - exact) < error * exact.std()


def test_truncating_a_session(quantized):
    """Back over LongRoPE's switch too, which needs short keys again."""
    tokens, session = tokens_of(2 * ORIGINAL), quantized.session()
    session.forward(tokens)
    for length in (2 * ORIGINAL - 3, ORIGINAL + 1, ORIGINAL - 4, 3, 0):
        session.truncate(length)
        assert session.tokens == tokens[:length]
        again = tokens[: length + 2]
        assert identical(session.forward(again[length:]), quantized.logits(again)[-1:])


def test_a_windows_memory_is_bounded(tmp_path):
    """However long the sequence; and what has been let go is read anew when it is needed."""
    tiny = replace(EVERYTHING, window=300, context=4096, original=1200)
    model = phigguf.load(write_tiny(tmp_path / "tiny.gguf", tiny))
    tokens, session = tokens_of(1500), model.session()
    page = 2 * tiny.layers * tiny.kv_heads * 256 * (tiny.head_dim * 2 + 4)
    for length in (800, 801, 1199, 1200, 1201, 1499, 1500):
        last, piece = len(session), tokens[len(session) : length]
        logits = session.forward(piece)
        assert identical(logits, model.logits(tokens[:length])[-1:])
        whole = length if last <= 1200 < length else len(piece)  # read anew as a long one
        last_chunk = (whole - 1) % CHUNK + 1
        assert session.nbytes <= page * ((300 + last_chunk) // 256 + 2)
    for length in (1499, 1300, 1201, 1195, 700, 20):
        session.truncate(length)
        assert session.tokens == tokens[:length]
        again = session.forward(tokens[length : length + 2])
        assert identical(again, model.logits(tokens[: length + 2])[-1:])


def test_a_session_goes_on_after_a_failure(tmp_path, monkeypatch):
    """Ctrl-C between two layers, while a long sequence is read anew, leaves nothing torn."""
    model = phigguf.load(write_tiny(tmp_path / "tiny.gguf", EVERYTHING))
    tokens, layers, linear = tokens_of(2 * ORIGINAL), [], Weight.linear

    def interrupt_now_and_then(self, x, **options):
        if "add_to" in options:
            layers.append(x)
            if len(layers) in (2, 5, 8, 11, 14):
                raise KeyboardInterrupt
        return linear(self, x, **options)

    monkeypatch.setattr("phigguf.models.session.CHUNK", 8)
    session, interrupts = model.session(), 0
    session.forward(tokens[: ORIGINAL - 2])
    monkeypatch.setattr(Weight, "linear", interrupt_now_and_then)
    while True:
        try:
            logits = session.forward(tokens[ORIGINAL - 2 :])
            break
        except KeyboardInterrupt:
            interrupts += 1
            assert session.tokens == tokens[: ORIGINAL - 2]
    assert interrupts == 5
    assert identical(logits, model.logits(tokens)[-1:])


def test_weights_are_used_where_they_lie(tmp_path):
    model = phigguf.load(write_tiny(tmp_path / "tiny.gguf"))
    weight = model.network.layers[0].ffn_up.data
    assert not weight.flags.owndata
    assert np.shares_memory(weight, model.file.tensors["blk.0.ffn_up.weight"].data)


def test_the_file_may_be_closed(tmp_path):
    model = phigguf.load(write_tiny(tmp_path / "tiny.gguf"))
    expected = model.logits([3, 4])
    model.file.close()
    assert identical(model.logits([3, 4]), expected)


@pytest.mark.parametrize("bad", [-1, 96, 2**31, -(2**40)])
def test_tokens_outside_the_vocabulary_are_refused(tmp_path, bad):
    model = phigguf.load(write_tiny(tmp_path / "tiny.gguf"))
    session = model.session()
    session.forward([5, 6])
    with pytest.raises(InvalidArgument, match=rf"tokens\[1\]: .*96 tokens \(got {bad}\)"):
        session.forward([7, bad])
    assert session.tokens == [5, 6]
    with pytest.raises(InvalidArgument, match="tokens"):
        model.logits([])


def test_the_context_is_not_exceeded(tmp_path):
    path = write_tiny(tmp_path / "tiny.gguf")
    model = phigguf.load(path, n_ctx=5)
    session = model.session()
    session.forward([3] * 4)
    with pytest.raises(InvalidArgument, match="needs from 1 to 1 tokens: n_ctx is 5"):
        session.forward([3, 3])
    assert session.forward([3]).shape == (1, 96)
    for n_ctx in (0, -1, 129):
        with pytest.raises(InvalidArgument, match="n_ctx: must be from 1 to the 128 tokens"):
            phigguf.load(path, n_ctx=n_ctx)


def test_cache_types_are_checked(tmp_path):
    path = write_tiny(tmp_path / "tiny.gguf")
    with pytest.raises(InvalidArgument, match="kv_type: must be one of F32, F16, Q8_0"):
        phigguf.load(path, kv_type="Q4_K")
    with pytest.raises(ShapeError, match="multiple of Q8_0's 32"):
        phigguf.load(path, kv_type="Q8_0")  # heads are 16 wide


def test_weights_that_overflow_are_an_error_rather_than_nonsense(tmp_path):
    weights = {"blk.1.attn_norm.weight": np.full(64, 1e38, np.float32)}
    model = phigguf.load(write_tiny(tmp_path / "tiny.gguf", tensors=weights))
    with pytest.raises(QuantizationError, match="layer 1, position 0: a key or value is"):
        model.logits([3, 4])
