"""Write a Phi-3 or Phi-3.5-MoE checkpoint with random weights in any geometry, using little memory.

    python tools/make_synthetic_checkpoint.py /tmp/phi-3.5-mini --geometry phi-3.5-mini

The weights are heavy-tailed, as trained ones are: slices of one pool of random numbers, so that
billions of weights take as long as writing them. The vocabulary is made up but works.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from checkpoint_shapes import Shapes, phi3_shapes, phimoe_shapes

CHUNK = 1 << 22  # weights written at a time
SPECIAL_TOKENS = ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] "
    "+ '<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Geometry:
    """Sizes of a model, named as in ``config.json``.

    Attributes
    ----------
    original_max_position_embeddings
        The context before LongRoPE stretched it; equal to ``max_position_embeddings`` without.
    num_local_experts
        Above 0: Phi-3.5-MoE with so many experts.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int = 4096
    original_max_position_embeddings: int = 4096
    sliding_window: int | None = None
    tie_word_embeddings: bool = False
    partial_rotary_factor: float = 1.0
    num_local_experts: int = 0

    @property
    def head_dim(self) -> int:
        """The width of a head."""
        return self.hidden_size // self.num_attention_heads


GEOMETRIES = {
    "tiny": Geometry(1024, 256, 512, 2, 4, 4),
    "phi-3-mini-4k": Geometry(32064, 3072, 8192, 32, 32, 32, sliding_window=2047),
    "phi-3.5-mini": Geometry(
        32064, 3072, 8192, 32, 32, 32, max_position_embeddings=131072, sliding_window=262144
    ),
    "phi-3-medium-4k": Geometry(32064, 5120, 17920, 40, 40, 10, sliding_window=2047),
    "phi-4-mini": Geometry(
        *(200064, 3072, 8192, 32, 24, 8),
        max_position_embeddings=131072,
        sliding_window=262144,
        tie_word_embeddings=True,
        partial_rotary_factor=0.75,
    ),
    "phi-3.5-moe": Geometry(
        *(32064, 4096, 6400, 32, 32, 8),
        max_position_embeddings=131072,
        sliding_window=131072,
        num_local_experts=16,
    ),
}


def write_checkpoint(
    directory: Path,
    geometry: Geometry,
    *,
    dtype: str = "BF16",
    seed: int = 0,
    shard_bytes: int = 2 << 30,
) -> None:
    """Write configuration, tokenizer and weights.

    Parameters
    ----------
    directory
        Made if it does not exist.
    geometry
        Sizes of the model.
    dtype
        Of the weights: ``"BF16"``, ``"F16"`` or ``"F32"``.
    seed
        Equal seeds give equal weights.
    shard_bytes
        Weights beyond it go to a further file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _write_json(directory / "config.json", config(geometry))
    _write_json(
        directory / "generation_config.json",
        {"bos_token_id": 1, "eos_token_id": [first_added(geometry)]},
    )
    _write_tokenizer(directory, geometry)
    _write_weights(directory, geometry, dtype, seed, shard_bytes)


def config(geometry: Geometry) -> dict[str, Any]:
    """Return ``config.json``."""
    half = int(geometry.head_dim * geometry.partial_rotary_factor) // 2
    stretched = geometry.max_position_embeddings > geometry.original_max_position_embeddings
    rope_scaling = {
        "type": "longrope",
        "short_factor": [1.0 + 0.02 * i for i in range(half)],
        "long_factor": [1.0 + 1.3 * i for i in range(half)],
    }
    unsaid = {"partial_rotary_factor": 1.0, "num_local_experts": 0}
    sizes = {key: value for key, value in vars(geometry).items() if unsaid.get(key) != value}
    kind = {"architectures": ["Phi3ForCausalLM"], "model_type": "phi3"}
    if geometry.num_local_experts:
        rope_scaling |= {"short_mscale": 1.2, "long_mscale": 1.2}
        rope_scaling["original_max_position_embeddings"] = geometry.original_max_position_embeddings
        kind = {
            "architectures": ["PhiMoEForCausalLM"],
            "model_type": "phimoe",
            "attention_bias": True,
            "lm_head_bias": True,
        }
    return {
        **kind,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "rope_scaling": rope_scaling if stretched else None,
        "bos_token_id": 1,
        "eos_token_id": first_added(geometry),
        "pad_token_id": first_added(geometry),
        "torch_dtype": "bfloat16",
        **sizes,
    }


def tensor_shapes(geometry: Geometry) -> Shapes:
    """Yield every weight's name and shape."""
    shapes = phimoe_shapes if geometry.num_local_experts else phi3_shapes
    for name, shape in shapes(vars(geometry)):
        if not (geometry.tie_word_embeddings and name == "lm_head.weight"):
            yield name, shape


# --- Weights ---


class _WeightPool:
    """Heavy-tailed random numbers, made once and handed out in slices at random places."""

    def __init__(self, seed: int, size: int) -> None:
        self._rng = np.random.default_rng(seed)
        # Student's t with 5 degrees of freedom: kurtosis 9, about that of trained weights.
        self._pool = (0.02 * self._rng.standard_t(5, size)).astype(np.float32)

    def values(self, count: int, *, is_norm: bool) -> Iterator[npt.NDArray[np.float32]]:
        while count > 0:
            size = min(count, CHUNK, self._pool.size)
            start = int(self._rng.integers(0, self._pool.size - size + 1))
            values = self._pool[start : start + size]
            yield 1 + values if is_norm else values
            count -= size


