"""The reader against files of the gguf package, and what it promises about its views."""

from __future__ import annotations

import gc
import mmap
import os
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest

from gguf_bytes import (
    ARRAY,
    F32,
    Q4_0,
    STRING,
    UINT8,
    UINT16,
    UINT32,
    array,
    entry,
    gguf_file,
    tensor,
    text,
    uint16,
    uint32,
)
from phigguf.errors import FileMissing, GGUFError, InvalidArgument
from phigguf.io.gguf import read_gguf
from phigguf.io.gguf_format import ArrayOf, GGUFValueType, MetadataValue

SCALARS = {
    "u8": (GGUFValueType.UINT8, 255),
    "i8": (GGUFValueType.INT8, -128),
    "u16": (GGUFValueType.UINT16, 65535),
    "i16": (GGUFValueType.INT16, -32768),
    "u32": (GGUFValueType.UINT32, 2**32 - 1),
    "i32": (GGUFValueType.INT32, -(2**31)),
    "u64": (GGUFValueType.UINT64, 2**64 - 1),
    "i64": (GGUFValueType.INT64, -(2**63)),
    "f32": (GGUFValueType.FLOAT32, float(np.float32(0.1))),
    "f64": (GGUFValueType.FLOAT64, 0.1),
    "yes": (GGUFValueType.BOOL, True),
    "no": (GGUFValueType.BOOL, False),
    "text": (GGUFValueType.STRING, "größer\n<|end|> \N{GRINNING FACE}\0"),
}
ARRAYS = {
    "tokens": (GGUFValueType.STRING, ["<s>", "", "▁the", "\0", "x" * 300]),
    "scores": (GGUFValueType.FLOAT32, [0.0, -1.5, 1e-30]),
    "types": (GGUFValueType.INT32, [1, -2, 3]),
    "flags": (GGUFValueType.BOOL, [True, False, True]),
    "wide": (GGUFValueType.UINT64, [2**64 - 1, 0]),
    "bytes": (GGUFValueType.UINT8, [0, 255]),
}


