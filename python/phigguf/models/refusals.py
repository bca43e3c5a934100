"""Configurations that cannot be honoured, whatever the architecture: each is refused by name."""

from __future__ import annotations

from typing import Any

from ..errors import UnsupportedError
from .conversion import ConfigReader

# Phi models for which GGUF has no architecture, with what they do that none of its models does.
_WITHOUT_GGUF = {
    "Phi3VForCausalLM": "Phi-3-vision's images are",
    "Phi4MMForCausalLM": "Phi-4-multimodal's images and speech are",
    "Phi4MultimodalForCausalLM": "Phi-4-multimodal's images and speech are",
    "Phi3SmallForCausalLM": "Phi-3-small's block-sparse attention is",
    "Phi4FlashForCausalLM": "Phi-4-mini-flash's state-space layers are",
}
_MODALITIES = {
    "vision_config": "images are",
    "img_processor": "images are",
    "vision_lora": "images are",
    "audio_config": "speech is",
    "audio_processor": "speech is",
    "speech_lora": "speech is",
}


def check_architecture(architecture: str, known: tuple[str, ...], config: ConfigReader) -> None:
    """Refuse a model that is none of the known ones.

    Raises
    ------
    UnsupportedError
        The message says what it would take, where the model is a Phi.
    """
    if architecture in known:
        return
    missing = _WITHOUT_GGUF.get(architecture)
    problem = f"{missing} not supported" if missing else "unknown architecture"
    raise UnsupportedError(
        f"{problem}; known are {', '.join(known)}",
        file=config.file,
        field="architectures[0]",
        value=architecture,
    )


def check_text_only(config: ConfigReader) -> None:
    """Refuse what changes the model beyond its architecture's own settings.

    Raises
    ------
    UnsupportedError
        There are weights for images or speech, layers attend in different ways, or norms are of a
        kind of their own.
    """
    for field, modality in _MODALITIES.items():
        refuse_present(config, field, f"{modality} not supported, only text")
    refuse_present(config, "norm_type", "norms other than the architecture's are not supported")
    kinds = config.config.get("layer_types")
    if isinstance(kinds, list) and any(kind != kinds[0] for kind in kinds):
        raise _unsupported(config, "layer_types", "layers of different kinds are not supported")


def refuse_flags(config: ConfigReader, *fields: str) -> None:
    """Refuse flags that an architecture has no counterpart for, unless they are false.

    Raises
    ------
    CheckpointError
        One is neither true nor false.
    UnsupportedError
        One is true.
    """
    for field in fields:
        if config.flag(field, False):
            raise _unsupported(config, field, "is not supported for this architecture")


def refuse_present(config: ConfigReader, field: str, problem: str) -> None:
    """Refuse a field that is there and not null.

    Raises
    ------
    UnsupportedError
        It is.
    """
    if config.config.get(field) is not None:
        raise _unsupported(config, field, problem)


def _unsupported(config: ConfigReader, field: str, problem: str) -> UnsupportedError:
    value: Any = config.config[field]
    return UnsupportedError(problem, file=config.file, field=field, value=value)
