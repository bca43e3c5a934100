"""Convert, quantize and run Phi models as GGUF, with ggml's exact bytes.

>>> import phigguf
>>> phigguf.convert("Phi-3.5-mini-instruct", "phi.gguf", "Q4_K_M")
>>> model = phigguf.load("phi.gguf")
>>> print(model.generate("The capital of France is", max_tokens=16))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._core import available_isas, isa, set_isa, set_num_threads
from .errors import Error
from .io.gguf import GGUFFile, read_gguf
from .models import Model, load
from .ops import dequantize, matmul, quantize

if TYPE_CHECKING:
    from .gguf_to_gguf import quantize_file
    from .hf_to_gguf import convert
    from .report import Report

__version__ = "0.1.0"

__all__ = [
    "Error",
    "GGUFFile",
    "Model",
    "Report",
    "__version__",
    "available_isas",
    "convert",
    "dequantize",
    "isa",
    "load",
    "matmul",
    "quantize",
    "quantize_file",
    "read_gguf",
    "set_isa",
    "set_num_threads",
]

# Imported when first used: what makes files takes as long to import as all that runs them.
_MODULES = {"Report": "report", "convert": "hf_to_gguf", "quantize_file": "gguf_to_gguf"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
