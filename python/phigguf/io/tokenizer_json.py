"""tokenizer.json, the file of the `tokenizers` library, read as a GGUF vocabulary.

Two kinds of BPE have a counterpart in GGUF. Byte-level BPE (GPT-2's) keeps its ranked list of
merges. SentencePiece's kind is stored in GGUF as one score per piece, so its merges have to be
exactly those that scores imply: every way to split a piece into two others, and one piece's
merges after another's. What `transformers` makes of a tokenizer.model is so; others are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ..errors import CheckpointError, TokenizerError, UnsupportedError
from .added_tokens import from_tokenizer_json
from .json_file import typed
from .pieces import BYTE_PIECE, SPACE, Piece, PieceType, SpacePrefix, TrainedVocabulary
from .word_split import CL100K, O200K

Merge = tuple[str, str]

_PRE_NAMES = {CL100K: "dbrx", O200K: "gpt-4o"}
_PRE_NAME_OF_GPT2_SPLIT = "phi-2"


def parse_tokenizer_json(tokenizer: dict[str, Any], path: Path) -> TrainedVocabulary:
    """Read the vocabulary of a parsed tokenizer.json.

    Parameters
    ----------
    tokenizer
        The JSON object.
    path
        Where it came from, for error messages.

    Raises
    ------
    CheckpointError
        A field is missing or not of its type.
    TokenizerError
        Ids repeat, or a merge uses a piece that is not in the vocabulary.
    UnsupportedError
        The tokenizer works in a way that GGUF cannot say.
    """
    model = typed(tokenizer.get("model"), dict, file=path, field="model")
    if model.get("type", "BPE") != "BPE":
        raise _unsupported("only BPE can become a GGUF vocabulary", path, "model.type", model)
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
        if model.get(option):
            raise _unsupported("GGUF has no such option", path, f"model.{option}", model)
    ids = _read_ids(model, path)
    merges = _read_merges(model, ids, path)
    steps = _pre_tokenizer_steps(tokenizer, path)
    if any(step.get("type") == "ByteLevel" for step in steps):
        return _byte_level(tokenizer, steps, ids, merges, path)
    return _sentencepiece(tokenizer, steps, ids, merges, path)


def _unsupported(problem: str, path: Path, field: str, owner: dict[str, Any]) -> UnsupportedError:
    value = owner.get(field.rpartition(".")[2])
    return UnsupportedError(problem, file=path, field=field, value=value)


def _read_ids(model: dict[str, Any], path: Path) -> dict[str, int]:
    ids = typed(model.get("vocab"), dict, file=path, field="model.vocab")
    for text, token in ids.items():
        if type(token) is not int:
            typed(token, int, file=path, field=f"model.vocab.{text}")
    if len(set(ids.values())) != len(ids):
        raise TokenizerError("two pieces have the same id", file=path, field="model.vocab")
    return ids


def _read_merges(model: dict[str, Any], ids: dict[str, int], path: Path) -> list[Merge]:
    """Merges in order; older files join each pair with a space."""
    merges: list[Merge] = []
    for entry in typed(model.get("merges"), list, file=path, field="model.merges"):
        pair = _pair(entry)
        if pair is None:
            field = f"model.merges[{len(merges)}]"
            raise CheckpointError("is not a pair of pieces", file=path, field=field, value=entry)
        left, right = pair
        if left not in ids or right not in ids or left + right not in ids:
            field = f"model.merges[{len(merges)}]"
            raise TokenizerError("is not in the vocabulary", file=path, field=field, value=entry)
        merges.append(pair)
    return merges


def _pair(entry: object) -> Merge | None:
    parts = entry.split(" ") if isinstance(entry, str) else entry
    if isinstance(parts, list) and len(parts) == 2:
        left, right = parts
        if isinstance(left, str) and isinstance(right, str):
            return left, right
    return None


def _steps(owner: dict[str, Any], name: str, plural: str, path: Path) -> list[dict[str, Any]]:
    """A processing stage as a list of steps: absent, one step, or a Sequence of them."""
    stage = owner.get(name)
    if stage is None:
        return []
    stage = typed(stage, dict, file=path, field=name)
    steps = stage.get(plural) if stage.get("type") == "Sequence" else [stage]
    steps = typed(steps, list, file=path, field=f"{name}.{plural}")
    return [typed(step, dict, file=path, field=name) for step in steps]


def _pre_tokenizer_steps(tokenizer: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    return _steps(tokenizer, "pre_tokenizer", "pretokenizers", path)


def _normalizer_steps(tokenizer: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    return _steps(tokenizer, "normalizer", "normalizers", path)


# --- Byte-level BPE ---


def _byte_level(
    tokenizer: dict[str, Any],
    steps: list[dict[str, Any]],
    ids: dict[str, int],
    merges: list[Merge],
    path: Path,
) -> TrainedVocabulary:
    for step in _normalizer_steps(tokenizer, path):
        raise _unsupported("GGUF has no such normalizer", path, "normalizer.type", step)
    return TrainedVocabulary(
        model="gpt2",
        pre=_pre_tokenizer_name(steps, path),
        pieces={token: Piece(text) for text, token in ids.items()},
        merges=[f"{left} {right}" for left, right in merges],
    )


def _pre_tokenizer_name(steps: list[dict[str, Any]], path: Path) -> str:
    """GGUF's name of the way in which text is split into words."""
    *splits, byte_level = steps
    field = "pre_tokenizer"
    if byte_level.get("type") != "ByteLevel" or byte_level.get("add_prefix_space"):
        raise _unsupported("unknown way to split text", path, f"{field}.type", byte_level)
    if not splits and byte_level.get("use_regex", True):
        return _PRE_NAME_OF_GPT2_SPLIT
    if len(splits) == 1 and not byte_level.get("use_regex", True):
        pattern = splits[0].get("pattern")
        expression = pattern.get("Regex") if isinstance(pattern, dict) else None
        keeps_matches = (splits[0].get("behavior"), bool(splits[0].get("invert"))) in (
            ("Isolated", False),
            ("Removed", True),
        )
        if isinstance(expression, str) and expression in _PRE_NAMES and keeps_matches:
            return _PRE_NAMES[expression]
    raise UnsupportedError("unknown way to split text", file=path, field=field, value=splits)


