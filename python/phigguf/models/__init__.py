"""Model architectures: converting them to GGUF, and running them."""

from .model import Model, load
from .session import Session

__all__ = ["Model", "Session", "load"]
