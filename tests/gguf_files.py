"""Whole GGUF files from arrays, laid out as phigguf lays them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy.typing as npt

from phigguf.io.gguf_format import MetadataValue
from phigguf.io.gguf_layout import TensorSpec, plan_layout


def gguf_content(
    metadata: Mapping[str, MetadataValue],
    specs: Sequence[TensorSpec],
    tensors: Sequence[npt.NDArray],
) -> bytes:
    """The bytes of a file; each tensor is an array with the bytes that its spec says."""
    layout = plan_layout(metadata, specs)
    content = bytearray(layout.size)
    content[: len(layout.header)] = layout.header
    for spec, tensor in zip(specs, tensors, strict=True):
        data = tensor.tobytes()
        assert len(data) == spec.nbytes
        offset = layout.offsets[spec.name]
        content[offset : offset + len(data)] = data
    return bytes(content)
