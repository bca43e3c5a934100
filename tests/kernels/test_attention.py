"""Attention over a cache: close to float64, and the same bits however the tokens came."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from kernels.inputs import gaussian
from kernels.recode import dequantize, quantize
from phigguf import _core
from phigguf.errors import InvalidArgument, QuantizationError, ShapeError

KV_TYPES = ["F32", "F16", "Q8_0"]
PAGE, SPAN = 256, 512  # positions; boundaries are worth a visit

# Scores reach 16, where float32 rounds by half of 2^-20; a weight is off by as much, and an output by that times the
# difference of two values, up to 8. A few such roundings meet.
CLOSE = 6e-6

# Codes are off by up to half of their largest's 4095th part, so a score of 16 by some 16 * 2^-13 where all errors meet.
# A root mean square says more than the farthest of so many: about one and a half times what rounding to float16 costs.
CLOSE_AS_CODES, SPREAD_OF_CODES = 6e-3, 1e-3


class Case:
    """Some heads, and queries, keys and values for every token."""

    def __init__(self, tokens, heads=4, kv_heads=2, head_dim=64, seed=1):
        self.tokens, self.heads, self.kv_heads, self.head_dim = tokens, heads, kv_heads, head_dim
        self.qkv = gaussian(tokens, (heads + 2 * kv_heads) * head_dim, seed)
        self.qkv[:, : heads * head_dim] *= np.float32(3)  # some attention is sharp

    def cache(self, kv_type="F32", layers=1, window=0):
        return _core.KvCache(layers, self.kv_heads, self.head_dim, kv_type, window)

    def run(self, pieces=None, kv_type="F32", window=0, scale=0.125):
        """Read all tokens in pieces of the given sizes."""
        cache, outputs, begin = self.cache(kv_type, window=window), [], 0
        for piece in pieces or [self.tokens]:
            rows = self.qkv[begin : begin + piece]
            outputs.append(cache.attend(0, rows, self.heads, scale))
            begin += piece
        assert begin == self.tokens == len(cache)
        return np.concatenate(outputs)

    def exact(self, kv_type="F32", window=0, scale=0.125):
        """In float64, from keys and values as the cache's type holds them."""
        parts = self.qkv.reshape(self.tokens, -1, self.head_dim)
        stored = parts[:, self.heads :].reshape(-1, self.head_dim)
        stored = dequantize(quantize(np.ascontiguousarray(stored), kv_type), kv_type)
        keys, values = np.split(stored.reshape(self.tokens, -1, self.head_dim), 2, axis=1)
        group = self.heads // self.kv_heads
        queries, keys, values = (
            a.astype(np.float64).transpose(1, 0, 2)
            for a in (parts[:, : self.heads], keys.repeat(group, 1), values.repeat(group, 1))
        )
        scores = queries @ keys.transpose(0, 2, 1) * scale
        i, j = np.arange(self.tokens)[:, None], np.arange(self.tokens)
        visible = (j <= i) & (j > i - window if window else True)
        scores = np.where(visible, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        output = weights / weights.sum(axis=-1, keepdims=True) @ values
        return output.transpose(1, 0, 2).reshape(self.tokens, -1)


def identical(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def check_codes(outputs, exact):
    assert np.abs(outputs - exact).max() < CLOSE_AS_CODES * np.abs(exact).max()
    assert np.std(outputs - exact) < SPREAD_OF_CODES * exact.std()


TOKENS = [1, 2, 63, 64, 65, 127, 128, 129, PAGE + 1]


@pytest.mark.parametrize("tokens", TOKENS)
def test_close_to_float64(isa, tokens):
    case = Case(tokens)
    assert np.abs(case.run() - case.exact()).max() < CLOSE


@pytest.mark.parametrize("kv_type", ["F16", "Q8_0"])
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("head_dim", [32, 96, 128])
def test_codes_are_close_to_float64(isa, tokens, kv_type, head_dim):
    case, scale = Case(tokens, head_dim=head_dim), head_dim**-0.5
    check_codes(case.run(kv_type=kv_type, scale=scale), case.exact(kv_type, scale=scale))


def test_a_wider_head_is_attended_in_floats(isa):
    """Sums of more products of codes would not fit 32 bits."""
    case = Case(90, head_dim=160)
    outputs = case.run(kv_type="F16")
    assert np.abs(outputs - case.exact("F16")).max() < CLOSE
    assert identical(case.run([80, 1, 2, 7], "F16"), outputs)


def test_many_small_weights_count_beside_a_large_one(isa):
    """As where a text's first token is attended most and has the smallest value."""
    case = Case(64, heads=1, kv_heads=1, head_dim=32)
    queries, keys, values = np.split(case.qkv, 3, axis=1)
    queries[:], keys[:, 0], values[0] = np.eye(32)[0], -9, values[0] * np.float32(2**-20)
    keys[0] = 0
    outputs = case.run(kv_type="F16", scale=1)
    assert np.std(outputs) < np.std(values) / 10
    check_codes(outputs[-1:], case.exact("F16", scale=1)[-1:])


@pytest.mark.parametrize("pieces", [[128], [127, 1]])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_of_the_largest_codes_fit(isa, sign, pieces):
    """A whole block of them, of as many dimensions as are summed."""
    case = Case(128, heads=1, kv_heads=1, head_dim=128)
    queries, keys, values = np.split(case.qkv, 3, axis=1)
    queries[:], keys[:], values[:] = 1, sign, sign * np.float32(2 - 2**-10)
    assert np.abs(case.run(pieces, "F16", scale=1) - values).max() < 1e-5
    keys[::2] *= -1
    values[::2] *= -1
    assert np.abs(case.run(pieces, "F16", scale=1)[2:] - 2).max() < 2e-3


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("pieces", [[30], [29, 1]])
def test_a_query_that_is_not_finite_has_no_attention(isa, value, pieces):
    case = Case(30)
    case.qkv[29, 3] = value
    outputs = case.run(pieces, kv_type="F16").reshape(30, 4, 64)
    assert np.isnan(outputs[29, 0]).all()
    assert np.isfinite(np.delete(outputs.reshape(120, 64), 116, axis=0)).all()


@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (6, 6), (6, 3), (6, 1)])
@pytest.mark.parametrize("head_dim", [2, 16, 40, 96])
def test_heads_of_any_number_and_size(isa, heads, kv_heads, head_dim):
    case, scale = Case(70, heads, kv_heads, head_dim), head_dim**-0.5
    assert np.abs(case.run(scale=scale) - case.exact(scale=scale)).max() < CLOSE


