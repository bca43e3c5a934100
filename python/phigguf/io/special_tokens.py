"""Which tokens begin, end, pad and separate text, and which of them are added to a prompt.

The answers are scattered over tokenizer.json (its post-processor), tokenizer_config.json and
config.json. The order of precedence is that of llama.cpp's converter, so that GGUF keys agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import TokenizerError, UnsupportedError
from .json_file import typed

KINDS = ("bos", "eos", "unk", "sep", "pad", "mask")  # those for which GGUF has a key


@dataclass
class SpecialTokens:
    """Special tokens by kind (``"bos"``, ``"eos"``, ``"unk"``, ``"sep"``, ``"pad"``, ...).

    Attributes
    ----------
    ids
        Token id of each kind that the checkpoint names.
    added
        Whether the tokenizer adds a token of that kind to a prompt, where the checkpoint says so.
    """

    ids: dict[str, int] = field(default_factory=dict)
    added: dict[str, bool] = field(default_factory=dict)


def read_special_tokens(
    directory: Path,
    config: dict[str, Any],
    tokenizer: dict[str, Any],
    tokenizer_config: dict[str, Any],
    added_ids: dict[str, int],
    n_vocab: int,
) -> SpecialTokens:
    """Collect the special tokens of a checkpoint.

    Parameters
    ----------
    directory
        The checkpoint, for error messages.
    config, tokenizer, tokenizer_config
        ``config.json``, ``tokenizer.json`` and ``tokenizer_config.json``; the last two may be
        empty.
    added_ids
        Id of each of ``tokenizer.json``'s added tokens, by text.
    n_vocab
        Number of tokens; every id has to be below it.

    Raises
    ------
    TokenizerError
        An id is outside the vocabulary.
    CheckpointError
        A field is not of its type.
    UnsupportedError
        The post-processor does something that GGUF cannot say.
    """
    names = {kind: _token_text(tokenizer_config.get(f"{kind}_token")) for kind in (*KINDS, "cls")}
    tokenizer_path = directory / "tokenizer.json"
    names["bos"] = names["bos"] or names["cls"]
    names["eos"] = names["eos"] or names["sep"]
    special = SpecialTokens()
    for processor in _post_processors(tokenizer, tokenizer_path):
        _apply_post_processor(processor, names, special, tokenizer_path)
    for kind in KINDS:
        flag = tokenizer_config.get(f"add_{kind}_token")
        if isinstance(flag, bool):
            special.added.setdefault(kind, flag)
    for kind in (*KINDS, "eot"):
        if (text := names.get(kind)) in added_ids:
            special.ids[kind] = added_ids[text]
    _take_ids_from_config(config, special)
    for kind, token in special.ids.items():
        if not 0 <= token < n_vocab:
            raise TokenizerError(
                f"token id is outside the vocabulary of {n_vocab}",
                file=directory,
                field=f"{kind}_token_id",
                value=token,
            )
    return special


def _token_text(value: Any) -> str | None:
    """The text of a token given as a string or as a serialized AddedToken."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def _post_processors(tokenizer: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    processor = tokenizer.get("post_processor")
    if processor is None:
        return []
    where = "post_processor"
    processor = typed(processor, dict, file=path, field=where)
    steps = typed(processor.get("processors", [processor]), list, file=path, field=where)
    return [typed(step, dict, file=path, field=where) for step in steps]


def _apply_post_processor(
    processor: dict[str, Any], names: dict[str, str | None], special: SpecialTokens, path: Path
) -> None:
    kind = processor.get("type")
    if kind == "ByteLevel":
        special.added.setdefault("bos", False)
        special.added.setdefault("eos", False)
    elif kind == "TemplateProcessing":
        single = _template(processor, "single", path)
        first, last = _ends(single) if len(single) > 1 else (None, None)
        _apply_single_template(first, last, names, special)
        _apply_pair_template(_template(processor, "pair", path), first, last, names, special)
    else:
        raise UnsupportedError(
            "unknown post-processor", file=path, field="post_processor.type", value=kind
        )


@dataclass(frozen=True)
class _Item:
    """One item of a template: a special token's text, or the name of a sequence (A or B)."""

    special: str | None
    sequence: str | None


def _template(processor: dict[str, Any], name: str, path: Path) -> list[_Item]:
    where = f"post_processor.{name}"
    items = typed(processor.get(name, []), list, file=path, field=where)
    return [_template_item(typed(item, dict, file=path, field=where)) for item in items]


def _template_item(item: dict[str, Any]) -> _Item:
    def named(kind: str) -> str | None:
        value = item.get(kind)
        name = value.get("id") if isinstance(value, dict) else None
        return name if isinstance(name, str) else None

    return _Item(named("SpecialToken"), named("Sequence"))


def _ends(items: list[_Item]) -> tuple[str | None, str | None]:
    return items[0].special, items[-1].special


def _apply_single_template(
    first: str | None, last: str | None, names: dict[str, str | None], special: SpecialTokens
) -> None:
    """A special token before or after the text is the one that begins or ends it."""
    if first:
        known = (names["bos"], names["cls"])
        special.added["bos"] = first in known or None in known
        names["bos"] = names["bos"] or first
    if last:
        if last != names["eos"]:
            names["eot"], names["eos"] = names["eos"], last
        special.added["eos"] = True


def _apply_pair_template(
    pair: list[_Item],
    first: str | None,
    last: str | None,
    names: dict[str, str | None],
    special: SpecialTokens,
) -> None:
    """Between two texts, a separator or a second end-of-text may stand."""
    start = 1 if first and pair and pair[0].special == first else 0
    stop = len(pair) - 1 if last and pair and pair[-1].special == last else len(pair)
    body = pair[start:stop]
    if len(body) < 3 or body[0].sequence != "A" or body[-1].sequence != "B":
        return
    separators = {names["sep"], names["eos"]} - {None}
    between = [item.special for item in body[1:-1]]
    add = between[0] in separators and not last
    add = add or (len(between) == 2 and between[1] in separators)
    special.added["sep"] = add
    if add and names["sep"] is None:
        names["sep"] = names["eos"]


def _take_ids_from_config(config: dict[str, Any], special: SpecialTokens) -> None:
    for kind in KINDS:
        token = config.get(f"{kind}_token_id")
        if isinstance(token, list) and token:
            token = token[0]
        if isinstance(token, int) and not isinstance(token, bool):
            special.ids.setdefault(kind, token)
