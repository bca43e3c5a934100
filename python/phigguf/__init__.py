"""Convert, quantize and run Phi models as GGUF, with ggml's exact bytes."""

__version__ = "0.1.0"
