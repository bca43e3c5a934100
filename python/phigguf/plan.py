"""Apply a recipe to a model: the planned type of every tensor, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .errors import GGUFError, InvalidArgument, ShapeError, UnsupportedError
from .recipes import FALLBACKS, LAST_FALLBACK, Place, Recipe, Role
from .types import TensorType, tensor_type

# The architectures whose special cases the recipes know. Others have some of their own in
# llama.cpp, and guessing would not give its types.
ARCHITECTURES = ("phi2", "phi3", "phimoe")

_ROLE_OF_PART = {
    "attn_qkv.weight": Role.ATTENTION_VALUE,
    "attn_v.weight": Role.ATTENTION_VALUE,
    "attn_output.weight": Role.ATTENTION_OUTPUT,
    "ffn_down": Role.FFN_DOWN,
}
_LAYER = re.compile(r"blk\.(\d+)\.")


@dataclass(frozen=True)
class PlanTensor:
    """A tensor before and after planning.

    Attributes
    ----------
    name
        As in the GGUF file.
    shape
        Slowest dimension first.
    type
        The type it has; in a plan's result, the type it gets.
    wanted
        In a plan's result, the type that its row width did not fit, if it fell back.
    needs_imatrix
        In a plan's result, whether its type is useless without an importance matrix.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    wanted: TensorType | None = None
    needs_imatrix: bool = False


@dataclass(frozen=True)
class Geometry:
    """The hyper-parameters that decide between tensor types.

    Attributes
    ----------
    architecture
        GGUF's name of it, as in ``"phi3"``.
    layers, heads, kv_heads
        How many there are.
    experts
        How many feed-forward experts each layer has; 0 in a dense model.
    """

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    experts: int = 0

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], file: str) -> Geometry:
        """Read the geometry from a GGUF file's metadata.

        Raises
        ------
        GGUFError
            A key is missing or is no count.
        """
        architecture = metadata.get("general.architecture")
        if not isinstance(architecture, str):
            raise GGUFError("needs a text", file=file, field="general.architecture")

        def count(key: str, default: int | None = None) -> int:
            value = metadata.get(f"{architecture}.{key}", default)
            if not isinstance(value, int) or value < 0:
                raise GGUFError(
                    "needs a count", file=file, field=f"{architecture}.{key}", value=value
                )
            return value

        heads = count("attention.head_count")
        return cls(
            architecture=architecture,
            layers=count("block_count"),
            heads=heads,
            kv_heads=count("attention.head_count_kv", heads),
            experts=count("expert_count", 0),
        )


Overrides = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Choices:
    """What a caller changes about a recipe.

    Attributes
    ----------
    overrides
        Regular expressions with the type of the tensors whose name they match anywhere; the
        first match decides.
    output_type, embedding_type
        Types of the output weight and of the token embedding. A tensor that is both follows
        ``embedding_type`` first.
    pure
        Give every weight the recipe's default type.
    allow_fallback
        Let a tensor whose rows do not fit a type's block take a type that they fit.
    """

    overrides: tuple[tuple[re.Pattern[str], TensorType], ...] = ()
    output_type: TensorType | None = None
    embedding_type: TensorType | None = None
    pure: bool = False
    allow_fallback: bool = False

    @classmethod
    def from_names(
        cls,
        *,
        overrides: Overrides | None = None,
        output_type: str | None = None,
        embedding_type: str | None = None,
        pure: bool = False,
        allow_fallback: bool = False,
    ) -> Choices:
        """Check what a caller passed: patterns compile, types exist and can be computed.

        Raises
        ------
        InvalidArgument
            A pattern is no regular expression.
        UnsupportedError
            A type is unknown, or phigguf cannot quantize to it.
        """
        pairs = overrides.items() if isinstance(overrides, Mapping) else overrides or ()
        return cls(
            overrides=tuple(
                (_pattern(pattern), _writable(name, "overrides")) for pattern, name in pairs
            ),
            output_type=_writable(output_type, "output_type") if output_type else None,
            embedding_type=_writable(embedding_type, "embedding_type") if embedding_type else None,
            pure=pure,
            allow_fallback=allow_fallback,
        )


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidArgument(
            f"not a regular expression: {error}", field="overrides", value=text
        ) from error


def _writable(name: str, argument: str) -> TensorType:
    found = tensor_type(name.upper())
    if not found.native:
        raise UnsupportedError("cannot quantize to this type", field=argument, value=name)
    return found


def layout_order(name: str) -> tuple[int, str]:
    """Sort key of the order in which tensors are written: outside layers first, then by layer."""
    layer = _LAYER.match(name)
    return (int(layer[1]) if layer else -1, name)


def is_quantizable(name: str, shape: Sequence[int]) -> bool:
    """Whether a recipe may change a tensor's type: weight matrices, but no norms or routers."""
    return (
        any(size > 1 for size in shape[:-1])
        and name.endswith("weight")
        and not name.endswith("_norm.weight")
        and "ffn_gate_inp.weight" not in name
    )


