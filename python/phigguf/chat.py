"""Chat templates: from messages to the text that a model continues.

A template is a program that came with a model file. It is rendered as `transformers` renders it,
but in a sandbox that bounds what it can reach, the steps it takes and the text it makes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from jinja2 import Template, TemplateError

from .errors import ChatTemplateError, InvalidArgument
from .template_meter import LimitExceeded, metered
from .template_sandbox import LimitedEnvironment

Message = Mapping[str, str]
_Result = TypeVar("_Result")

MESSAGE_KEYS = ("role", "content", "tools")
MAX_SOURCE = 1 << 17  # characters of a template
MAX_DATE_FORMAT = 64
MAX_JSON_SPACE = 16
MAX_PROBLEM = 500  # characters; the template may have chosen them
BUDGET = 1 << 18  # steps and letters
BUDGET_PER_LETTER = 64  # more, for each letter of the messages


class _RaisedError(Exception):
    """The template called raise_exception."""


class ChatTemplate:
    """A model's chat template, compiled.

    Parameters
    ----------
    source
        jinja2 source.
    bos, eos
        Texts of the tokens that begin and end a text.
    file
        Where the source came from, for error messages.

    Raises
    ------
    ChatTemplateError
        If the source is no template, or is too long.
    """

    def __init__(
        self,
        source: str,
        bos: str = "",
        eos: str = "",
        file: str | os.PathLike[str] | None = None,
    ) -> None:
        self.source = source
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self._file = file
        self._template = self._guarded(BUDGET, lambda: _compile(source))

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """Write out a conversation.

        Parameters
        ----------
        messages
            Each with the strings ``role`` (``"system"``, ``"user"``, ``"assistant"``) and
            ``content``; Phi-4-mini's system message may also have ``tools``, functions as JSON.
        add_generation_prompt
            Whether to end with what begins the model's answer.

        Raises
        ------
        InvalidArgument
            If a message is not of this form.
        ChatTemplateError
            If the template refuses the messages, fails, reaches for what it may not have, or
            takes too many steps.
        """
        checked = [_checked_message(message, index) for index, message in enumerate(messages)]
        letters = sum(len(text) for message in checked for text in message.values())
        return self._guarded(
            BUDGET + BUDGET_PER_LETTER * letters,
            lambda: self._template.render(
                messages=checked,
                add_generation_prompt=add_generation_prompt,
                tools=None,
                documents=None,
                **self._tokens,
            ),
        )

    def _guarded(self, budget: int, action: Callable[[], _Result]) -> _Result:
        """Do what runs a template's code; whatever it raises is the template's fault."""
        try:
            with metered(budget):
                return action()
        except _RaisedError as error:
            problem = f"the template refuses the messages: {error}"
        except LimitExceeded as error:
            problem = f"the template {error}"
        except RecursionError:
            problem = "the template nests or calls itself too deeply"
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            problem = f"{type(error).__name__}: {error}" + (f" in line {line}" if line else "")
        except Exception as error:  # noqa: BLE001  (a template may raise anything)
            problem = f"the template fails: {type(error).__name__}: {error}"
        raise self._error(problem)

    def _error(self, problem: str) -> ChatTemplateError:
        if len(problem) > MAX_PROBLEM:
            problem = problem[: MAX_PROBLEM - 3] + "..."
        return ChatTemplateError(problem, file=self._file, field="chat_template")


def _compile(source: str) -> Template:
    if len(source) > MAX_SOURCE:
        raise LimitExceeded(f"is longer than {MAX_SOURCE} characters")
    environment = LimitedEnvironment()
    environment.globals |= {"raise_exception": _raise, "strftime_now": _strftime_now}
    environment.add_filter("tojson", _to_json)
    return environment.compile_limited(source)


def _checked_message(message: Any, index: int) -> dict[str, str]:
    field = f"messages[{index}]"
    if not isinstance(message, Mapping):
        raise InvalidArgument("is no mapping with role and content", field=field, value=message)
    for key in ("role", "content"):
        if not isinstance(message.get(key), str):
            raise InvalidArgument(
                "must be a string", field=f"{field}.{key}", value=message.get(key)
            )
    for key, value in message.items():
        if key not in MESSAGE_KEYS:
            raise InvalidArgument("is not supported", field=f"{field}.{key}", value=value)
        if not isinstance(value, str):
            raise InvalidArgument("must be a string", field=f"{field}.{key}", value=value)
    # Exact strings: a subclass could bring methods along.
    return {key: str.__str__(message[key]) for key in MESSAGE_KEYS if key in message}


def _raise(message: Any = "") -> None:
    raise _RaisedError(message)


def _strftime_now(format: str) -> str:
    if len(format) > MAX_DATE_FORMAT:
        raise LimitExceeded("formats a date too long")
    return datetime.now().strftime(format)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    """JSON as `transformers` offers it: without escapes for HTML."""
    separators = None if separators is None else tuple(map(str, separators))
    if int(indent or 0) > MAX_JSON_SPACE or any(len(s) > MAX_JSON_SPACE for s in separators or ()):
        raise LimitExceeded("spaces JSON too far")
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=None if indent is None else int(indent),
        separators=separators,
        sort_keys=sort_keys,
    )
