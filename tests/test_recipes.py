"""Types that recipes give: equal to llama.cpp's, and what callers may change about them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gguf
import pytest

from phigguf.errors import GGUFError, InvalidArgument, ShapeError, UnsupportedError
from phigguf.io.checkpoint import Checkpoint
from phigguf.models.conversion import TensorSource
from phigguf.models.conversions import conversion_of
from phigguf.plan import Choices, Geometry, PlanTensor, is_quantizable, layout_order, plan
from phigguf.recipes import RECIPES, STOCK_RECIPES, Recipe, find_recipe
from phigguf.types import tensor_type
from small_models import GEOMETRIES, OTHERS, OVERRIDDEN, OVERRIDES, config_of

GOLDEN = json.loads(Path(__file__).with_name("golden").joinpath("recipes.json").read_text())
VARIANTS = [
    (name, has_imatrix)
    for name, recipe in STOCK_RECIPES.items()
    for has_imatrix in (False, True)
    if has_imatrix or not recipe.needs_imatrix
]
DENSE = Geometry("phi3", layers=2, heads=4, kv_heads=4)


def weights(*names: str, shape: tuple[int, ...] = (512, 256)) -> list[PlanTensor]:
    return [PlanTensor(f"{name}.weight", shape, tensor_type("F32")) for name in names]


MODEL = weights("token_embd", "output", "blk.0.attn_qkv", "blk.0.ffn_down", "blk.0.ffn_up")
TIED = weights("token_embd", "blk.0.ffn_up")


def chosen(tensors: Iterable[PlanTensor], recipe: str, **options: Any) -> dict[str, str]:
    """Return the planned types by tensor name without its ending."""
    planned = plan(find_recipe(recipe), tensors, DENSE, choices=Choices.from_names(**options))
    return {tensor.name.removesuffix(".weight"): tensor.type.name for tensor in planned}


@pytest.mark.parametrize(("name", "has_imatrix"), VARIANTS)
@pytest.mark.parametrize("case", [*GEOMETRIES, *OTHERS])
def test_types_equal_llama_cpps(case: str, name: str, has_imatrix: bool) -> None:
    recorded = GOLDEN["types"][case]
    expected = recorded.get(f"{name} with imatrix") if has_imatrix else None
    planned = plan_case(case, name, has_imatrix, Choices())
    assert runs_by_kind(planned) == (expected or recorded[name])


@pytest.mark.parametrize("name", GOLDEN["types with overrides"])
def test_types_with_overrides_equal_llama_cpps(name: str) -> None:
    choices = Choices.from_names(overrides=OVERRIDES)
    planned = plan_case(OVERRIDDEN, name, True, choices)
    assert runs_by_kind(planned) == GOLDEN["types with overrides"][name]


def plan_case(case: str, name: str, has_imatrix: bool, choices: Choices) -> list[PlanTensor]:
    fields = config_of(case)
    conversion = conversion_of(Checkpoint(Path(), fields, {}, {}, fields["architectures"][0], {}))
    return plan(
        RECIPES[name],
        [
            PlanTensor(name, stacked(source), tensor_type("F32"))
            for name, source in conversion.tensors.items()
        ],
        Geometry.from_metadata(
            {
                "general.architecture": conversion.architecture,
                **{key: entry.value for key, entry in conversion.metadata.items()},
            },
            case,
        ),
        has_imatrix=has_imatrix,
        choices=choices,
    )


def stacked(source: TensorSource) -> tuple[int, ...]:
    return source.shape if len(source.parts) == 1 else (len(source.parts), *source.shape)


def runs_by_kind(planned: Iterable[PlanTensor]) -> dict[str, str]:
    """Write types as the golden file does: ``{"ffn_down": "1xQ6_K 2xQ4_K"}``."""
    kinds: dict[str, list[str]] = {}
    for tensor in planned:
        if is_quantizable(tensor.name, tensor.shape):
            kinds.setdefault(tensor.name.split(".")[-2], []).append(tensor.type.name)
        else:
            assert tensor.type.name == "F32"
    return {
        kind: " ".join(f"{len(list(run))}x{name}" for name, run in itertools.groupby(types))
        for kind, types in kinds.items()
    }


@pytest.mark.parametrize("recipe", STOCK_RECIPES.values(), ids=STOCK_RECIPES)
def test_file_types_are_ggufs(recipe: Recipe) -> None:
    names = {f"MOSTLY_{recipe.name}", f"ALL_{recipe.name}"}
    assert gguf.LlamaFileType(recipe.file_type).name in names


@pytest.mark.parametrize(
    ("asked", "found"), [("q4_k_m", "Q4_K_M"), ("Q4_K", "Q4_K_M"), ("q3_k", "Q3_K_M")]
)
def test_names_in_any_case_and_llama_cpps_aliases(asked: str, found: str) -> None:
    assert find_recipe(asked).name == found


def test_unknown_recipe() -> None:
    with pytest.raises(UnsupportedError, match=r"type: unknown recipe.*Q4_K_M.*'Q4_K_X'"):
        find_recipe("Q4_K_X")


# --- Our own ---


@pytest.mark.parametrize("layers", [1, 4, 32])
def test_down8_is_q4_k_m_with_ffn_down_at_8_bits(layers: int) -> None:
    names = [
        f"blk.{i}.{kind}" for i in range(layers) for kind in ("attn_qkv", "ffn_down", "ffn_up")
    ]
    tensors = weights("token_embd", *names)
    geometry = Geometry("phi3", layers, 24, 8)
    stock = plan(RECIPES["Q4_K_M"], tensors, geometry)
    ours = plan(RECIPES["Q4_K_M_DOWN8"], tensors, geometry)
    for theirs, tensor in zip(stock, ours, strict=True):
        expected = "Q8_0" if "ffn_down" in tensor.name else theirs.type.name
        assert tensor.type.name == expected, tensor.name


# --- What callers change ---


def test_first_matching_override_decides() -> None:
    types = chosen(
        MODEL, "Q4_K_M", overrides=[(r"blk\.0\.ffn", "Q8_0"), ("ffn_down|output", "F16")]
    )
    assert types == {
        "output": "F16",
        "token_embd": "Q4_K",
        "blk.0.attn_qkv": "Q6_K",
        "blk.0.ffn_down": "Q8_0",
        "blk.0.ffn_up": "Q8_0",
    }


def test_overrides_may_be_a_mapping_and_apply_to_float_recipes() -> None:
    assert chosen(TIED, "BF16", overrides={"ffn_up": "q8_0"}) == {
        "token_embd": "BF16",
        "blk.0.ffn_up": "Q8_0",
    }


def test_an_overridden_tensor_does_not_count_as_one_of_its_role() -> None:
    # As in llama.cpp: the second ffn_down becomes the first that the recipe sees.
    tensors = weights("output", *(f"blk.{layer}.ffn_down" for layer in range(8)))
    geometry = Geometry("phi3", layers=8, heads=4, kv_heads=4)

    def types(**options: Any) -> list[str]:
        choices = Choices.from_names(**options)
        planned = plan(RECIPES["Q4_K_S"], tensors, geometry, choices=choices)
        return [tensor.type.name for tensor in planned[1:]]

    assert types() == ["Q5_K"] + 7 * ["Q4_K"]
    assert types(overrides={"blk.0": "Q8_0"}) == ["Q8_0", "Q5_K"] + 6 * ["Q4_K"]


@pytest.mark.parametrize(
    ("options", "embedding", "output"),
    [
        ({}, "Q4_K", "Q6_K"),
        ({"output_type": "Q8_0"}, "Q4_K", "Q8_0"),
        ({"embedding_type": "Q8_0"}, "Q8_0", "Q6_K"),
        ({"output_type": "F16", "overrides": {"output": "Q8_0"}}, "Q4_K", "F16"),
        ({"pure": True}, "Q4_K", "Q4_K"),
        ({"pure": True, "output_type": "F16"}, "Q4_K", "F16"),
    ],
)
def test_embedding_and_output(options: dict[str, Any], embedding: str, output: str) -> None:
    types = chosen(MODEL, "Q4_K_M", **options)
    assert (types["token_embd"], types["output"]) == (embedding, output)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "Q6_K"),
        ({"output_type": "Q8_0"}, "Q8_0"),
        ({"output_type": "Q8_0", "embedding_type": "F16"}, "F16"),
        ({"output_type": "Q8_0", "overrides": {"token_embd": "Q5_0"}}, "Q5_0"),
    ],
)
def test_tied_embedding_is_the_output_too(options: dict[str, Any], expected: str) -> None:
    assert chosen(TIED, "Q4_K_M", **options)["token_embd"] == expected


def test_pure_gives_every_weight_the_default() -> None:
    assert set(chosen(MODEL, "Q2_K", pure=True).values()) == {"Q2_K"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"overrides": {"attn_q[": "Q8_0"}},
            InvalidArgument,
            r"overrides: not a regular expression",
        ),
        ({"overrides": {"attn_k": "Q8_0"}}, InvalidArgument, r"overrides: matches no.*'attn_k'"),
        ({"overrides": {"_norm": "Q8_0"}}, InvalidArgument, r"overrides: matches no.*'_norm'"),
        ({"overrides": {"ffn": "Q9_0"}}, UnsupportedError, r"unknown tensor type.*'Q9_0'"),
        ({"output_type": "IQ4_XS"}, UnsupportedError, r"output_type: cannot quantize.*'IQ4_XS'"),
        ({"embedding_type": "nope"}, UnsupportedError, r"unknown tensor type.*'NOPE'"),
    ],
)
def test_bad_choices(options: dict[str, Any], error: type[Exception], message: str) -> None:
    tensors = [*MODEL, *weights("output_norm", shape=(256,))]
    with pytest.raises(error, match=message):
        chosen(tensors, "Q4_K_M", **options)


# --- Rows that do not fit ---


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"blk\.0\.ffn_up\.weight: rows do not fit Q4_K.*96\)"):
        chosen(weights("output", "blk.0.ffn_up", shape=(8, 96)), "Q4_K_M", output_type="F16")


# llama.cpp's table (src/llama-quant.cpp, tensor_type_fallback).
@pytest.mark.parametrize(
    ("recipe", "cols", "expected"),
    [
        ("Q2_K", 96, "Q4_0"),
        ("Q3_K_S", 96, "Q4_0"),
        ("Q4_K_S", 96, "Q5_0"),
        ("Q5_K_S", 96, "Q5_1"),
        ("Q6_K", 96, "Q8_0"),
        ("Q6_K", 100, "F16"),
        ("Q8_0", 100, "F16"),
        ("Q4_0", 100, "F16"),
        ("F32", 100, "F32"),
    ],
)
def test_fallbacks(recipe: str, cols: int, expected: str) -> None:
    tensors = weights("output", "blk.0.ffn_up", shape=(8, cols))
    planned = plan(find_recipe(recipe), tensors, DENSE, choices=Choices(allow_fallback=True))
    default = find_recipe(recipe).default
    assert planned[1].type.name == expected
    assert (planned[1].wanted and planned[1].wanted.name) == (
        None if expected == default else default
    )


def test_output_that_does_not_fit_becomes_q8_0() -> None:
    tensors = weights("output", "blk.0.ffn_up", shape=(8, 96))
    assert chosen(tensors, "Q4_K_M", allow_fallback=True)["output"] == "Q8_0"


# --- What is not quantized, order, geometry ---


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("blk.0.ffn_up.weight", (8, 8), True),
        ("blk.0.ffn_up_exps.weight", (4, 8, 8), True),
        ("blk.0.ffn_up.weight", (1, 8), False),
        ("blk.0.attn_norm.weight", (8,), False),
        ("blk.0.attn_norm.weight", (8, 8), False),
        ("blk.0.attn_qkv.bias", (8, 8), False),
        ("blk.0.ffn_gate_inp.weight", (4, 8), False),
    ],
)
def test_only_weight_matrices_change(name: str, shape: tuple[int, ...], expected: bool) -> None:
    assert is_quantizable(name, shape) is expected


def test_layout_is_by_layer_number() -> None:
    names = ["blk.10.a", "output.weight", "blk.9.b", "blk.10.A", "token_embd.weight"]
    assert sorted(names, key=layout_order) == [
        "output.weight",
        "token_embd.weight",
        "blk.9.b",
        "blk.10.A",
        "blk.10.a",
    ]


def test_expert_weights_follow_their_layers_number() -> None:
    # Only layer 3 of 8 is given, so counting tensors would take it for layer 0.
    tensors = weights("output", "blk.3.ffn_down_exps")
    geometry = Geometry("phimoe", layers=8, heads=4, kv_heads=4, experts=16)
    assert plan(RECIPES["Q4_K_S"], tensors, geometry)[1].type.name == "Q4_K"


def test_q2_k_s_needs_an_importance_matrix_but_not_for_the_head() -> None:
    planned = plan(RECIPES["Q2_K_S"], weights("token_embd", "output", "blk.0.ffn_up"), DENSE)
    assert {tensor.name: tensor.needs_imatrix for tensor in planned} == {
        "output.weight": False,
        "token_embd.weight": False,
        "blk.0.ffn_up.weight": True,
    }


def test_unknown_architecture() -> None:
    with pytest.raises(UnsupportedError, match=r"general\.architecture.*phi3.*'falcon'"):
        plan(RECIPES["Q4_K_M"], MODEL, Geometry("falcon", 2, 4, 4))


METADATA = {
    "general.architecture": "phi3",
    "phi3.block_count": 2,
    "phi3.attention.head_count": 8,
}


def test_geometry_defaults() -> None:
    assert Geometry.from_metadata(METADATA, "file") == Geometry("phi3", 2, 8, 8, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"general.architecture": None}, "general.architecture"),
        ({"phi3.block_count": -1}, r"phi3\.block_count: needs a count \(got -1\)"),
        ({"phi3.attention.head_count": "8"}, r"phi3\.attention\.head_count: needs a count"),
    ],
)
def test_geometry_is_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(GGUFError, match=message):
        Geometry.from_metadata({**METADATA, **change}, "file")