def write_with_gguf_package(path: Path, alignment: int | None = None) -> None:
    writer = gguf.GGUFWriter(path, "phi3")
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    for key, (kind, value) in SCALARS.items():
        writer.add_key_value(key, value, gguf.GGUFValueType(kind))
    for key, (kind, values) in ARRAYS.items():
        writer.add_key_value(
            key, values, gguf.GGUFValueType.ARRAY, sub_type=gguf.GGUFValueType(kind)
        )
    generator = np.random.default_rng(1)
    writer.add_tensor("one", generator.standard_normal(7).astype(np.float32))
    writer.add_tensor("two", generator.standard_normal((3, 5)).astype(np.float16))
    writer.add_tensor("four", generator.integers(-9, 9, (2, 3, 4, 5)).astype(np.int32))
    for kind in gguf.GGMLQuantizationType:
        if kind not in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q8_1):
            block_bytes = gguf.GGML_QUANT_SIZES[kind][1]
            blocks = generator.integers(0, 256, (3, 2 * block_bytes)).astype(np.uint8)
            writer.add_tensor(f"type.{kind.name}", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    write_with_gguf_package(path)
    return path


def test_metadata_of_every_type_keeps_value_type_and_order(model: Path) -> None:
    with read_gguf(model) as file:
        assert list(file.metadata) == ["general.architecture", *SCALARS, *ARRAYS]
        for key, (kind, value) in SCALARS.items():
            assert file.metadata[key] == value
            assert type(file.metadata[key]) is type(value)
            assert file.metadata_types[key] is kind
        for key, (kind, values) in ARRAYS.items():
            assert list(file.metadata[key]) == values or kind is GGUFValueType.FLOAT32
            assert file.metadata_types[key] == ArrayOf(kind)
        assert file.metadata["scores"].dtype == np.float32
        np.testing.assert_array_equal(file.metadata["scores"], np.float32([0.0, -1.5, 1e-30]))
        assert type(file.metadata["tokens"]) is list
        assert file.typed_metadata()["u16"] == MetadataValue(GGUFValueType.UINT16, 65535)


@pytest.mark.parametrize("alignment", [None, 1, 8, 64, 4096])
def test_agrees_with_the_reader_of_the_gguf_package(alignment: int | None, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_with_gguf_package(path, alignment)
    theirs = gguf.GGUFReader(path)
    with read_gguf(path) as ours:
        fields = {k: v for k, v in theirs.fields.items() if not k.startswith("GGUF.")}
        assert list(ours.metadata) == list(fields)
        for key, field in fields.items():
            value = ours.metadata[key]
            assert field.contents() == (value.tolist() if isinstance(value, np.ndarray) else value)
        assert ours.version == 3
        assert ours.alignment == theirs.alignment == (alignment or 32)
        assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
        for expected, found in zip(theirs.tensors, ours.tensors.values(), strict=True):
            assert found.shape == tuple(reversed(expected.shape.tolist()))
            assert found.type.name == expected.tensor_type.name
            assert found.offset == expected.data_offset
            assert found.nbytes == expected.n_bytes
            assert found.data.tobytes() == expected.data.tobytes()


def test_tensor_data_is_a_read_only_view_of_whole_rows(model: Path) -> None:
    with read_gguf(model) as file:
        assert file.tensors["one"].data.shape == (28,)
        assert file.tensors["four"].data.shape == (2, 3, 4, 20)
        assert file.tensors["type.Q4_K"].data.shape == (3, 288)
        assert file.tensors["type.Q4_K"].shape == (3, 512)
        bases = set()
        for info in file.tensors.values():
            assert info.data.dtype == np.uint8
            assert not info.data.flags.writeable
            assert not info.data.flags.owndata
            base = info.data
            while isinstance(base.base, np.ndarray):
                base = base.base
            bases.add(base.base)
        assert len(bases) == 1, "one mapping for all tensors"


def test_types_that_phigguf_does_not_compute_are_readable(model: Path) -> None:
    with read_gguf(model) as file:
        assert not file.tensors["type.IQ2_XS"].type.native
        assert file.tensors["type.Q4_0"].type.native


def test_version_2_and_an_empty_file_of_it(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_file(version=2, tensors=[tensor("a", [8])], data=bytes(range(32))))
    with read_gguf(path) as file:
        assert file.version == 2
        assert file.tensors["a"].data.tolist() == list(range(32))
    path.write_bytes(gguf_file(version=2))
    with read_gguf(str(path)) as file:
        assert (file.metadata, file.tensors) == ({}, {})


def test_the_shortest_entry_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_file([entry("k", UINT8, b"\7")], alignment=1))
    with read_gguf(path) as file:
        assert file.metadata == {"k": 7}


def test_empty_arrays_keep_their_type(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(
        gguf_file(
            [
                entry("texts", ARRAY, array(STRING, 0, b"")),
                entry("numbers", ARRAY, array(UINT16, 0, b"")),
            ]
        )
    )
    with read_gguf(path) as file:
        assert file.metadata["texts"] == []
        assert file.metadata["numbers"].dtype == np.uint16
        assert file.metadata_types == {
            "texts": ArrayOf(GGUFValueType.STRING),
            "numbers": ArrayOf(GGUFValueType.UINT16),
        }


def test_closing_keeps_arrays_that_were_taken_valid(model: Path) -> None:
    file = read_gguf(model)
    data = file.tensors["one"].data
    before = data.tobytes()
    file.close()
    file.close()
    with pytest.raises(InvalidArgument, match="closed"):
        file.tensors  # noqa: B018
    assert "closed" in repr(file)
    del file
    gc.collect()
    assert data.tobytes() == before


@pytest.mark.parametrize("name", ["absent.gguf", "absent/model.gguf", "nul\0.gguf"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileMissing) as caught:
        read_gguf(tmp_path / name)
    assert caught.value.file == str(tmp_path / name)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GGUFError, match="not a regular file"):
        read_gguf(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(GGUFError, match="not a regular file"):
        read_gguf(tmp_path / "pipe.gguf")


# --- split files ---


def shard(
    index: int | None, count: int | None, total: int | None, names: list[str], *extra: bytes
) -> bytes:
    keys = {"split.no": index, "split.count": count}
    metadata = [entry(k, UINT16, uint16(v)) for k, v in keys.items() if v is not None]
    if total is not None:
        metadata.append(entry("split.tensors.count", UINT32, uint32(total)))
    return gguf_file(
        [*extra, *metadata],
        [tensor(name, [8], offset=32 * place) for place, name in enumerate(names)],
        b"".join(bytes([ord(name[0])]) * 32 for name in names),
    )


def write_split(folder: Path, *shards: bytes) -> list[Path]:
    paths = [
        folder / f"m-{number:05d}-of-{len(shards):05d}.gguf" for number in range(1, len(shards) + 1)
    ]
    for path, content in zip(paths, shards, strict=True):
        path.write_bytes(content)
    return paths


@pytest.fixture
def split(tmp_path: Path) -> list[Path]:
    name = entry("general.name", STRING, text("three parts"))
    return write_split(
        tmp_path,
        shard(0, 3, 4, ["d", "b"], name),
        shard(1, 3, 4, ["a"]),
        shard(2, 3, 4, ["c"]),
    )


@pytest.mark.parametrize("given", [0, 1, 2])
def test_any_file_of_a_split_model_opens_all(given: int, split: list[Path]) -> None:
    with read_gguf(split[given]) as file:
        assert file.path == split[given]
        assert file.shards == split
        assert file.metadata == {"general.name": "three parts"}
        assert list(file.metadata_types) == ["general.name"]
        assert {name: info.data[0] for name, info in file.tensors.items()} == {
            name: ord(name) for name in "dbac"
        }
        assert [info.file for info in file.tensors.values()] == [split[i] for i in (0, 0, 1, 2)]


def test_split_files_of_the_gguf_package(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "phi3", split_max_tensors=2)
    arrays = {f"t{i}": np.arange(i, i + 9, dtype=np.float32) for i in range(5)}
    for name, values in arrays.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with read_gguf(tmp_path / "m-00002-of-00003.gguf") as file:
        assert len(file.shards) == 3
        assert list(file.tensors) == list(arrays)
        for name, values in arrays.items():
            np.testing.assert_array_equal(file.tensors[name].data.view(np.float32), values)


def test_a_model_split_into_one_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(shard(0, 1, 1, ["a"]))
    with read_gguf(path) as file:
        assert file.shards == [path]
        assert file.metadata == {}


def test_a_missing_part_is_named(split: list[Path]) -> None:
    split[1].unlink()
    with pytest.raises(FileMissing) as caught:
        read_gguf(split[0])
    assert caught.value.file == str(split[1])


@pytest.mark.parametrize(
    "name",
    [
        "model.gguf",
        "m-1-of-3.gguf",
        "m-00001-of-00004.gguf",
        "m-00000-of-00003.gguf",
        "m-00004-of-00003.gguf",
        "m-00001-of-00003.gguf.bak",
    ],
)
def test_a_part_under_another_name_is_refused(name: str, split: list[Path]) -> None:
    renamed = split[0].with_name(name)
    shutil.copy(split[0], renamed)
    with pytest.raises(GGUFError) as caught:
        read_gguf(renamed)
    assert (caught.value.field, caught.value.value) == ("split.count", name)


SPLIT_FAULTS = {
    "wrong number": ([(0, 2, 2, ["a"]), (0, 2, 2, ["b"])], 1, "split.no", 0),
    "swapped": ([(1, 2, 2, ["a"]), (0, 2, 2, ["b"])], 0, "split.no", 1),
    "no number": ([(0, 2, 2, ["a"]), (None, 2, 2, ["b"])], 1, "split.no", "nothing"),
    "other count": ([(0, 2, 2, ["a"]), (1, 3, 2, ["b"])], 1, "split.count", 3),
    "no count": ([(0, 2, 2, ["a"]), (1, None, 2, ["b"])], 1, "split.count", "nothing"),
    "too few tensors": ([(0, 2, 3, ["a"]), (1, 2, 3, ["b"])], 0, "split.tensors.count", 3),
    "other total": ([(0, 2, 2, ["a"]), (1, 2, 1, ["b"])], 1, "split.tensors.count", 1),
    "no total": ([(0, 2, None, ["a"]), (1, 2, 2, ["b"])], 0, "split.tensors.count", "nothing"),
}


@pytest.mark.parametrize("fault", SPLIT_FAULTS)
def test_parts_that_do_not_belong_together_are_refused(fault: str, tmp_path: Path) -> None:
    parts, guilty, field, value = SPLIT_FAULTS[fault]
    paths = write_split(tmp_path, *(shard(*part) for part in parts))
    with pytest.raises(GGUFError) as caught:
        read_gguf(paths[0])
    assert caught.value.file == str(paths[guilty])
    assert (caught.value.field, caught.value.value) == (field, value)


def test_a_tensor_in_two_parts_is_refused(tmp_path: Path) -> None:
    paths = write_split(tmp_path, shard(0, 2, 3, ["a", "b"]), shard(1, 2, 3, ["b"]))
    with pytest.raises(GGUFError) as caught:
        read_gguf(paths[0])
    assert (caught.value.file, caught.value.field) == (str(paths[1]), "tensor b")


@pytest.mark.parametrize("key", ["split.no", "split.count"])
def test_split_values_of_another_type_are_refused(key: str, tmp_path: Path) -> None:
    content = gguf_file(
        [
            entry(name, STRING, text("2")) if name == key else entry(name, UINT16, uint16(2))
            for name in ("split.no", "split.count")
        ]
    )
    paths = write_split(tmp_path, content, content)
    with pytest.raises(GGUFError, match="must be an integer") as caught:
        read_gguf(paths[0])
    assert (caught.value.field, caught.value.value) == (key, "2")


def test_a_damaged_part_is_named(split: list[Path]) -> None:
    split[2].write_bytes(gguf_file(tensors=[tensor("x", [33], Q4_0), tensor("y", [8], F32)]))
    with pytest.raises(GGUFError) as caught:
        read_gguf(split[0])
    assert caught.value.file == str(split[2])


def of_mapping(path: Path, field: str) -> list[str]:
    """What Linux tells of the memory that a file is mapped to."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    next(line for line in lines if line.endswith(str(path)))
    return next(line for line in lines if line.startswith(field)).split()


def huge_pages_can_be_asked_for() -> bool:
    try:
        mmap.mmap(-1, mmap.PAGESIZE).madvise(mmap.MADV_HUGEPAGE)
    except (AttributeError, OSError):
        return False
    return True


@pytest.mark.skipif(not huge_pages_can_be_asked_for(), reason="the system has no huge pages")
def test_weights_ask_for_huge_pages(tmp_path: Path) -> None:
    path = tmp_path / "one.gguf"
    path.write_bytes(gguf_file(tensors=[tensor("a", [8])], data=bytes(32)))
    with read_gguf(path):
        assert "hg" in of_mapping(path, "VmFlags")


def pages_can_be_mapped_ahead(path: Path) -> bool:
    try:
        mmap.mmap(-1, mmap.PAGESIZE).madvise(22)  # MADV_POPULATE_READ
        with open(path, "rb") as file:
            return os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except (AttributeError, OSError):
        return False


def test_cached_tensors_are_mapped(tmp_path: Path) -> None:
    path = tmp_path / "one.gguf"
    elements = 1 << 22
    data = bytes(4 * elements)
    path.write_bytes(gguf_file(tensors=[tensor("a", [elements])], data=data))
    if not pages_can_be_mapped_ahead(path):
        pytest.skip("the system cannot map pages ahead")
    with read_gguf(path) as file:
        assert int(of_mapping(path, "Rss")[1]) * 1024 < len(data)
        file.map_cached()
        assert int(of_mapping(path, "Rss")[1]) * 1024 >= len(data)
