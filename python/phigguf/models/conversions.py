"""The architectures that can be converted: for a new one, write its file and add its line here."""

from __future__ import annotations

from ..io.checkpoint import Checkpoint
from . import phi2_convert, phi3_convert, phimoe_convert
from .conversion import ConfigReader, Conversion, Converter
from .refusals import check_architecture, check_text_only

_CONVERTERS: dict[str, Converter] = {
    "PhiForCausalLM": phi2_convert.conversion,
    "Phi3ForCausalLM": phi3_convert.conversion,
    "PhiMoEForCausalLM": phimoe_convert.conversion,
    "PhimoeForCausalLM": phimoe_convert.conversion,
}


def conversion_of(checkpoint: Checkpoint) -> Conversion:
    """Describe the conversion of a checkpoint by its architecture.

    Raises
    ------
    UnsupportedError
        The architecture, or one of its settings, is unknown.
    CheckpointError
        ``config.json`` is malformed.
    """
    config = ConfigReader(checkpoint.config, checkpoint.path / "config.json")
    check_architecture(checkpoint.architecture, tuple(_CONVERTERS), config)
    check_text_only(config)
    return _CONVERTERS[checkpoint.architecture](config)
