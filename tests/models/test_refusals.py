"""A configuration that cannot be honoured is refused: the message names file, field and value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from make_synthetic_checkpoint import Geometry, write_checkpoint

import phigguf
from conversion_cases import change_json
from phigguf.errors import CheckpointError, Error, UnsupportedError
from phigguf.io.gguf import read_gguf
from tiny_checkpoints import write_tiny_checkpoint

Config = dict[str, Any]


def phi3(directory: Path, **changes: Any) -> Path:
    write_checkpoint(directory, Geometry(512, 64, 64, 1, 2, 2), dtype="F32")
    change_json(directory / "config.json", changes)
    return directory


def phi2(directory: Path, **changes: Any) -> Path:
    return write_tiny_checkpoint(directory, "phi2", **changes)


def phimoe(directory: Path, **changes: Any) -> Path:
    return write_tiny_checkpoint(directory, "phimoe", **changes)


ALL = (phi2, phi3, phimoe)
FACTORS = {"short_factor": [1.0] * 16, "long_factor": [2.0] * 16}

# Field, value, and a word of the reason.
EVERYWHERE: list[tuple[str, Any, str]] = [
    ("hidden_act", "relu2", "unknown activation"),
    ("quantization_config", "awq", "already quantized"),
    ("compression_config", {"format": "pack-quantized"}, "already quantized"),
    ("vision_config", {"image_size": 336}, "images are not supported"),
    ("img_processor", {"name": "clip_vision_model"}, "images are not supported"),
    ("vision_lora", {"r": 256}, "images are not supported"),
    ("audio_config", {"layers": 24}, "speech is not supported"),
    ("audio_processor", {"name": "cascades"}, "speech is not supported"),
    ("speech_lora", {"r": 320}, "speech is not supported"),
    ("norm_type", "layernorm_1p", "norms other than"),
    ("layer_types", ["full_attention", "sliding_attention"], "different kinds"),
    ("qk_layernorm", True, "not supported for this architecture"),
    ("head_dim", 80, "only heads of hidden_size"),
]
PHI3_ONLY: list[tuple[str, Any, str]] = [
    ("attention_bias", True, "not supported for this architecture"),
    ("mlp_bias", True, "not supported for this architecture"),
    ("lm_head_bias", True, "not supported for this architecture"),
    ("layer_norm_eps", 1e-5, "only RMS norms"),
    ("layer_norm_epsilon", 1e-5, "only RMS norms"),
]
PHIMOE_ONLY: list[tuple[str, Any, str]] = [
    ("attention_bias", False, "only True"),
    ("lm_head_bias", False, "only True"),
    ("tie_word_embeddings", True, "only False"),
    ("num_experts_per_tok", 3, "only 2"),
    ("router_jitter_noise", 0.1, "only 0.01"),
    ("mlp_bias", True, "not supported for this architecture"),
    ("partial_rotary_factor", 0.5, "only whole heads"),
]


def assert_refused(
    directory: Path, error: type[Error], field: str, value: Any, problem: str
) -> None:
    with pytest.raises(error, match=problem) as caught:
        phigguf.convert(directory, directory / "model.gguf", progress=False)
    assert type(caught.value) is error
    assert (caught.value.file, caught.value.field) == (str(directory / "config.json"), field)
    assert caught.value.value == value
    assert not (directory / "model.gguf").exists()


@pytest.mark.parametrize(("field", "value", "problem"), EVERYWHERE)
@pytest.mark.parametrize("checkpoint", ALL)
def test_setting_that_no_architecture_has(
    checkpoint: Callable[..., Path], field: str, value: Any, problem: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path, **{field: value})
    assert_refused(tmp_path, UnsupportedError, field, value, problem)


@pytest.mark.parametrize(
    ("checkpoint", "field", "value", "problem"),
    [
        *((phi3, *case) for case in PHI3_ONLY),
        *((phimoe, *case) for case in PHIMOE_ONLY),
        (phi2, "rms_norm_eps", 1e-5, "only layer norms"),
    ],
)
def test_setting_that_an_architecture_has_not(
    checkpoint: Callable[..., Path], field: str, value: Any, problem: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path, **{field: value})
    assert_refused(tmp_path, UnsupportedError, field, value, problem)


@pytest.mark.parametrize(
    ("architecture", "problem"),
    [
        ("Phi3VForCausalLM", "Phi-3-vision's images are not supported"),
        ("Phi4MMForCausalLM", "Phi-4-multimodal's images and speech are not supported"),
        ("Phi4MultimodalForCausalLM", "Phi-4-multimodal's images and speech are not supported"),
        ("Phi3SmallForCausalLM", "Phi-3-small's block-sparse attention is not supported"),
        ("Phi4FlashForCausalLM", "Phi-4-mini-flash's state-space layers are not supported"),
        ("LlamaForCausalLM", "unknown architecture; known are PhiForCausalLM, Phi3ForCausalLM"),
    ],
)
def test_model_without_a_gguf_architecture(architecture: str, problem: str, tmp_path: Path) -> None:
    phi3(tmp_path, architectures=[architecture])
    assert_refused(tmp_path, UnsupportedError, "architectures[0]", architecture, problem)


# --- Rotary embeddings, in both layouts ---


def old_layout(kind: str, **settings: Any) -> Config:
    return {"rope_scaling": {"type": kind, **settings}}


def new_layout(kind: str, **settings: Any) -> Config:
    return {"rope_scaling": None, "rope_parameters": {"rope_type": kind, **settings}}


@pytest.mark.parametrize("kind", ["linear", "dynamic", "llama3", "proportional"])
@pytest.mark.parametrize("checkpoint", ALL)
def test_unknown_rotary_embedding(
    checkpoint: Callable[..., Path], kind: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path / "old", **old_layout(kind, factor=2.0))
    checkpoint(tmp_path / "new", **new_layout(kind, factor=2.0))
    problem = "unknown rotary embedding"
    assert_refused(tmp_path / "old", UnsupportedError, "rope_scaling.type", kind, problem)
    assert_refused(tmp_path / "new", UnsupportedError, "rope_parameters.rope_type", kind, problem)


@pytest.mark.parametrize("kind", ["su", "yarn"])
def test_phi3s_old_names_of_longrope_are_not_phimoes(kind: str, tmp_path: Path) -> None:
    """To `transformers` "yarn" is YaRN there, and "su" is nothing."""
    phimoe(tmp_path, **old_layout(kind, factor=2.0, **FACTORS))
    problem = "unknown rotary embedding"
    assert_refused(tmp_path, UnsupportedError, "rope_scaling.type", kind, problem)


@pytest.mark.parametrize("fraction", [1.5, 0.01, 0.1])
@pytest.mark.parametrize("checkpoint", [phi2, phi3])
def test_rotated_part_that_is_none(
    checkpoint: Callable[..., Path], fraction: float, tmp_path: Path
) -> None:
    key = "partial_rotary_factor"
    checkpoint(tmp_path / "old", **{key: fraction})
    checkpoint(tmp_path / "new", **{key: None}, **new_layout("default", **{key: fraction}))
    assert_refused(tmp_path / "old", CheckpointError, key, fraction, "gives .* dimensions")
    field = f"rope_parameters.{key}"
    assert_refused(tmp_path / "new", CheckpointError, field, fraction, "gives .* dimensions")


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        (
            {"rope_theta": 1e4, **new_layout("default", rope_theta=2e4)},
            "rope_parameters.rope_theta",
            2e4,
        ),
        (
            {"partial_rotary_factor": 1.0}
            | new_layout("default", partial_rotary_factor=0.75, rope_theta=1e4),
            "rope_parameters.partial_rotary_factor",
            0.75,
        ),
        (
            {"original_max_position_embeddings": 4096}
            | old_layout("longrope", original_max_position_embeddings=2048, **FACTORS),
            "rope_scaling.original_max_position_embeddings",
            2048,
        ),
        (
            {"rope_parameters": {"rope_type": "default"}, **old_layout("longrope", **FACTORS)},
            "rope_parameters",
            {"rope_type": "default"},
        ),
    ],
)
def test_two_layouts_that_contradict_each_other(
    changes: Config, field: str, value: Any, tmp_path: Path
) -> None:
    phi3(tmp_path, **changes)
    assert_refused(tmp_path, CheckpointError, field, value, "differs from")


def test_both_layouts_give_one_file(tmp_path: Path) -> None:
    settings = {**FACTORS, "original_max_position_embeddings": 4096}
    longer = {"max_position_embeddings": 8192}
    model = phi3(tmp_path, **longer, **old_layout("longrope", **settings))
    phigguf.convert(model, tmp_path / "old.gguf", progress=False)
    new = new_layout("longrope", rope_theta=10000.0, partial_rotary_factor=1.0, **settings)
    change_json(tmp_path / "config.json", {"rope_theta": None, **new})
    phigguf.convert(model, tmp_path / "new.gguf", progress=False)
    with read_gguf(tmp_path / "new.gguf") as file:
        assert "rope_factors_long.weight" in file.tensors
    assert (tmp_path / "new.gguf").read_bytes() == (tmp_path / "old.gguf").read_bytes()


# --- What is not refused ---


@pytest.mark.parametrize("checkpoint", ALL)
def test_dropout_is_for_training_and_changes_nothing(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    checkpoint(tmp_path)
    phigguf.convert(tmp_path, tmp_path / "without.gguf", progress=False)
    dropouts = dict.fromkeys(("attention_dropout", "resid_pdrop", "embd_pdrop"), 0.1)
    change_json(tmp_path / "config.json", dropouts)
    phigguf.convert(tmp_path, tmp_path / "with.gguf", progress=False)
    assert (tmp_path / "with.gguf").read_bytes() == (tmp_path / "without.gguf").read_bytes()


@pytest.mark.parametrize("checkpoint", [phi2, phi3])
def test_untied_model_needs_an_output_weight(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    checkpoint(tmp_path, tie_word_embeddings=True)  # the phi2 case leaves lm_head.weight out
    change_json(tmp_path / "config.json", {"tie_word_embeddings": False})
    if checkpoint is phi3:
        write_checkpoint(tmp_path, Geometry(512, 64, 64, 1, 2, 2, tie_word_embeddings=True))
        change_json(tmp_path / "config.json", {"tie_word_embeddings": False})
    with pytest.raises(CheckpointError, match="the tensor is missing") as caught:
        phigguf.convert(tmp_path, tmp_path / "model.gguf", progress=False)
    assert caught.value.field == "lm_head.weight"
