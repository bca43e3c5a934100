"""Generation: what is streamed, where it stops and why, with models that follow a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from phigguf.chat import ChatTemplate
from phigguf.continuation import Generation
from phigguf.errors import ChatTemplateError, InvalidArgument, TokenizerError
from phigguf.generate import chat, generate
from phigguf.kept_session import KeptSession
from phigguf.stop_strings import StopStrings
from phigguf.tokenizer import Tokenizer

LETTERS = [chr(letter) for letter in range(ord("a"), ord("z") + 1)]
WORDS = [f"\u2581{word}" for word in ("", "t", "to", "b", "be", "o", "or", "n", "no", "not")]
CONTROL = ["<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TOKENS = [*CONTROL, *BYTES, *LETTERS, *WORDS]
TYPES = np.array([2, *[3] * 5, *[6] * 256, *[1] * 36])
IDS = {token: id for id, token in enumerate(TOKENS)}
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
END = "<|end|>"


class ScriptedModel:
    """Says the tokens of a script, whatever it reads, and notes what it reads."""

    def __init__(self, script: Sequence[str], n_ctx: int = 1000, template: str = TEMPLATE) -> None:
        self.n_ctx = n_ctx
        self.chat_template = ChatTemplate(template) if template else None
        self.tokenizer = Tokenizer.from_metadata(
            {
                "tokenizer.ggml.model": "llama",
                "tokenizer.ggml.tokens": TOKENS,
                "tokenizer.ggml.scores": np.zeros(len(TOKENS), dtype=np.float32),
                "tokenizer.ggml.token_type": TYPES,
                "tokenizer.ggml.bos_token_id": 1,
                "tokenizer.ggml.eos_token_id": 2,
            }
        )
        self.script = [IDS[token] for token in script]
        self.read: list[list[int]] = []

        self.kept_session = KeptSession(self.session)

    def session(self) -> ScriptedModel:
        self.read = []
        return self

    def rewind(self, tokens: Sequence[int]) -> int:
        self.read = []
        return 0

    def readable_at_once(self, count: int) -> int:
        return count

    def forward(self, tokens: Sequence[int], last_only: bool = True) -> npt.NDArray[np.float32]:
        assert last_only
        assert sum(map(len, self.read)) + len(tokens) <= self.n_ctx
        self.read.append(list(tokens))
        logits = np.zeros((1, len(TOKENS)), dtype=np.float32)
        logits[0, self.script[len(self.read) - 1]] = 50.0
        return logits


SENTENCE = ["\u2581to", "\u2581be", "\u2581or", "\u2581not", "\u2581to", "\u2581be", END]


def test_text_ends_with_the_models_end_token() -> None:
    result = generate(ScriptedModel(SENTENCE), "ask", temperature=0)
    assert result.text == str(result) == " to be or not to be"
    assert result.finish_reason == "end"
    assert result.token_ids == [IDS[token] for token in SENTENCE]
    assert result.prompt_tokens == 5


def test_model_reads_the_prompt_once_and_then_each_token() -> None:
    model = ScriptedModel(SENTENCE)
    generate(model, "ask", temperature=0)
    prompt = [IDS["<s>"], IDS["\u2581"], IDS["a"], IDS["s"], IDS["k"]]
    assert model.read == [prompt, *([IDS[token]] for token in SENTENCE[:-1])]


def test_prompt_may_be_token_ids() -> None:
    model = ScriptedModel(SENTENCE)
    generate(model, [5, 6, 7], temperature=0)
    assert model.read[0] == [5, 6, 7]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_length_is_limited(n: int) -> None:
    model = ScriptedModel(SENTENCE)
    result = generate(model, "ask", max_tokens=n, temperature=0)
    assert result.finish_reason == "length"
    assert result.token_ids == [IDS[token] for token in SENTENCE[:n]]
    assert len(model.read) == n


def test_length_counts_before_the_context() -> None:
    model = ScriptedModel(["a"] * 20, n_ctx=8)
    assert generate(model, [5, 6, 7], max_tokens=6, temperature=0).finish_reason == "length"
    assert generate(model, [5, 6, 7], max_tokens=7, temperature=0).finish_reason == "context"


@pytest.mark.parametrize("max_tokens", [None, 100])
def test_context_is_limited(max_tokens: int | None) -> None:
    model = ScriptedModel(["a"] * 20, n_ctx=8)
    result = generate(model, [5, 6, 7], max_tokens=max_tokens, temperature=0)
    assert result.finish_reason == "context"
    assert len(result.token_ids) == 6  # five are read, the sixth need not be
    assert sum(map(len, model.read)) == 8


def test_stream_joins_to_the_text_and_leaves_the_result() -> None:
    stream = generate(ScriptedModel(SENTENCE), "ask", stream=True, temperature=0)
    assert stream.result is None
    pieces = list(stream)
    assert pieces == [" to", " be", " or", " not", " to", " be"]
    assert stream.result is not None
    assert stream.result.text == "".join(pieces)
    assert next(stream, None) is None


def test_stream_gives_each_piece_before_the_next_is_computed() -> None:
    model = ScriptedModel(SENTENCE)
    stream = generate(model, "ask", stream=True, temperature=0)
    assert model.read == []
    for expected in range(1, 7):
        next(stream)
        assert len(model.read) == expected


def test_letters_of_several_tokens_come_whole() -> None:
    script = [f"<0x{byte:02X}>" for byte in "\U0001f600\u00e9".encode()]
    stream = generate(ScriptedModel([*script, END]), "ask", stream=True, temperature=0)
    assert list(stream) == ["\U0001f600", "\u00e9"]


def test_half_a_letter_at_the_end_is_replaced() -> None:
    result = generate(ScriptedModel(["a", "<0xC3>", END]), "ask", temperature=0)
    assert result.text == "a\ufffd"


def test_other_special_tokens_leave_no_text() -> None:
    result = generate(ScriptedModel(["a", "<|user|>", "b", END]), "ask", temperature=0)
    assert result.text == "ab"


# --- Stop strings ---


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (" or", " to be"),
        ("or", " to be "),
        ("r n", " to be o"),
        ("e or not t", " to b"),
        (" to be or not to be", ""),
        (["not", "or"], " to be "),
        (["be or", "o be"], " t"),
        ([" be", " be or"], " to"),
    ],
)
def test_text_stops_before_a_stop_string(stop: Any, text: str) -> None:
    stream = generate(ScriptedModel(SENTENCE), "ask", stop=stop, stream=True, temperature=0)
    pieces = list(stream)
    assert "".join(pieces) == text
    assert stream.result is not None
    assert stream.result.finish_reason == "stop"
    assert "" not in pieces


@pytest.mark.parametrize("stop", ["xyz", "bee", " to bet", "beor", "\n"])
def test_text_goes_on_where_no_stop_string_is(stop: str) -> None:
    result = generate(ScriptedModel(SENTENCE), "ask", stop=stop, temperature=0)
    assert result.text == " to be or not to be"
    assert result.finish_reason == "end"


def test_no_token_is_computed_after_a_stop_string() -> None:
    model = ScriptedModel(SENTENCE)
    result = generate(model, "ask", stop="or", temperature=0)
    assert len(model.read) == len(result.token_ids) == 3


def test_nothing_that_may_begin_a_stop_string_is_shown_early() -> None:
    stream = generate(
        ScriptedModel(SENTENCE), "ask", stop="be or nothing", stream=True, temperature=0
    )
    assert list(stream) == [" to", " ", "be or not to", " ", "be"]


def test_stop_string_in_half_a_letter() -> None:
    result = generate(ScriptedModel(["a", "<0xC3>", END]), "ask", stop="\ufffd", temperature=0)
    assert (result.text, result.finish_reason) == ("a", "stop")


@pytest.mark.parametrize("seed", range(20))
def test_stop_strings_do_not_depend_on_how_the_text_is_cut(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(100):
        text = "".join(rng.choice(list("ab"), 30))
        stops = ["".join(rng.choice(list("ab"), rng.integers(1, 7))) for _ in range(3)]
        ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
        expected = text[: min(ends)[1]] if ends else text
        cuts = sorted(rng.integers(0, 31, 6).tolist())
        matcher = StopStrings(stops)
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, 30], strict=True)]
        shown = [*map(matcher.feed, parts), matcher.finish()]
        assert "".join(shown) == expected
        assert (matcher.found is not None) == bool(ends)


# --- Chat ---


def test_chat_renders_and_parses_special_tokens() -> None:
    model = ScriptedModel(SENTENCE)
    result = chat(model, [{"role": "user", "content": "hi"}], temperature=0)
    assert result.text == "to be or not to be"
    expected = ["<|user|>", "\u2581", "h", "i", "<|end|>", "<|assistant|>"]
    assert model.read[0] == [IDS[token] for token in expected]


def test_chat_round_keeps_its_tokens() -> None:
    model = ScriptedModel(SENTENCE)
    messages = [{"role": "user", "content": "hi"}]
    first = chat(model, messages, temperature=0)
    seen = [*model.read[0], *first.token_ids]
    messages += [{"role": "assistant", "content": first.text}, {"role": "user", "content": "yes"}]
    chat(model, messages, temperature=0)
    assert model.read[0][: len(seen)] == seen


def test_chat_streams() -> None:
    stream = chat(ScriptedModel(SENTENCE), [{"role": "user", "content": "hi"}], stream=True)
    assert next(stream) == "to"


def test_chat_needs_a_template() -> None:
    with pytest.raises(InvalidArgument, match="no chat template"):
        chat(ScriptedModel(SENTENCE, template=""), [{"role": "user", "content": "hi"}])


def test_chat_reports_what_the_template_refuses() -> None:
    model = ScriptedModel(SENTENCE, template="{{ raise_exception('no') }}")
    with pytest.raises(ChatTemplateError, match="no"):
        chat(model, [{"role": "user", "content": "hi"}])


# --- Arguments ---


@pytest.mark.parametrize(
    ("prompt", "options", "field"),
    [
        ([], {}, "prompt"),
        ("a" * 1000, {}, "prompt"),
        ("ask", {"max_tokens": -1}, "max_tokens"),
        ("ask", {"stop": ""}, "stop"),
        ("ask", {"stop": ["a", ""]}, "stop"),
        ("ask", {"stop": [1]}, "stop"),
        ("ask", {"temperature": -1}, "temperature"),
        ("ask", {"top_p": 0}, "top_p"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_argument_is_named_at_once(
    prompt: Any, options: dict[str, Any], field: str, stream: bool
) -> None:
    model = ScriptedModel(SENTENCE)
    with pytest.raises(InvalidArgument) as caught:
        generate(model, prompt, stream=stream, **options)
    assert caught.value.field == field
    assert model.read == []


@pytest.mark.parametrize("id", [-1, len(TOKENS)])
def test_token_outside_the_vocabulary_is_refused(id: int) -> None:
    with pytest.raises(TokenizerError, match="outside"):
        generate(ScriptedModel(SENTENCE), [1, id])


def test_prompt_may_fill_the_context() -> None:
    result = generate(ScriptedModel(SENTENCE, n_ctx=3), [5, 6, 7], temperature=0)
    assert (result.text, result.finish_reason) == ("\u2581to".replace("\u2581", " "), "context")


def test_rates() -> None:
    result = Generation("", [1, 2, 3, 4, 5], "end", 20, prompt_seconds=0.5, decode_seconds=2.0)
    assert result.prompt_tps == 40
    assert result.decode_tps == 2
    assert Generation("", [], "length", 5, 0.0, 0.0).decode_tps == 0
