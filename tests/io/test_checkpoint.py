"""Opening checkpoint directories: one file or shards, and every way in which they can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phigguf.errors import CheckpointError, FileMissing, SafetensorsError, UnsupportedError
from phigguf.io.checkpoint import open_checkpoint
from safetensors_bytes import write_tensors

CONFIG = {"architectures": ["Phi3ForCausalLM"], "vocab_size": 300, "hidden_size": 8}


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture
def single(tmp_path: Path) -> Path:
    write_json(tmp_path / "config.json", CONFIG)
    write_tensors(tmp_path / "model.safetensors", "a", "b")
    return tmp_path


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    write_json(tmp_path / "config.json", CONFIG)
    write_tensors(tmp_path / "model-00001-of-00002.safetensors", "a", "b")
    write_tensors(tmp_path / "model-00002-of-00002.safetensors", "c")
    write_index(tmp_path, {})
    return tmp_path


def write_index(directory: Path, changes: dict[str, Any]) -> None:
    first, second = (f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
    weight_map = {"a": first, "b": first, "c": second} | changes
    write_json(
        directory / "model.safetensors.index.json",
        {"metadata": {"total_size": 24}, "weight_map": weight_map},
    )


def test_single_file(single: Path) -> None:
    write_json(single / "generation_config.json", {"eos_token_id": [2, 7]})
    checkpoint = open_checkpoint(single)
    assert checkpoint.architecture == "Phi3ForCausalLM"
    assert checkpoint.config == CONFIG
    assert checkpoint.generation_config == {"eos_token_id": [2, 7]}
    assert checkpoint.tokenizer_config == {}
    assert checkpoint.chat_template is None
    assert list(checkpoint.tensors) == ["a", "b"]


def test_shards_are_joined(sharded: Path) -> None:
    checkpoint = open_checkpoint(str(sharded))
    assert sorted(checkpoint.tensors) == ["a", "b", "c"]
    assert checkpoint.tensors["c"].shape == (2,)


def test_linked_shards_are_followed(
    sharded: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The Hugging Face cache holds links to files that lie elsewhere under other names."""
    blob = tmp_path_factory.mktemp("blobs") / "0123abcd"
    shard = sharded / "model-00002-of-00002.safetensors"
    shard.rename(blob)
    shard.symlink_to(blob)
    assert "c" in open_checkpoint(sharded).tensors


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{", None),
        ("[]", None),
        ("\ufeff{}", None),
        ("[" * 100_000, None),
        ('{"a": 1, "a": 2}', "a"),
        ('{"a": "\\ud800"}', None),
        ("{}", "architectures"),
        ('{"architectures": null}', "architectures"),
        ('{"architectures": []}', "architectures"),
        ('{"architectures": "Phi3ForCausalLM"}', "architectures"),
        ('{"architectures": [3]}', "architectures[0]"),
    ],
)
def test_malformed_config_names_file_and_field(single: Path, text: str, field: str | None) -> None:
    path = single / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(single)
    assert caught.value.file == str(path)
    assert caught.value.field == field


def test_config_that_is_not_utf8(single: Path) -> None:
    (single / "config.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(CheckpointError, match="UTF-8"):
        open_checkpoint(single)


@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer_config.json"])
def test_malformed_optional_file_is_not_ignored(single: Path, name: str) -> None:
    (single / name).write_text("{")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(single)
    assert caught.value.file == str(single / name)


def test_missing_config_directory_and_weights(single: Path) -> None:
    (single / "model.safetensors").unlink()
    with pytest.raises(FileMissing, match="no weights"):
        open_checkpoint(single)
    (single / "config.json").unlink()
    with pytest.raises(FileMissing, match=r"config\.json"):
        open_checkpoint(single)
    with pytest.raises(FileMissing, match="no such checkpoint"):
        open_checkpoint(single / "absent")


def test_file_in_place_of_directory(single: Path) -> None:
    with pytest.raises(FileMissing, match="not a directory"):
        open_checkpoint(single / "model.safetensors")


def test_quantized_checkpoint_is_refused_by_name(single: Path) -> None:
    config = CONFIG | {"quantization_config": {"quant_method": "gptq"}}
    write_json(single / "config.json", config)
    with pytest.raises(UnsupportedError, match="gptq") as caught:
        open_checkpoint(single)
    assert caught.value.field == "quantization_config"


@pytest.mark.parametrize(
    "name",
    ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"],
)
def test_pickled_weights_are_refused(single: Path, name: str) -> None:
    (single / "model.safetensors").rename(single / name)
    with pytest.raises(UnsupportedError, match="save_pretrained"):
        open_checkpoint(single)


def test_both_a_single_file_and_an_index(sharded: Path) -> None:
    write_tensors(sharded / "model.safetensors", "a")
    with pytest.raises(CheckpointError, match="both"):
        open_checkpoint(sharded)


def test_shards_without_index(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    index.unlink()
    with pytest.raises(FileMissing) as caught:
        open_checkpoint(sharded)
    assert caught.value.file == str(index)


@pytest.mark.parametrize(
    "shard",
    [
        "../model.safetensors",
        "sub/model.safetensors",
        "/etc/model.safetensors",
        "..\\model.safetensors",
        "C:model.safetensors",
        "model\0.safetensors",
        "..",
        "",
        "model.bin",
        7,
        None,
    ],
)
def test_shard_names_cannot_leave_the_directory(sharded: Path, shard: object) -> None:
    write_tensors(sharded.parent / "model.safetensors", "c")
    write_index(sharded, {"c": shard})
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(sharded)
    assert caught.value.file == str(sharded / "model.safetensors.index.json")
    assert caught.value.field == "weight_map.c"


@pytest.mark.parametrize(
    "text", ["{}", '{"weight_map": []}', '{"weight_map": {"a": "x", "a": "x"}}']
)
def test_malformed_index(sharded: Path, text: str) -> None:
    (sharded / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"index\.json"):
        open_checkpoint(sharded)


def test_missing_shard(sharded: Path) -> None:
    shard = sharded / "model-00002-of-00002.safetensors"
    shard.unlink()
    with pytest.raises(FileMissing) as caught:
        open_checkpoint(sharded)
    assert caught.value.file == str(shard)


def test_index_names_a_tensor_that_its_shard_lacks(sharded: Path) -> None:
    write_index(sharded, {"d": "model-00002-of-00002.safetensors"})
    with pytest.raises(CheckpointError, match="absent") as caught:
        open_checkpoint(sharded)
    assert caught.value.file == str(sharded / "model-00002-of-00002.safetensors")
    assert caught.value.field == "d"


def test_shard_holds_a_tensor_that_the_index_does_not_name(sharded: Path) -> None:
    write_tensors(sharded / "model-00002-of-00002.safetensors", "c", "b")
    with pytest.raises(CheckpointError, match="does not list") as caught:
        open_checkpoint(sharded)
    assert caught.value.field == "b"


def test_malformed_shard(sharded: Path) -> None:
    (sharded / "model-00001-of-00002.safetensors").write_bytes(b"\0" * 7)
    with pytest.raises(SafetensorsError):
        open_checkpoint(sharded)
