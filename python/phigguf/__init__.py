"""Convert, quantize and run Phi models as GGUF, with ggml's exact bytes.

>>> import phigguf
>>> phigguf.convert("Phi-3.5-mini-instruct", "phi.gguf", "Q4_K_M")
>>> model = phigguf.load("phi.gguf")
>>> print(model.generate("The capital of France is", max_tokens=16))
"""

from ._core import available_isas, isa, set_isa, set_num_threads
from .errors import Error
from .gguf_to_gguf import quantize_file
from .hf_to_gguf import convert
from .io.gguf import GGUFFile, read_gguf
from .models import Model, load
from .ops import dequantize, matmul, quantize
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
