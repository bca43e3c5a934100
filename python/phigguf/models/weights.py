"""Reading a model out of a GGUF file: hyper-parameters and tensors, each checked before use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .. import _core
from .._core import Weight
from ..errors import GGUFError, QuantizationError, ShapeError, UnsupportedError
from ..io.gguf import GGUFFile, TensorInfo
from ..ops import dequantize

Floats = npt.NDArray[np.float32]
_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False)
class ExpertWeights:
    """Matrices of equal shape and type, one for each expert.

    Parameters
    ----------
    data
        uint8 [experts, n, row bytes].
    type
        The type's name.
    """

    data: npt.NDArray[np.uint8]
    type: str

    def __len__(self) -> int:
        return len(self.data)

    def linear(self, x: Floats, counts: npt.NDArray[np.int32]) -> Floats:
        """Multiply float32 x [m, cols], sorted by expert, with the transpose of each one's matrix.

        Parameters
        ----------
        x
            The first `counts[0]` rows are for the first expert, and so on.
        counts
            int32 [experts], with sum m.

        Returns
        -------
        float32 [m, n]
        """
        return _core.grouped_matmul(x, self.data, self.type, counts)


@dataclass(frozen=True, eq=False)
class BiasedWeight:
    """One or more matrices that multiply the same input, and what is added to their outputs.

    Parameters
    ----------
    matrices
        Outputs lie side by side in their order.
    bias
        float32 [n], n being the rows of all matrices.
    """

    matrices: tuple[Weight, ...]
    bias: Floats

    def linear(self, x: Floats) -> Floats:
        """Multiply float32 x [m, cols] with the transpose and add the bias: float32 [m, n]."""
        products = [matrix.linear(x) for matrix in self.matrices]
        out = products[0] if len(products) == 1 else np.concatenate(products, axis=1)
        out += self.bias
        return out


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """The weight and bias of a layer norm, each float32 [hidden]."""

    weight: Floats
    bias: Floats
    epsilon: float

    def __call__(self, x: Floats) -> Floats:
        """Normalize the rows of float32 x [m, hidden]."""
        return _core.layer_norm(x, self.weight, self.bias, self.epsilon)


class Hyperparameters:
    """A model's numbers in the file's metadata, under the prefix of its architecture."""

    def __init__(self, file: GGUFFile, architecture: str) -> None:
        self._file = file
        self._prefix = architecture

    def count(
        self, key: str, default: int | None = None, *, at_least: int = 1, at_most: int = 2**31 - 1
    ) -> int:
        """Return an integer within bounds.

        Raises
        ------
        GGUFError
            The key is missing and has no default, or the value is no such integer.
        """
        value = self._get(key, default)
        if type(value) is not int or not at_least <= value <= at_most:
            raise self.error(key, f"must be an integer from {at_least} to {at_most}", value)
        return value

    def real(self, key: str, default: float | None = None) -> float:
        """Return a finite number above zero.

        Raises
        ------
        GGUFError
            The key is missing and has no default, or the value is no such number.
        """
        value = self._get(key, default)
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise self.error(key, "must be a finite number above zero", value)
        return float(value)

    def refuse_unless(self, key: str, *allowed: Any) -> None:
        """Refuse the model if the key is present with a value that is not listed.

        Raises
        ------
        UnsupportedError
            The value asks for something that phigguf does not compute.
        """
        name = f"{self._prefix}.{key}"
        value = self._file.metadata.get(name)
        if value is not None and value not in allowed:
            raise UnsupportedError(
                "is not supported by phigguf", file=self._file.path, field=name, value=value
            )

    def error(self, key: str, problem: str, value: Any) -> GGUFError:
        """Make an error that names the file, the key and the value."""
        return GGUFError(problem, file=self._file.path, field=f"{self._prefix}.{key}", value=value)

    def _get(self, key: str, default: _Value | None) -> Any:
        value = self._file.metadata.get(f"{self._prefix}.{key}", default)
        if value is None:
            raise self.error(key, "the metadata key is missing", None)
        return value


class Tensors:
    """A file's tensors, taken one by one with the shape they must have."""

    def __init__(self, file: GGUFFile) -> None:
        self._file = file
        self._left = dict(file.tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def matrix(self, name: str, rows: int, cols: int) -> Weight:
        """Take a matrix of any native type.

        Raises
        ------
        GGUFError
            It is missing.
        ShapeError
            It has another shape.
        UnsupportedError
            phigguf does not compute with its type.
        """
        tensor = self._take(name, (rows, cols))
        return Weight(_aligned(tensor), tensor.type.name, cols)

    def vector(self, name: str, size: int) -> Floats:
        """Take a vector as float32 [size]; raises as `matrix` does."""
        tensor = self._take(name, (size,))
        try:
            return dequantize(tensor.data, tensor.type.name)
        except QuantizationError as error:
            raise QuantizationError(
                error.problem,
                file=tensor.file,
                field=f"tensor {name}, {error.field}",
                value=error.value,
            ) from error

    def experts(self, name: str, count: int, rows: int, cols: int) -> ExpertWeights:
        """Take matrices that are stacked in one tensor; raises as `matrix` does."""
        tensor = self._take(name, (count, rows, cols))
        return ExpertWeights(_aligned(tensor), tensor.type.name)

    def biased(self, name: str, rows: int, cols: int) -> BiasedWeight:
        """Take ``name``'s weight and bias; raises as `matrix` does."""
        weight = self.matrix(f"{name}.weight", rows, cols)
        return BiasedWeight((weight,), self.vector(f"{name}.bias", rows))

    def biased_qkv(self, layer: str, heads_rows: int, kv_rows: int, cols: int) -> BiasedWeight:
        """Take a layer's query, key and value projections, stored as one tensor or as three."""
        if f"{layer}.attn_qkv.weight" in self:
            return self.biased(f"{layer}.attn_qkv", heads_rows + 2 * kv_rows, cols)
        parts = [
            self.biased(f"{layer}.attn_{part}", rows, cols)
            for part, rows in (("q", heads_rows), ("k", kv_rows), ("v", kv_rows))
        ]
        return BiasedWeight(
            tuple(matrix for part in parts for matrix in part.matrices),
            np.concatenate([part.bias for part in parts]),
        )

    def layer_norm(self, name: str, size: int, epsilon: float) -> LayerNorm:
        """Take ``name``'s weight and bias; raises as `matrix` does."""
        return LayerNorm(
            self.vector(f"{name}.weight", size), self.vector(f"{name}.bias", size), epsilon
        )

    def positive_vector(self, name: str, size: int) -> Floats:
        """Take a vector of numbers above zero; raises as `matrix` does."""
        vector = self.vector(name, size)
        if not (vector > 0).all():
            raise GGUFError(
                "must hold numbers above zero",
                file=self._file.path,
                field=f"tensor {name}",
                value=float(vector.min()),
            )
        return vector

    def rows_of(self, name: str) -> int:
        """Return the number of rows of a matrix that is to be taken; raises as `matrix` does."""
        tensor = self._find(name)
        if len(tensor.shape) != 2:
            raise ShapeError(
                "must be a matrix", file=tensor.file, field=f"tensor {name}", value=tensor.shape
            )
        return tensor.shape[0]

    def check_all_taken(self) -> None:
        """Refuse a model with tensors that nobody asked for: something would be left out.

        Raises
        ------
        UnsupportedError
            There is such a tensor.
        """
        for name in self._left:
            raise UnsupportedError(
                "the architecture has no such tensor", file=self._file.path, field=f"tensor {name}"
            )

    def _find(self, name: str) -> TensorInfo:
        if name not in self._left:
            raise GGUFError("the tensor is missing", file=self._file.path, field=f"tensor {name}")
        return self._left[name]

    def _take(self, name: str, shape: tuple[int, ...]) -> TensorInfo:
        tensor = self._find(name)
        if tensor.shape != shape:
            raise ShapeError(
                f"must have shape {shape}",
                file=tensor.file,
                field=f"tensor {name}",
                value=tensor.shape,
            )
        if not tensor.type.native:
            raise UnsupportedError(
                "phigguf cannot compute with this type",
                file=tensor.file,
                field=f"tensor {name}",
                value=tensor.type.name,
            )
        return self._left.pop(name)


def _aligned(tensor: TensorInfo) -> npt.NDArray[np.uint8]:
    """The mapped bytes, or a copy where the file places numbers at odd addresses."""
    size = tensor.type.block_bytes if tensor.type.block_width == 1 else 1
    return tensor.data.copy() if tensor.offset % size else tensor.data