# --- SentencePiece's BPE ---


def _sentencepiece(
    tokenizer: dict[str, Any],
    steps: list[dict[str, Any]],
    ids: dict[str, int],
    merges: list[Merge],
    path: Path,
) -> TrainedVocabulary:
    model = tokenizer["model"]
    unknown = model.get("unk_token")
    if unknown is not None:
        typed(unknown, str, file=path, field="model.unk_token")
    space_prefix = _space_prefix(_normalizer_steps(tokenizer, path), steps, path)
    added = {token.id for token in from_tokenizer_json(tokenizer, path)}
    types = {text: _piece_type(text, unknown, model) for text in ids}
    plain = {
        text for text, kind in types.items() if kind is PieceType.NORMAL and ids[text] not in added
    }
    scores = _scores_from_merges(ids, plain, merges, path)
    return TrainedVocabulary(
        model="llama",
        pre="default",
        pieces={
            token: Piece(text, scores.get(text, 0.0), types[text]) for text, token in ids.items()
        },
        special_ids={"unk": ids[unknown]} if unknown in ids else {},
        space_prefix=space_prefix,
        added_by_default={"bos": False, "eos": False},
    )


def _piece_type(text: str, unknown: str | None, model: dict[str, Any]) -> PieceType:
    if text == unknown:
        return PieceType.UNKNOWN
    if model.get("byte_fallback") and BYTE_PIECE.fullmatch(text):
        return PieceType.BYTE
    return PieceType.NORMAL


def _space_prefix(
    normalizer: list[dict[str, Any]], pre_tokenizer: list[dict[str, Any]], path: Path
) -> SpacePrefix:
    """Check that spaces become U+2581 and nothing else is done; tell where one is put in front."""
    prefix: SpacePrefix = "never"
    replaces = False
    for step in normalizer:
        if step == {"type": "Prepend", "prepend": SPACE}:
            prefix = "always"
        elif step == {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}:
            replaces = True
        else:
            raise _unsupported("GGUF has no such normalizer", path, "normalizer.type", step)
    for step in pre_tokenizer:
        if step.get("type") != "Metaspace" or step.get("replacement") != SPACE:
            raise _unsupported("unknown way to split text", path, "pre_tokenizer.type", step)
        prefix = _metaspace_prefix(step, path)
        replaces = True
    if not replaces:
        raise UnsupportedError(
            "is neither byte-level nor SentencePiece's kind of BPE", file=path, field="normalizer"
        )
    return prefix


def _metaspace_prefix(step: dict[str, Any], path: Path) -> SpacePrefix:
    scheme = step.get("prepend_scheme", "always")
    if scheme in ("always", "first", "never"):
        return cast(SpacePrefix, scheme)
    raise _unsupported("unknown prefix", path, "pre_tokenizer.prepend_scheme", step)


def _scores_from_merges(
    ids: dict[str, int], plain: set[str], merges: list[Merge], path: Path
) -> dict[str, float]:
    """Scores that rank pieces as the merges do: merged pieces first, then the rest by id."""
    splits: dict[str, set[Merge]] = {}
    last = ""
    for rank, merge in enumerate(merges):
        merged = "".join(merge)
        if merged in splits and merged != last:
            raise _not_by_scores(merge, path, f"model.merges[{rank}]")
        splits.setdefault(merged, set()).add(merge)
        last = merged
    for text in plain:
        for merge in _possible_splits(text, plain):
            if merge not in splits.get(text, ()):
                raise _not_by_scores(merge, path, "model.merges")
    unmerged = sorted(plain - splits.keys(), key=ids.__getitem__)
    return {text: float(-rank) for rank, text in enumerate([*splits, *unmerged])}


def _possible_splits(text: str, pieces: set[str]) -> Iterator[Merge]:
    for cut in range(1, len(text)):
        if text[:cut] in pieces and text[cut:] in pieces:
            yield text[:cut], text[cut:]


def _not_by_scores(merge: Merge, path: Path, field: str) -> UnsupportedError:
    return UnsupportedError(
        "merges are not those of a SentencePiece model, so that scores cannot rank them; "
        "a tokenizer.model beside this file would say what is meant",
        file=path,
        field=field,
        value=merge,
    )
