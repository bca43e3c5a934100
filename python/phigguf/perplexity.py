"""Perplexity: how surprised a model is by a text, in equally likely tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from phigguf.errors import InvalidArgument

if TYPE_CHECKING:
    from phigguf.models import Model


def perplexity(model: Model, texts: Iterable[str], *, window: int = 1024) -> float:
    """Return the perplexity of a model over texts.

    Each text is cut into windows that do not overlap. A token is predicted from those before it
    in its window; the first of a window is not predicted.

    Parameters
    ----------
    model
        The model.
    texts
        Texts that do not continue each other.
    window
        The most tokens to read at once.

    Returns
    -------
    float
        exp of the mean of -log p(token), natural logarithm, summed in float64.

    Raises
    ------
    InvalidArgument
        If no text has two tokens, or `window` is below 2.
    """
    if window < 2:
        raise InvalidArgument("must be at least 2", field="window", value=window)
    surprise, predicted = 0.0, 0
    for text in texts:
        tokens = model.tokenizer.encode(text)
        for start in range(0, len(tokens) - 1, window):
            piece = tokens[start : start + window]
            surprise += _surprise(model, piece)
            predicted += len(piece) - 1
    if predicted == 0:
        raise InvalidArgument("there is no token to predict", field="texts")
    return math.exp(surprise / predicted)


def _surprise(model: Model, tokens: Sequence[int]) -> float:
    """Return the sum of -log p over all tokens but the first."""
    logits = model.logits(tokens)[:-1].astype(np.float64)
    highest = logits.max(axis=1)
    log_total = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    chosen = logits[np.arange(len(logits)), tokens[1:]]
    return float((log_total - chosen).sum())