def _encode(values: npt.NDArray[np.float32], dtype: str) -> bytes:
    if dtype == "BF16":  # cut rather than rounded: these are random numbers
        return (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    return values.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def _write_weights(
    directory: Path, geometry: Geometry, dtype: str, seed: int, shard_bytes: int
) -> None:
    item = 4 if dtype == "F32" else 2
    sizes = {n: item * math.prod(shape) for n, shape in tensor_shapes(geometry)}
    shards = list(_shards(tensor_shapes(geometry), sizes, shard_bytes))
    pool = _WeightPool(seed, min(4 * CHUNK, 4 * max(sizes.values())))
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        if len(shards) == 1:
            name = "model.safetensors"
        weight_map |= dict.fromkeys(shard, name)
        with (directory / name).open("wb") as file:
            _write_shard(file, shard, sizes, dtype, pool)
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
        _write_json(directory / "model.safetensors.index.json", index)


def _shards(
    tensors: Iterable[tuple[str, tuple[int, ...]]], sizes: dict[str, int], limit: int
) -> Iterator[dict[str, tuple[int, ...]]]:
    shard: dict[str, tuple[int, ...]] = {}
    filled = 0
    for name, shape in tensors:
        if shard and filled + sizes[name] > limit:
            yield shard
            shard, filled = {}, 0
        shard[name] = shape
        filled += sizes[name]
    yield shard


def _write_shard(
    file: BinaryIO,
    shard: dict[str, tuple[int, ...]],
    sizes: dict[str, int],
    dtype: str,
    pool: _WeightPool,
) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shard.items():
        begin, end = end, end + sizes[name]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name, shape in shard.items():
        is_norm = len(shape) == 1 and name.endswith(".weight")
        values = pool.values(math.prod(shape), is_norm=is_norm)
        file.writelines(_encode(chunk, dtype) for chunk in values)


# --- Tokenizer ---


def first_added(geometry: Geometry) -> int:
    """Return the id of the first token after the trained vocabulary."""
    return geometry.vocab_size - 64 if geometry.vocab_size > 1024 else geometry.vocab_size - 8


def _pieces(count: int) -> list[str]:
    """Make up ``count`` pieces such that each longer one is two earlier ones joined."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["▁", *letters]
    suffixes = list(letters)
    while len(pieces) < count:
        pieces += [f"▁{suffix}" for suffix in suffixes]
        suffixes = [suffix + letter for suffix in suffixes for letter in letters]
        pieces += suffixes
    return pieces[:count]


def _merges(pieces: list[str]) -> list[tuple[str, str]]:
    ids = {piece: index for index, piece in enumerate(pieces)}
    cuts = ((piece[:cut], piece[cut:]) for piece in pieces for cut in range(1, len(piece)))
    return [(left, right) for left, right in cuts if left in ids and right in ids]


def _write_tokenizer(directory: Path, geometry: Geometry) -> None:
    trained = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = _pieces(first_added(geometry) - len(trained))
    trained += pieces
    added = {"<unk>": 0, "<s>": 1, "</s>": 2}
    added |= {text: len(trained) + index for index, text in enumerate(SPECIAL_TOKENS)}
    _write_json(
        directory / "tokenizer.json",
        {
            "version": "1.0",
            "added_tokens": [_added_token(id_, text) for text, id_ in added.items()],
            "normalizer": {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Prepend", "prepend": "▁"},
                    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
                ],
            },
            "decoder": {
                "type": "Sequence",
                "decoders": [
                    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                    {"type": "ByteFallback"},
                    {"type": "Fuse"},
                    {"type": "Strip", "content": " ", "start": 1, "stop": 0},
                ],
            },
            "model": {
                "type": "BPE",
                "unk_token": "<unk>",
                "fuse_unk": True,
                "byte_fallback": True,
                "vocab": {text: index for index, text in enumerate(trained)},
                "merges": _merges(pieces),
            },
        },
    )
    _write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "LlamaTokenizer",
            "bos_token": "<s>",
            "eos_token": SPECIAL_TOKENS[0],
            "pad_token": SPECIAL_TOKENS[0],
            "unk_token": "<unk>",
            "add_bos_token": True,
            "add_eos_token": False,
            "chat_template": CHAT_TEMPLATE,
        },
    )


def _added_token(id_: int, text: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": id_, "content": text, **flags, "special": True}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--geometry", choices=GEOMETRIES, default="phi-3.5-mini")
    parser.add_argument("--layers", type=int, help="cut the model to this many layers")
    parser.add_argument("--dtype", choices=("BF16", "F16", "F32"), default="BF16")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    geometry = GEOMETRIES[arguments.geometry]
    if arguments.layers:
        geometry = Geometry(**{**vars(geometry), "num_hidden_layers": arguments.layers})
    write_checkpoint(arguments.directory, geometry, dtype=arguments.dtype, seed=arguments.seed)


if __name__ == "__main__":
    main()