def plan(
    recipe: Recipe,
    tensors: Iterable[PlanTensor],
    geometry: Geometry,
    *,
    has_imatrix: bool = False,
    choices: Choices | None = None,
) -> list[PlanTensor]:
    """Choose the type of every tensor of a model.

    Parameters
    ----------
    recipe
        The mixture to follow.
    tensors
        Every tensor of the model, in any order.
    geometry
        The model's hyper-parameters.
    has_imatrix
        Whether an importance matrix will guide the quantization: it changes some choices.
    choices
        What the caller changes about the recipe.

    Returns
    -------
    list of PlanTensor
        The tensors in `layout_order`, each with its new type. For a recipe without changes these
        are the types that llama.cpp's quantizer chooses.

    Raises
    ------
    UnsupportedError
        The recipes do not know the architecture.
    ShapeError
        A row does not fit its type's block, and falling back is not allowed.
    InvalidArgument
        An override matches no tensor that could take it.
    """
    if geometry.architecture not in ARCHITECTURES:
        raise UnsupportedError(
            f"recipes are known for {', '.join(ARCHITECTURES)}",
            field="general.architecture",
            value=geometry.architecture,
        )
    ordered = sorted(tensors, key=lambda tensor: layout_order(tensor.name))
    choices = choices or Choices()
    _check_overrides_match(choices, ordered)
    planner = _Planner(recipe, ordered, geometry, has_imatrix, choices)
    return [planner.planned(tensor) for tensor in ordered]


def _check_overrides_match(choices: Choices, tensors: Sequence[PlanTensor]) -> None:
    names = [tensor.name for tensor in tensors if is_quantizable(tensor.name, tensor.shape)]
    for pattern, _ in choices.overrides:
        if not any(pattern.search(name) for name in names):
            raise InvalidArgument(
                "matches no tensor that can be quantized", field="overrides", value=pattern.pattern
            )


class _Planner:
    """A recipe at work: counts the tensors of each role as it passes them, as llama.cpp does."""

    def __init__(
        self,
        recipe: Recipe,
        tensors: Sequence[PlanTensor],
        geometry: Geometry,
        has_imatrix: bool,
        choices: Choices,
    ) -> None:
        self.recipe = recipe
        self.geometry = geometry
        self.has_imatrix = has_imatrix
        self.choices = choices
        roles = [_role(tensor.name) for tensor in tensors]
        self.tied = Role.OUTPUT not in roles
        self.counts = {
            Role.ATTENTION_VALUE: roles.count(Role.ATTENTION_VALUE),
            Role.ATTENTION_OUTPUT: geometry.layers,
            Role.FFN_DOWN: geometry.layers,
        }
        self.passed = dict.fromkeys(self.counts, 0)

    def planned(self, tensor: PlanTensor) -> PlanTensor:
        if not is_quantizable(tensor.name, tensor.shape):
            return tensor
        role = _role(tensor.name)
        wanted = self._asked_for(tensor, role)
        if wanted is None:
            wanted = self.recipe.default_type if self.choices.pure else self._ruled(tensor, role)
        fitting = self._fitting(tensor, wanted)
        return replace(
            tensor,
            type=fitting,
            wanted=None if fitting == wanted else wanted,
            needs_imatrix=role not in (Role.EMBEDDING, Role.OUTPUT)
            and fitting.name in self.recipe.needs_imatrix,
        )

    def _asked_for(self, tensor: PlanTensor, role: Role) -> TensorType | None:
        """Return the type that the caller asked for by argument, if any."""
        if role is Role.EMBEDDING and self.choices.embedding_type:
            return self.choices.embedding_type
        if role is Role.OUTPUT and self.choices.output_type:
            return self.choices.output_type
        for pattern, override in self.choices.overrides:
            if pattern.search(tensor.name):
                return override
        return self.choices.output_type if self._is_head(role) else None

    def _ruled(self, tensor: PlanTensor, role: Role) -> TensorType:
        """Return the type that the recipe gives."""
        default = self.recipe.default_type
        if self._is_head(role):
            fits = tensor.shape[-1] % default.block_width == 0
            return tensor_type(self.recipe.head_type if fits else "Q8_0")
        if role not in self.counts:
            return default
        place = self._next_place(tensor, role)
        rules = self.recipe.rules.get(role, ())
        return next((tensor_type(name) for holds, name in rules if holds(place)), default)

    def _next_place(self, tensor: PlanTensor, role: Role) -> Place:
        index = self.passed[role]
        self.passed[role] += 1
        layer = _LAYER.match(tensor.name)
        if role is Role.FFN_DOWN and self.geometry.experts > 1 and layer:
            index = int(layer[1])
        return Place(
            index=index,
            count=self.counts[role],
            heads_per_kv=self.geometry.heads // max(self.geometry.kv_heads, 1),
            has_imatrix=self.has_imatrix,
        )

    def _is_head(self, role: Role) -> bool:
        return role is Role.OUTPUT or (self.tied and role is Role.EMBEDDING)

    def _fitting(self, tensor: PlanTensor, wanted: TensorType) -> TensorType:
        """Return the type if rows fit its block, else what it falls back to."""
        cols = tensor.shape[-1]
        if cols % wanted.block_width == 0:
            return wanted
        if not self.choices.allow_fallback:
            raise ShapeError(
                f"rows do not fit {wanted.name}'s blocks of {wanted.block_width}; "
                "allow a fallback or choose another type",
                field=tensor.name,
                value=tensor.shape,
            )
        fallback = tensor_type(FALLBACKS.get(wanted.name, LAST_FALLBACK))
        return fallback if cols % fallback.block_width == 0 else tensor_type(LAST_FALLBACK)


def _role(name: str) -> Role:
    if name == "output.weight":
        return Role.OUTPUT
    if name == "token_embd.weight":
        return Role.EMBEDDING
    return next((role for part, role in _ROLE_OF_PART.items() if part in name), Role.OTHER)
