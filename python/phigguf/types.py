"""The tensor types of ggml: name, id in a GGUF file, and block geometry."""

from __future__ import annotations

from dataclasses import dataclass

from phigguf import _core
from phigguf.errors import ShapeError, UnsupportedError


@dataclass(frozen=True)
class TensorType:
    """How ggml stores a row of numbers: as blocks of a fixed width and size.

    Parameters
    ----------
    name
        ggml's name, for example ``"Q4_K"``.
    id
        The number that stands for the type in a GGUF file.
    block_width
        Elements per block; the columns of a tensor are a multiple of it.
    block_bytes
        Bytes per block.
    native
        Whether phigguf computes with the type. Others can be listed and copied only.
    """

    name: str
    id: int
    block_width: int
    block_bytes: int
    native: bool

    @property
    def bits_per_element(self) -> float:
        """Average storage per element, in bits."""
        return 8 * self.block_bytes / self.block_width

    def row_bytes(self, cols: int) -> int:
        """Bytes of one row of ``cols`` elements.

        Raises
        ------
        ShapeError
            ``cols`` is not a positive multiple of the block width.
        """
        if cols <= 0 or cols % self.block_width:
            raise ShapeError(
                f"a row of type {self.name} must be a positive multiple of {self.block_width} wide",
                value=cols,
            )
        return cols // self.block_width * self.block_bytes


# Types that ggml defines and phigguf does not compute: id, block width, block bytes
# (ggml/include/ggml.h for the ids, ggml/src/ggml-common.h for the block structs).
# A type that `_core` lists takes precedence, so that native geometry has one source.
_STORED_ONLY = {
    "Q8_1": (9, 32, 36),
    "Q8_K": (15, 256, 292),
    "IQ2_XXS": (16, 256, 66),
    "IQ2_XS": (17, 256, 74),
    "IQ3_XXS": (18, 256, 98),
    "IQ1_S": (19, 256, 50),
    "IQ4_NL": (20, 32, 18),
    "IQ3_S": (21, 256, 110),
    "IQ2_S": (22, 256, 82),
    "IQ4_XS": (23, 256, 136),
    "I8": (24, 1, 1),
    "I16": (25, 1, 2),
    "I32": (26, 1, 4),
    "I64": (27, 1, 8),
    "F64": (28, 1, 8),
    "IQ1_M": (29, 256, 56),
    "TQ1_0": (34, 256, 54),
    "TQ2_0": (35, 256, 66),
    "MXFP4": (39, 32, 17),
    "NVFP4": (40, 64, 36),
    "Q1_0": (41, 128, 18),
    "Q2_0": (42, 64, 18),
}


def _all_types() -> dict[str, TensorType]:
    """Every ggml type by name, in the order of ids."""
    types = {name: TensorType(name, *row, native=False) for name, row in _STORED_ONLY.items()}
    for row in _core.tensor_types():
        types[row["name"]] = TensorType(
            row["name"], row["id"], row["block_width"], row["block_bytes"], native=True
        )
    return dict(sorted(types.items(), key=lambda item: item[1].id))


TENSOR_TYPES: dict[str, TensorType] = _all_types()
_TYPES_BY_ID = {type_.id: type_ for type_ in TENSOR_TYPES.values()}


def tensor_type(name: str) -> TensorType:
    """Look a type up by ggml's name.

    Raises
    ------
    UnsupportedError
        No such type exists. Names are case-sensitive.
    """
    if name not in TENSOR_TYPES:
        raise UnsupportedError(
            f"unknown tensor type; known are {', '.join(TENSOR_TYPES)}", value=name
        )
    return TENSOR_TYPES[name]


def tensor_type_by_id(type_id: int) -> TensorType:
    """Look a type up by its number in a GGUF file.

    Raises
    ------
    UnsupportedError
        No such type exists, or ggml has removed it (4, 5, 31-33, 36-38).
    """
    if type_id not in _TYPES_BY_ID:
        raise UnsupportedError("tensor type id that ggml does not define", value=type_id)
    return _TYPES_BY_ID[type_id]
