"""What `inspect` says about a file, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gguf_bytes import (
    ARRAY,
    F32,
    FLOAT32,
    INT32,
    Q4_0,
    STRING,
    UINT32,
    array,
    entry,
    float32,
    gguf_file,
    tensor,
    text,
    uint32,
)
from phigguf import inspection
from phigguf.io.gguf import GGUFFile, read_gguf

IQ4_NL = 20


@pytest.fixture
def file(tmp_path: Path) -> Iterator[GGUFFile]:
    path = tmp_path / "model.gguf"
    path.write_bytes(
        gguf_file(
            [
                entry("general.name", STRING, text("Größe\x1b[2J")),
                entry("phi3.block_count", UINT32, uint32(32)),
                entry("broken", FLOAT32, float32(float("nan"))),
                entry("tokens", ARRAY, array(STRING, 5, b"".join(map(text, "abcde")))),
                entry("ids", ARRAY, array(INT32, 2, uint32(1) + uint32(2))),
            ],
            [
                tensor("norm\x1b", [8]),
                tensor("a", [64, 3], Q4_0, 32),
                tensor("b", [32, 2, 2], IQ4_NL, 160),
                tensor("c", [32], Q4_0, 256),
            ],
            bytes(288),
        )
    )
    with read_gguf(path) as file:
        yield file


def test_json(file: GGUFFile) -> None:
    facts = inspection.to_dict(file)
    path = str(file.path)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts == {
        "file": path,
        "shards": [path],
        "version": 3,
        "alignment": 32,
        "metadata": {
            "general.name": "Größe\x1b[2J",
            "phi3.block_count": 32,
            "broken": "nan",
            "tokens": {"length": 5},
            "ids": {"length": 2},
        },
        "metadata_types": {
            "general.name": "string",
            "phi3.block_count": "uint32",
            "broken": "float32",
            "tokens": "array[string]",
            "ids": "array[int32]",
        },
        "tensors": [
            {"name": name, "shape": shape, "type": kind, "bytes": size, "file": path, "offset": at}
            for name, shape, kind, size, at in [
                ("norm\x1b", [8], "F32", 32, file.tensors["norm\x1b"].offset),
                ("a", [3, 64], "Q4_0", 108, file.tensors["a"].offset),
                ("b", [2, 2, 32], "IQ4_NL", 72, file.tensors["b"].offset),
                ("c", [32], "Q4_0", 18, file.tensors["c"].offset),
            ]
        ],
        "types": {
            "Q4_0": {"tensors": 2, "weights": 224, "bytes": 126, "native": True},
            "IQ4_NL": {"tensors": 1, "weights": 128, "bytes": 72, "native": False},
            "F32": {"tensors": 1, "weights": 8, "bytes": 32, "native": True},
        },
    }


def test_json_with_arrays_in_full(file: GGUFFile) -> None:
    metadata = inspection.to_dict(file, arrays=True)["metadata"]
    assert metadata["tokens"] == list("abcde")
    assert metadata["ids"] == [1, 2]
    json.dumps(metadata)


def test_text(file: GGUFFile) -> None:
    assert inspection.to_text(file).splitlines() == [
        f"{file.path}: GGUF version 3, alignment 32",
        "",
        "key               type           value",
        "general.name      string         Gr\\xf6\\xdfe\\x1b[2J",
        "phi3.block_count  uint32         32",
        "broken            float32        nan",
        "tokens            array[string]  5 x [a, b, c, d, ...]",
        "ids               array[int32]   2 x [1, 2]",
        "",
        "tensor    shape       type    bytes",
        "norm\\x1b  8           F32        32",
        "a         3 x 64      Q4_0      108",
        "b         2 x 2 x 32  IQ4_NL     72",
        "c         32          Q4_0       18",
        "",
        "type    tensors  weights  bytes  bits per weight",
        "Q4_0          2      224    126              4.5",
        "IQ4_NL        1      128     72              4.5  phigguf cannot compute with it",
        "F32           1        8     32               32",
        "",
        "4 tensors, 360 weights, 230 bytes, 5.11 bits per weight",
    ]


def test_text_of_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    path.write_bytes(gguf_file())
    with read_gguf(path) as file:
        assert inspection.to_text(file).endswith("\n0 tensors, 0 weights, 0 bytes")
        assert inspection.to_dict(file)["types"] == {}


def test_a_split_model_says_how_many_files(tmp_path: Path) -> None:
    for index in range(2):
        keys = {"split.no": index, "split.count": 2, "split.tensors.count": 2}
        (tmp_path / f"m-{index + 1:05d}-of-00002.gguf").write_bytes(
            gguf_file(
                [entry(key, UINT32, uint32(value)) for key, value in keys.items()],
                [tensor(f"t{index}", [8], F32)],
                bytes(32),
            )
        )
    with read_gguf(tmp_path / "m-00002-of-00002.gguf") as file:
        assert inspection.to_text(file).splitlines()[0].endswith("alignment 32, in 2 files")
        facts = inspection.to_dict(file)
    assert [Path(path).name for path in facts["shards"]] == [
        "m-00001-of-00002.gguf",
        "m-00002-of-00002.gguf",
    ]
    assert [item["file"] for item in facts["tensors"]] == facts["shards"]
