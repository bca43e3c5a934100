"""Which type each tensor gets: llama.cpp's quantization recipes as a table, and one of our own.

A recipe is a default type and, for the few kinds of tensor that hurt most when squeezed, rules
tried in order. The choices are those of llama.cpp's quantizer for the Phi architectures, whose
fused query-key-value tensor counts as the value projection that it contains. `plan` applies a
recipe to a model.

Our own, ``Q4_K_M_DOWN8``, is Q4_K_M with every ``ffn_down`` at 8 bits. Phi-4-mini needs it: at 4
bits throughout it falls into repeating itself, and those tensors are what cures it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from .errors import UnsupportedError
from .types import TensorType, tensor_type


class Role(Enum):
    """The kinds of weight that recipes tell apart."""

    EMBEDDING = auto()
    OUTPUT = auto()
    ATTENTION_VALUE = auto()
    ATTENTION_OUTPUT = auto()
    FFN_DOWN = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Place:
    """Where a tensor stands in its model, as far as rules ask.

    Attributes
    ----------
    index, count
        The tensor is the ``index``-th of ``count`` with its role.
    heads_per_kv
        Query heads that share one key-value head.
    has_imatrix
        Whether an importance matrix guides the quantization.
    """

    index: int
    count: int
    heads_per_kv: int
    has_imatrix: bool


Condition = Callable[[Place], bool]
Rules = tuple[tuple[Condition, str], ...]


def always(place: Place) -> bool:
    """Hold everywhere."""
    return True


def sensitive_layer(place: Place) -> bool:
    """Hold in the first and the last eighth of the layers, and in every third between them."""
    eighth = place.count // 8
    outer = place.index < eighth or place.index >= 7 * place.count // 8
    return outer or (place.index - eighth) % 3 == 2


def shared_kv_heads(place: Place) -> bool:
    """Hold where four or more query heads share a key-value head, so that it is small."""
    return place.heads_per_kv >= 4


def among_first(count: int) -> Condition:
    """Hold for the first ``count`` tensors of a role."""
    return lambda place: place.index < count


def in_first_part(parts: int) -> Condition:
    """Hold in the first of ``parts`` equal runs of layers."""
    return lambda place: place.index < place.count // parts


def guided_in_first_part(parts: int) -> Condition:
    """As `in_first_part`, and only with an importance matrix."""
    return lambda place: place.has_imatrix and place.index < place.count // parts


@dataclass(frozen=True)
class Recipe:
    """A named mixture of tensor types.

    Attributes
    ----------
    name
        As in ``Q4_K_M``.
    file_type
        The number that stands for the recipe under ``general.file_type``.
    default
        The type of every weight that no rule covers.
    rules
        For a role, pairs of condition and type; the first condition that holds decides.
    needs_imatrix
        Types that this recipe refuses to use without an importance matrix.
    is_stock
        Whether llama.cpp has it. GGUF has no file type for other recipes: their files have that of
        the stock one which most of their weights follow, and the recipe's name beside it.
    """

    name: str
    file_type: int
    default: str
    rules: Mapping[Role, Rules] = field(default_factory=dict)
    needs_imatrix: frozenset[str] = frozenset()
    is_stock: bool = True

    @property
    def default_type(self) -> TensorType:
        """The type of every weight that no rule covers."""
        return tensor_type(self.default)

    @property
    def head_type(self) -> str:
        """The type of the output weight, or of the embedding where both are one tensor."""
        return self.default if self.default in ("F32", "F16", "BF16", "Q8_0") else "Q6_K"


_TABLE = (
    Recipe("F32", 0, "F32"),
    Recipe("F16", 1, "F16"),
    Recipe("BF16", 32, "BF16"),
    Recipe("Q8_0", 7, "Q8_0"),
    Recipe("Q4_0", 2, "Q4_0", {Role.FFN_DOWN: ((guided_in_first_part(8), "Q4_1"),)}),
    Recipe("Q4_1", 3, "Q4_1"),
    Recipe("Q5_0", 8, "Q5_0", {Role.FFN_DOWN: ((guided_in_first_part(8), "Q5_1"),)}),
    Recipe("Q5_1", 9, "Q5_1"),
    Recipe(
        "Q2_K",
        10,
        "Q2_K",
        {
            Role.ATTENTION_VALUE: ((shared_kv_heads, "Q4_K"), (always, "Q3_K")),
            Role.ATTENTION_OUTPUT: ((always, "Q3_K"),),
            Role.FFN_DOWN: ((always, "Q3_K"),),
        },
    ),
    Recipe(
        "Q2_K_S",
        21,
        "Q2_K",
        {
            Role.ATTENTION_VALUE: ((shared_kv_heads, "Q4_K"),),
            Role.FFN_DOWN: ((in_first_part(8), "Q4_K"),),
        },
        needs_imatrix=frozenset({"Q2_K"}),
    ),
    Recipe("Q3_K_S", 11, "Q3_K"),
    Recipe(
        "Q3_K_M",
        12,
        "Q3_K",
        {
            Role.ATTENTION_VALUE: ((among_first(2), "Q5_K"), (always, "Q4_K")),
            Role.ATTENTION_OUTPUT: ((always, "Q4_K"),),
            Role.FFN_DOWN: ((in_first_part(16), "Q5_K"), (always, "Q4_K")),
        },
    ),
    Recipe(
        "Q3_K_L",
        13,
        "Q3_K",
        {
            Role.ATTENTION_VALUE: ((always, "Q5_K"),),
            Role.ATTENTION_OUTPUT: ((always, "Q5_K"),),
            Role.FFN_DOWN: ((always, "Q5_K"),),
        },
    ),
    Recipe(
        "Q4_K_S",
        14,
        "Q4_K",
        {
            Role.ATTENTION_VALUE: ((among_first(4), "Q5_K"),),
            Role.FFN_DOWN: ((in_first_part(8), "Q5_K"),),
        },
    ),
    Recipe(
        "Q4_K_M",
        15,
        "Q4_K",
        {
            Role.ATTENTION_VALUE: ((sensitive_layer, "Q6_K"),),
            Role.FFN_DOWN: ((sensitive_layer, "Q6_K"),),
        },
    ),
    Recipe("Q5_K_S", 16, "Q5_K"),
    Recipe(
        "Q5_K_M",
        17,
        "Q5_K",
        {
            Role.ATTENTION_VALUE: ((sensitive_layer, "Q6_K"),),
            Role.FFN_DOWN: ((sensitive_layer, "Q6_K"),),
        },
    ),
    Recipe("Q6_K", 18, "Q6_K"),
    Recipe(
        "Q4_K_M_DOWN8",
        15,
        "Q4_K",
        {
            Role.ATTENTION_VALUE: ((sensitive_layer, "Q6_K"),),
            Role.FFN_DOWN: ((always, "Q8_0"),),
        },
        is_stock=False,
    ),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _TABLE}
STOCK_RECIPES = {name: recipe for name, recipe in RECIPES.items() if recipe.is_stock}

# A k-quant's bare name means its usual mixture, as it does for llama.cpp.
ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}

# What a type gives way to, where a caller allows it, when its block does not divide the row.
FALLBACKS = {
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
LAST_FALLBACK = "F16"


def find_recipe(name: str) -> Recipe:
    """Look a recipe up by name, in any case: ``"Q4_K_M"`` or ``"q4_k_m"``.

    Raises
    ------
    UnsupportedError
        There is no such recipe.
    """
    upper = name.upper()
    found = RECIPES.get(ALIASES.get(upper, upper))
    if found is None:
        known = ", ".join(RECIPES)
        raise UnsupportedError(f"unknown recipe; known are {known}", field="type", value=name)
    return found