@pytest.mark.parametrize("window", [1, 2, 17, 63, 64, 65, 100, 129, 130, 10**6])
def test_sliding_window(isa, window):
    case = Case(130)
    assert np.abs(case.run(window=window) - case.exact(window=window)).max() < CLOSE


def test_a_window_of_one_sees_itself():
    case = Case(80)
    values = case.qkv.reshape(80, -1, 64)[:, -2:]
    assert identical(case.run(window=1), values.repeat(2, axis=1).reshape(80, -1))


@pytest.mark.parametrize("kv_type", KV_TYPES)
@pytest.mark.parametrize("window", [0, 50, 200])
def test_how_the_tokens_came_does_not_show(isa, kv_type, window):
    case = Case(PAGE + 44)
    whole = case.run(kv_type=kv_type, window=window)
    ones = [1] * case.tokens
    for pieces in (ones, [63, 1, 64, 2, 100, 70], [PAGE, 44], [PAGE - 1, 2, 43]):
        assert identical(case.run(pieces, kv_type, window), whole)


@pytest.mark.parametrize("kv_type", KV_TYPES)
@pytest.mark.parametrize("group", [1, 2, 3])
@pytest.mark.parametrize("head_dim", [32, 96])
@pytest.mark.parametrize("window", [0, 64, 100])
def test_few_queries_and_many_give_the_same_bits(isa, head_dim, group, kv_type, window):
    """Up to six rows of queries read the cache where it lies; more share its copy as floats."""
    case = Case(SPAN + 70, heads=group, kv_heads=1, head_dim=head_dim)
    many = case.run(kv_type=kv_type, window=window)
    for few in ([1, 2, 3, 4, 5, 6, 7], [7, 6, 1], [3, 61, 5, 59, 2, 1]):
        pieces = few * (case.tokens // sum(few))
        pieces += [1] * (case.tokens - sum(pieces))
        assert identical(case.run(pieces, kv_type, window), many)


@pytest.mark.parametrize("head_dim", [2, 20, 40])
def test_few_queries_of_an_odd_size_and_many_give_the_same_bits(isa, head_dim):
    case = Case(PAGE + 9, head_dim=head_dim)
    assert identical(case.run([PAGE - 1, 1, 1, 1, 1, 2, 3, 1], "F16"), case.run(kv_type="F16"))


@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_every_instruction_set_gives_the_same_bits(isa, kv_type):
    case = Case(150, heads=6, kv_heads=2, head_dim=96)
    outputs = case.run(kv_type=kv_type, window=90)
    _core.set_isa("scalar")
    assert identical(outputs, case.run(kv_type=kv_type, window=90))


def test_threads_do_not_show(isa):
    case, before = Case(100), _core.num_threads()
    outputs = []
    try:
        for threads in (1, 2, 3):
            _core.set_num_threads(threads)
            outputs.append(case.run())
    finally:
        _core.set_num_threads(before)
    assert identical(outputs[0], outputs[1])
    assert identical(outputs[0], outputs[2])


@pytest.mark.parametrize("window", [0, 700])
def test_spans_read_by_different_threads_do_not_show(isa, window):
    """Few heads and many threads: each span of positions is a share of its own."""
    case, before = Case(2 * SPAN + 70, heads=3, kv_heads=1, head_dim=32), _core.num_threads()
    pieces = [2 * SPAN - 1, 1, 1, 1, 68]
    assert sum(pieces) == case.tokens
    try:
        _core.set_num_threads(1)
        whole = case.run(window=window)
        _core.set_num_threads(64)
        assert identical(case.run(window=window), whole)
        assert identical(case.run(pieces, window=window), whole)
    finally:
        _core.set_num_threads(before)
    assert np.abs(whole - case.exact(window=window)).max() < CLOSE


def test_very_large_scores_do_not_overflow(isa):
    case = Case(100)
    case.qkv *= np.float32(1e4)
    outputs = case.run()
    assert np.isfinite(outputs).all()
    assert np.abs(outputs / case.exact() - 1).max() < 1e-2


@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_truncating_is_as_if_the_rest_had_never_come(isa, kv_type):
    case = Case(PAGE + 50)
    whole, cache = case.run(kv_type=kv_type), case.cache(kv_type)
    cache.attend(0, case.qkv, 4, 0.125)
    for length in (PAGE + 49, PAGE + 1, PAGE, PAGE - 1, 70, 0):
        cache.truncate(length)
        assert len(cache) == length
        outputs = cache.attend(0, case.qkv[length:], 4, 0.125)
        assert identical(outputs, whole[length:])
    cache.truncate(10**6)
    assert len(cache) == case.tokens


def test_memory_is_taken_as_positions_come():
    case = Case(PAGE + 1)
    cache = case.cache("F16", layers=3)
    page = 2 * 2 * PAGE * (64 * 2 + 4)  # a row's largest magnitude goes with it
    assert cache.nbytes == 0
    cache.attend(1, case.qkv[:PAGE], 4, 0.125)
    assert cache.nbytes == page
    cache.attend(1, case.qkv[PAGE:], 4, 0.125)
    assert cache.nbytes == 2 * page
    cache.truncate(PAGE)
    assert cache.nbytes == page


WINDOWS = [1, 100, PAGE - 1, PAGE, PAGE + 1, 600]
PIECES = [700, 1, 67, 1, 255, 256, 20]


@pytest.mark.parametrize("window", WINDOWS)
def test_memory_is_no_more_than_the_window_and_what_was_last_read(window):
    case, page, begin = Case(sum(PIECES)), 2 * 2 * PAGE * 64 * 4, 0
    whole, cache = case.run(window=window), case.cache(window=window)
    for piece in PIECES:
        end = begin + piece
        outputs = cache.attend(0, case.qkv[begin:end], 4, 0.125)
        assert identical(outputs, whole[begin:end])
        first_seen = max(0, begin + 1 - window)
        assert cache.nbytes == page * (-(-end // PAGE) - first_seen // PAGE)
        begin = end


@pytest.mark.parametrize("window", WINDOWS)
def test_truncating_past_the_window_forgets_all(window):
    case = Case(sum(PIECES))
    whole = case.run(window=window)
    for length in (0, 1, 500, 1000, 1200, 1279, 1280, 1281, 1290, 1299, 1300):
        cache, begin = case.cache(window=window), 0
        for piece in PIECES:
            cache.attend(0, case.qkv[begin : begin + piece], 4, 0.125)
            begin += piece
        cache.truncate(length)
        first_held = max(0, case.tokens - PIECES[-1] + 1 - window) // PAGE
        gone = length < case.tokens and max(0, length + 1 - window) // PAGE < first_held
        assert len(cache) == (0 if gone else length)
        assert not (gone and length >= case.tokens - PIECES[-1])
        kept = len(cache)
        assert cache.nbytes == 0 or kept > 0
        if kept < case.tokens:
            outputs = cache.attend(0, case.qkv[kept:], 4, 0.125)
            assert identical(outputs, whole[kept:])


def test_one_layer_that_lost_its_window_empties_the_others():
    case, cache = Case(900), Case(900).cache(layers=2, window=10)
    for layer in range(2):
        cache.attend(layer, case.qkv[:500], 4, 0.125)
    cache.attend(1, case.qkv[500:899], 4, 0.125)
    cache.attend(1, case.qkv[899:], 4, 0.125)
    assert len(cache) == 500
    cache.truncate(500)
    assert len(cache) == cache.nbytes == 0


def test_layers_are_apart_and_the_shortest_counts():
    case, cache = Case(30), Case(30).cache(layers=2)
    first = cache.attend(0, case.qkv, 4, 0.125)
    assert len(cache) == 0
    assert identical(cache.attend(1, case.qkv, 4, 0.125), first)
    assert len(cache) == 30


def test_outputs_may_be_written_to_an_array():
    case, cache = Case(5), Case(5).cache()
    out = np.full((5, 4 * 64), np.nan, np.float32)
    with pytest.raises(ShapeError, match="out: axis 0 must have length 5"):
        cache.attend(0, case.qkv, 4, 0.125, out=out[1:])
    assert cache.attend(0, case.qkv, 4, 0.125, out=out) is out
    assert identical(out, case.run())


@pytest.mark.parametrize("kv_type", KV_TYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_key_that_is_not_finite_is_refused(kv_type, value):
    case, cache = Case(9), Case(9).cache(kv_type)
    cache.attend(0, case.qkv[:3], 4, 0.125)
    case.qkv[5, 4 * 64] = value
    with pytest.raises(QuantizationError, match=f"layer 0, position 5: .* not .*finite.*{kv_type}"):
        cache.attend(0, case.qkv[3:], 4, 0.125)
    assert len(cache) == 3


def test_a_value_past_float16_is_refused_rather_than_made_infinite():
    case, cache = Case(4), Case(4).cache("F16")
    case.qkv[2, -1] = 70000
    with pytest.raises(QuantizationError, match=r"layer 0, position 2: .* too large .*F16"):
        cache.attend(0, case.qkv, 4, 0.125)
    assert np.isfinite(case.run(kv_type="F32")).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 2, 64, "F16"), InvalidArgument, "layers: must be from 1 to"),
        ((1, -1, 64, "F16"), InvalidArgument, "kv_heads: must be from 1 to"),
        ((1, 2, 2**40, "F16"), InvalidArgument, "head_dim: must be from 1 to"),
        ((1, 2, 48, "Q8_0"), ShapeError, "multiple of Q8_0's 32"),
    ],
)
def test_geometry_is_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        _core.KvCache(*arguments)


