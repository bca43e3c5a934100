from collections.abc import Callable
from typing import TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

_Bytes: TypeAlias = npt.NDArray[np.uint8]
_Floats: TypeAlias = npt.NDArray[np.float32]
_Ints: TypeAlias = npt.NDArray[np.int32]

class _TensorType(TypedDict):
    name: str
    id: int
    block_width: int
    block_bytes: int

def tensor_types() -> list[_TensorType]: ...
def isa() -> str: ...
def compiled_isas() -> list[str]: ...
def available_isas() -> list[str]: ...
def set_isa(name: str) -> None: ...
def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def map_cached(bytes: _Bytes, file: int, offset: int) -> None: ...
def recode(
    source: _Bytes,
    source_type: str,
    target: _Bytes,
    target_type: str,
    cols: int,
    imatrix: _Floats | None = None,
    threads: int = 0,
    measure_error: bool = False,
) -> float: ...

class Recoding:
    def __init__(
        self,
        source: _Bytes,
        source_type: str,
        target_type: str,
        cols: int,
        offset: int,
        imatrix: _Floats | None = None,
        keep_source: bool = False,
        file: str = "",
        name: str = "",
    ) -> None: ...

def recode_to_file(
    recodings: list[Recoding], file: int, threads: int, progress: Callable[[int], object]
) -> list[float]: ...
def matmul(x: _Floats, w: _Bytes, type: str, threads: int = 0) -> _Floats: ...
def grouped_matmul(
    x: _Floats, w: _Bytes, type: str, counts: _Ints, threads: int = 0
) -> _Floats: ...
def add_swiglu(
    x: _Floats, norm: _Floats, epsilon: float, gate_up: Weight, down: Weight
) -> None: ...
def rms_norm(x: _Floats, weight: _Floats, epsilon: float) -> _Floats: ...
def layer_norm(x: _Floats, weight: _Floats, bias: _Floats, epsilon: float) -> _Floats: ...
def gelu(x: _Floats) -> _Floats: ...
def softmax(x: _Floats) -> _Floats: ...
def silu_mul(gate_up: _Floats) -> _Floats: ...
def rope_tables(
    start: int, count: int, frequencies: _Floats, factor: float
) -> tuple[_Floats, _Floats]: ...

class Weight:
    def __init__(self, w: _Bytes, type: str, cols: int) -> None: ...
    def __len__(self) -> int: ...
    @property
    def data(self) -> _Bytes: ...
    def linear(
        self,
        x: _Floats,
        *,
        norm: _Floats | None = None,
        epsilon: float = 0.0,
        add_to: _Floats | None = None,
        out: _Floats | None = None,
    ) -> _Floats: ...
    def rows(self, ids: _Ints) -> _Floats: ...

class KvCache:
    def __init__(
        self, layers: int, kv_heads: int, head_dim: int, type: str, window: int = 0
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def truncate(self, length: int) -> None: ...
    def attend(
        self,
        layer: int,
        qkv: _Floats,
        heads: int,
        scale: float,
        tables: tuple[_Floats, _Floats] | None = None,
        out: _Floats | None = None,
    ) -> _Floats: ...
