"""Chat templates: rendered as `transformers` renders them, and kept from harm."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import pytest

from phigguf.chat import ChatTemplate
from phigguf.errors import ChatTemplateError, InvalidArgument
from template_cases import ATTACKS, FAMILIES, FEATURES, GREEDY, MESSAGES, PHI3, TURNS


def render(source: str, messages: Any = MESSAGES, **options: Any) -> str:
    return ChatTemplate(source, "<s>", "</s>").render(messages, **options)


def test_phi3s_template() -> None:
    conversation = "<|system|>\nBe brief.<|end|>\n<|user|>\nHi <b> & {{ 1 }} \U0001f600<|end|>\n"
    assert render(PHI3) == conversation + "<|assistant|>\n"
    assert render(PHI3, add_generation_prompt=False) == conversation + "</s>"


SYSTEM, TOOLS = "Be  brief. ", '[{"name": "f", "parameters": {}}]'
QUESTION, THOUGHT, LAST = (
    " What is 2 + 2?\n",
    "<think>Two and\n two.</think>\n\n",
    TURNS[-1]["content"],
)
SEP, END = "<|im_sep|>", "<|im_end|>"
RENDERED = {
    "Phi-3": f"<|system|>\n{SYSTEM}<|end|>\n<|user|>\n{QUESTION}<|end|>\n"
    f"<|assistant|>\n{THOUGHT}4<|end|>\n<|user|>\n{LAST}<|end|>\n<|assistant|>\n",
    "Phi-4": f"<|im_start|>system{SEP}{SYSTEM}{END}<|im_start|>user{SEP}{QUESTION}{END}"
    f"<|im_start|>assistant{SEP}{THOUGHT}4{END}<|im_start|>user{SEP}{LAST}{END}"
    f"<|im_start|>assistant{SEP}",
    "Phi-4-reasoning": f"<|im_start|>system{SEP}Think between <think> and </think>, then answer. "
    f"{SYSTEM}{END}<|im_start|>user{SEP}{QUESTION}{END}"
    f"<|im_start|>assistant{SEP}4{END}<|im_start|>user{SEP}{LAST}{END}"
    f"<|im_start|>assistant{SEP}",
    "Phi-4-mini": f"<|system|>{SYSTEM}<|tool|>{TOOLS}<|/tool|><|end|><|user|>{QUESTION}<|end|>"
    f"<|assistant|>{THOUGHT}4<|end|><|user|>{LAST}<|end|><|assistant|>",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families_templates(family: str) -> None:
    assert render(FAMILIES[family], TURNS) == RENDERED[family]


@pytest.mark.parametrize("name", FEATURES)
def test_feature(name: str) -> None:
    source, expected = FEATURES[name]
    assert render(source) == expected


def test_date_is_available() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", render("{{ strftime_now('%Y-%m-%d') }}"))


def test_long_conversations_fit() -> None:
    messages = [{"role": "user", "content": "a" * 10_000}, {"role": "assistant", "content": "b"}]
    text = render(PHI3, messages * 500)
    assert len(text) == 500 * (10_000 + len("<|user|>\n<|end|>\n<|assistant|>\nb<|end|>\n")) + 14


def test_template_can_be_rendered_again_after_a_failure() -> None:
    template = ChatTemplate("{{ 1 // messages|length }}{% for i in range(9) %}x{% endfor %}")
    with pytest.raises(ChatTemplateError):
        template.render([])
    for _ in range(50):
        assert template.render(MESSAGES) == "0" + "x" * 9


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_an_error(name: str) -> None:
    with pytest.raises(ChatTemplateError) as caught:
        render(ATTACKS[name])
    assert caught.value.field == "chat_template"
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", GREEDY)
def test_attack_takes_little_memory(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ChatTemplateError):
            render(GREEDY[name])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_template_may_refuse_messages() -> None:
    with pytest.raises(ChatTemplateError, match="refuses the messages: no system role"):
        render("{{ raise_exception('no system role') }}")


def test_error_names_the_file() -> None:
    with pytest.raises(ChatTemplateError, match=r"^model\.gguf: chat_template: .*UndefinedError"):
        ChatTemplate("{{ x.y }}", file="model.gguf").render(MESSAGES)


def test_source_must_be_text() -> None:
    with pytest.raises(ChatTemplateError):
        ChatTemplate(7)  # type: ignore[arg-type]


def test_syntax_error_names_the_line() -> None:
    with pytest.raises(ChatTemplateError, match="in line 3"):
        ChatTemplate("a\nb\n{% if %}")


BAD_MESSAGES = {
    "text": ("hi", "messages[0]"),
    "list of texts": (["hi"], "messages[0]"),
    "no role": ([{"content": "a"}], "messages[0].role"),
    "no content": ([{"role": "user"}], "messages[0].content"),
    "content is none": ([{"role": "user", "content": None}], "messages[0].content"),
    "content is a list": ([*MESSAGES, {"role": "user", "content": ["a"]}], "messages[2].content"),
    "role is bytes": ([{"role": b"user", "content": "a"}], "messages[0].role"),
    "more than that": ([{"role": "user", "content": "a", "name": "x"}], "messages[0].name"),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_bad_message_is_named(name: str) -> None:
    messages, field = BAD_MESSAGES[name]
    with pytest.raises(InvalidArgument) as caught:
        render(PHI3, messages)
    assert caught.value.field == field


def test_long_refusal_is_cut() -> None:
    with pytest.raises(ChatTemplateError, match="refuses the messages: aaa") as caught:
        render("{{ raise_exception('a' * 99999) }}")
    assert len(str(caught.value)) < 1000


def test_messages_bring_no_methods_along() -> None:
    class Text(str):
        def upper(self) -> str:
            return "secret"

    assert (
        render("{{ messages[0].content.upper() }}", [{"role": "user", "content": Text("a")}]) == "A"
    )