@pytest.mark.parametrize(("head_dim", "pairs"), [(64, 32), (96, 36), (6, 3)])
def test_queries_and_keys_are_rotated_before(isa, head_dim, pairs):
    case, angles = Case(20, heads=3, kv_heads=1, head_dim=head_dim), gaussian(20, pairs, 3)
    c, s = np.cos(angles), np.sin(angles)
    given, attended = case.qkv.copy(), case.cache().attend(0, case.qkv, 3, 0.125, (c, s))
    expected = given.copy()
    for head in range(3 + 1):
        first = slice(head * head_dim, head * head_dim + pairs)
        second = slice(first.stop, first.stop + pairs)
        expected[:, first] = given[:, first] * c - given[:, second] * s
        expected[:, second] = given[:, second] * c + given[:, first] * s
    assert identical(case.qkv, expected)
    assert identical(attended, case.run())


def test_tables_are_checked():
    case, table = Case(3), gaussian(3, 32)
    for tables, message in (
        ((table[:2], table), "cosines: axis 0 must have length 3"),
        ((table, table[:2]), "sines: axis 0 must have length 3"),
        ((table, gaussian(3, 31)), "sines: axis 1 must have length 32"),
        ((gaussian(3, 33), gaussian(3, 33)), "a head of 64 has no such number of pairs"),
    ):
        with pytest.raises(ShapeError, match=message):
            case.cache().attend(0, case.qkv, 4, 0.125, tables)
    case.qkv.flags.writeable = False
    with pytest.raises(TypeError, match="qkv must be writeable"):
        case.cache().attend(0, case.qkv, 4, 0.125, (table, table))


def test_arguments_are_checked():
    case = Case(3)
    cache = case.cache()
    with pytest.raises(InvalidArgument, match="layer: there are 1 layers"):
        cache.attend(1, case.qkv, 4, 0.125)
    with pytest.raises(ShapeError, match="heads: must be a multiple of 2"):
        cache.attend(0, case.qkv, 3, 0.125)
    with pytest.raises(ShapeError, match="qkv: axis 1 must have length 640"):
        cache.attend(0, case.qkv, 6, 0.125)
    assert len(cache) == 0


def test_two_threads_cannot_use_a_cache_at_once():
    """One of them is told so; nothing is torn."""
    case = Case(1500, heads=8, kv_heads=8)
    cache, refusals = case.cache(), []

    def read():
        try:
            cache.attend(0, case.qkv, 8, 0.125)
        except InvalidArgument as error:
            refusals.append(str(error))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == 1500 * (2 - len(refusals))
    assert refusals in ([], ["cache: another thread is using it"])
