"""Choosing the next token from a model's logits.

The filters act in the order in which `transformers` applies them: repetition penalty,
temperature, top-k, top-p, min-p. All arithmetic is float64, and wherever two tokens are equally
likely the one with the lower id comes first, so a seed gives the same text everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InvalidArgument, ShapeError

_Logits = npt.NDArray[np.float64]
_Ids = npt.NDArray[np.int64]


class Sampler:
    """Chooses tokens; holds the random stream of one generation.

    Parameters
    ----------
    temperature
        Divides the logits. 0 always takes the likeliest token, and the three filters below
        then have nothing to choose from.
    top_k
        Keep the `top_k` likeliest tokens; 0 keeps all.
    top_p
        Of these, keep the fewest likeliest tokens whose probabilities sum to `top_p` or more.
    min_p
        Of these, drop tokens less probable than `min_p` times the likeliest one.
    repetition_penalty
        For tokens that occurred before, positive logits are divided and negative ones multiplied
        by it (CTRL, arXiv:1909.05858, as `transformers` applies it). 1 changes nothing.
    seed
        Makes the choices repeatable; None takes fresh randomness.

    Raises
    ------
    InvalidArgument
        If a parameter is out of its range.
    """

    def __init__(
        self,
        temperature: float = 0.8,
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
    ) -> None:
        self.temperature = _number("temperature", temperature, lambda x: 0 <= x < math.inf)
        self.top_k = _integer("top_k", top_k)
        self.top_p = _number("top_p", top_p, lambda x: 0 < x <= 1)
        self.min_p = _number("min_p", min_p, lambda x: 0 <= x <= 1)
        self.repetition_penalty = _number(
            "repetition_penalty", repetition_penalty, lambda x: 0 < x < math.inf
        )
        seed = None if seed is None else _integer("seed", seed)
        self._random = np.random.Generator(np.random.PCG64(seed))

    def sample(self, logits: npt.ArrayLike, history: Iterable[int] = ()) -> int:
        """Choose a token.

        Parameters
        ----------
        logits
            float [n_vocab]; minus infinity excludes a token.
        history
            Tokens of the prompt and the text so far, for the repetition penalty.

        Raises
        ------
        ShapeError
            If `logits` is not a vector, or is empty.
        InvalidArgument
            If a logit is NaN or plus infinity, if none is finite, or if a token of `history` lies
            outside the vocabulary.
        """
        ids, probabilities = self.distribution(logits, history)
        if ids.size == 1:
            return int(ids[0])
        cumulative = np.cumsum(probabilities)
        drawn = self._random.random() * cumulative[-1]  # below the last one, also when rounded
        return int(ids[np.searchsorted(cumulative, drawn, side="right")])

    def distribution(
        self, logits: npt.ArrayLike, history: Iterable[int] = ()
    ) -> tuple[_Ids, _Logits]:
        """Return the tokens that may be chosen and their probabilities.

        Parameters
        ----------
        logits, history
            As for `sample`.

        Returns
        -------
        ids
            int64 [n], likeliest first.
        probabilities
            float64 [n], with sum 1.
        """
        scores = _penalized(_checked(logits), history, self.repetition_penalty)
        if self.temperature == 0:
            return np.array([np.argmax(scores)], dtype=np.int64), np.ones(1)
        kept_by_top_k = _candidates(scores, self.top_k)
        scores = scores[kept_by_top_k]
        # Past float64's range the quotients would overflow; only their differences matter.
        with np.errstate(over="ignore"):
            scores = (scores - scores.max()) / self.temperature
        order = np.argsort(-scores, kind="stable")[: self.top_k or None]
        ids = kept_by_top_k[order]
        probabilities = _softmax(scores[order])
        ids, probabilities = _nucleus(ids, probabilities, self.top_p)
        kept = (probabilities > 0) & (probabilities >= self.min_p * probabilities[0])
        ids, probabilities = ids[kept], probabilities[kept]
        return ids, probabilities / probabilities.sum()


def _number(name: str, value: Any, is_valid: Callable[[float], bool]) -> float:
    if not isinstance(value, Real) or not is_valid(float(value)):
        raise InvalidArgument("is out of range", field=name, value=value)
    return float(value)


def _integer(name: str, value: Any) -> int:
    if not isinstance(value, (int, np.integer)) or value < 0:
        raise InvalidArgument("must be an integer, 0 or more", field=name, value=value)
    return int(value)


def _checked(logits: npt.ArrayLike) -> _Logits:
    scores = np.asarray(logits, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise ShapeError("must be a vector of logits", field="logits", value=scores.shape)
    largest = scores.max()  # NaN if there is one
    if not np.isfinite(largest):
        raise InvalidArgument("the largest is not finite", field="logits", value=float(largest))
    return scores


def _penalized(scores: _Logits, history: Iterable[int], penalty: float) -> _Logits:
    if penalty == 1:
        return scores
    seen = np.fromiter(history, dtype=np.int64)
    if seen.size and not 0 <= seen.min() <= seen.max() < scores.size:
        raise InvalidArgument("a token is outside the vocabulary", field="history")
    scores = scores.copy()
    scores[seen] = np.where(scores[seen] < 0, scores[seen] * penalty, scores[seen] / penalty)
    return scores


def _candidates(scores: _Logits, count: int) -> _Ids:
    """Return, by id, the tokens of the `count` (0: all) highest scores and those equal to the last."""
    if 0 < count < scores.size:
        return np.flatnonzero(scores >= np.partition(scores, -count)[-count])
    return np.arange(scores.size)


def _softmax(scores: _Logits) -> _Logits:
    weights = np.exp(scores - scores[0])
    return np.asarray(weights / weights.sum())


def _nucleus(ids: _Ids, probabilities: _Logits, top_p: float) -> tuple[_Ids, _Logits]:
    if top_p == 1:
        return ids, probabilities
    enough = int(np.searchsorted(np.cumsum(probabilities), top_p, side="left")) + 1
    return ids[:enough], probabilities[:enough]
