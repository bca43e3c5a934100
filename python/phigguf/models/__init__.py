"""Model architectures: converting them to GGUF, and running them."""

from .model import Model, Session, load

__all__ = ["Model", "Session", "load"]
