"""What either layout of ``config.json`` says of the rotary embedding.

`transformers` 5 writes an object ``rope_parameters``; older versions wrote ``rope_scaling``, with
``rope_theta`` and ``partial_rotary_factor`` beside it. A configuration may have both, if they agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UnsupportedError
from .conversion import ConfigReader
from .sizes import Sizes

DEFAULT = "default"


@dataclass(frozen=True)
class RopeConfig:
    """A rotary embedding.

    Attributes
    ----------
    kind
        ``"default"``, or the name of a scaling.
    theta
        The base of the frequencies.
    dims
        How many of a head's dimensions are rotated.
    scaling
        The object with the scaling's settings; without any if there is none.
    """

    kind: str
    theta: float
    dims: int
    scaling: ConfigReader


def read_rope_config(
    config: ConfigReader, sizes: Sizes, *kinds: str, theta: float, fraction: float = 1.0
) -> RopeConfig:
    """Read the rotary embedding.

    Parameters
    ----------
    config
        The whole configuration.
    sizes
        The model's sizes.
    kinds
        Scalings that the caller can honour.
    theta, fraction
        Defaults of the base and of the rotated part of a head.

    Raises
    ------
    CheckpointError
        A field is malformed, out of range, or differs from its copy in the other layout.
    UnsupportedError
        The scaling is none of ``kinds``.
    """
    scaling = _scaling(config)
    kind_field = "rope_type" if "rope_type" in scaling.config else "type"
    kind = scaling.text(kind_field, DEFAULT)
    if kind not in (DEFAULT, *kinds):
        raise UnsupportedError(
            "unknown rotary embedding",
            file=config.file,
            field=scaling.prefix + kind_field,
            value=kind,
        )
    return RopeConfig(
        kind=kind,
        theta=agreed(scaling, config, "rope_theta").real("rope_theta", theta),
        dims=_rotated_dims(agreed(scaling, config, "partial_rotary_factor"), sizes, fraction),
        scaling=scaling,
    )


def agreed(scaling: ConfigReader, config: ConfigReader, key: str) -> ConfigReader:
    """Return whichever of two readers has a field; if both have it, it has to be the same."""
    inner, outer = scaling.config.get(key), config.config.get(key)
    if inner is not None and outer is not None and inner != outer:
        raise scaling.error(key, f"differs from {key}, which is {outer!r}")
    return config if inner is None else scaling


def _scaling(config: ConfigReader) -> ConfigReader:
    new, old = config.section("rope_parameters"), config.section("rope_scaling")
    if new and old and new.config != old.config:
        raise config.error("rope_parameters", "differs from rope_scaling")
    return new or old or ConfigReader({}, config.file)


def _rotated_dims(config: ConfigReader, sizes: Sizes, default: float) -> int:
    key = "partial_rotary_factor"
    fraction = config.real(key, default)
    dims = int(sizes.head_dim * fraction)
    if fraction > 1 or dims == 0 or dims % 2:
        raise config.error(key, f"gives {dims} of {sizes.head_dim} dimensions")
    return dims
