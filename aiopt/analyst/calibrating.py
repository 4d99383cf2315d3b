"""Confidence made honest: a map from what a reader says of itself to how often such answers are right.

Fitted on validation charts alone and applied to others; two forms, of which the one that predicts better on
the half it was not fitted on is taken.  Owns the formulas.  A calibrator says nothing of markets: it knows
how often a *reading* was right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.errors import MetricInputError

FloatArray = NDArray[np.float64]

FEWEST_ANSWERS = 20
"""Fewer answers than this fit no calibrator."""

_EDGE = 1e-6


class Calibrator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A map of confidences.

    Attributes
    ----------
    method : {"temperature", "isotonic"}
        ``temperature``: the log-odds divided by `temperature`.  ``isotonic``: the line through
        `confidences` and `shares`, level beyond its ends.
    temperature : float
        Above 1 the reader was too sure; 1 where the method is another.
    confidences, shares : tuple of float
        Knots of the line, increasing and not falling; empty where the method is another.
    n : int
        Answers it was fitted on.
    """

    method: Literal["temperature", "isotonic"]
    temperature: float = 1.0
    confidences: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    n: int = 0

    def __call__(self, confidence: float) -> float:
        """Return how often answers of that confidence are right, as far as the fit tells."""
        if self.method == "isotonic":
            return float(np.interp(confidence, self.confidences, self.shares))
        return float(_sigmoid(_log_odds(np.array([confidence])) / self.temperature)[0])


def fit_calibrator(confidences: Sequence[float], right: Sequence[bool]) -> Calibrator:
    """Return the calibrator that predicts best.

    Both forms are fitted on every other answer and scored (Brier) on the rest, in turn; the better one is
    fitted on all.

    Parameters
    ----------
    confidences : sequence of float
        In [0, 1], of validation charts.
    right : sequence of bool
        Of the same length.

    Raises
    ------
    MetricInputError
        If the lengths differ, a confidence is out of range, or there are fewer than `FEWEST_ANSWERS`.
    """
    said, hits = _checked(confidences, right)
    losses = {"temperature": 0.0, "isotonic": 0.0}
    even = np.arange(said.size) % 2 == 0
    for part in (even, ~even):
        for name, fit in (("temperature", fit_temperature), ("isotonic", fit_isotonic)):
            found = fit(said[part].tolist(), hits[part].astype(bool).tolist())
            told = np.array([found(value) for value in said[~part]])
            losses[name] += float(((told - hits[~part]) ** 2).sum())
    chosen = fit_temperature if losses["temperature"] <= losses["isotonic"] else fit_isotonic
    return chosen(confidences, right)


def fit_temperature(confidences: Sequence[float], right: Sequence[bool]) -> Calibrator:
    """Return the temperature of the greatest likelihood, between 1/20 and 20; errors as `fit_calibrator`."""
    said, hits = _checked(confidences, right, fewest=2)
    odds = _log_odds(said)

    def loss(log_temperature: float) -> float:
        told = np.clip(_sigmoid(odds / math.exp(log_temperature)), _EDGE, 1 - _EDGE)
        return -float((hits * np.log(told) + (1 - hits) * np.log(1 - told)).sum())

    # The loss has one valley; golden section halves its bracket until nothing is left to tell.
    low, high = -math.log(20), math.log(20)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right_ = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right_) if loss(left) <= loss(right_) else (left, high)
    return Calibrator(method="temperature", temperature=round(math.exp((low + high) / 2), 6), n=said.size)


def fit_isotonic(confidences: Sequence[float], right: Sequence[bool]) -> Calibrator:
    """Return the non-falling line nearest to the outcomes, by pooling neighbours that fall.

    Each pool of ``n`` answers with ``k`` right has the share ``(k + 1) / (n + 2)``, so that no pool is sure;
    the pools are then pooled again where these shares fall.  The line is level from the least to the greatest
    confidence of a pool, and straight between pools.  Errors as `fit_calibrator`.
    """
    said, hits = _checked(confidences, right, fewest=2)
    order = np.argsort(said, kind="stable")
    pools: list[_Pool] = []
    for value, hit in zip(said[order].tolist(), hits[order].tolist(), strict=True):
        if pools and pools[-1].high == value:
            pools[-1] = pools[-1].joined(_Pool(value, value, hit, 1))
        else:
            pools.append(_Pool(value, value, hit, 1))
    pools = _pooled(pools, smooth=0)
    pools = _pooled(pools, smooth=1)
    knots = [(end, pool.share(1)) for pool in pools for end in dict.fromkeys((pool.low, pool.high))]
    return Calibrator(
        method="isotonic",
        confidences=tuple(round(confidence, 6) for confidence, _ in knots),
        shares=tuple(round(share, 6) for _, share in knots),
        n=said.size,
    )


class _Pool(NamedTuple):
    """Answers of neighbouring confidences: the least and the greatest, how many are right, how many all."""

    low: float
    high: float
    right: float
    n: int

    def share(self, smooth: int) -> float:
        return (self.right + smooth) / (self.n + 2 * smooth)

    def joined(self, other: _Pool) -> _Pool:
        return _Pool(self.low, other.high, self.right + other.right, self.n + other.n)


def _pooled(pools: list[_Pool], *, smooth: int) -> list[_Pool]:
    found: list[_Pool] = []
    for pool in pools:
        found.append(pool)
        while len(found) > 1 and found[-2].share(smooth) >= found[-1].share(smooth):
            last = found.pop()
            found[-1] = found[-1].joined(last)
    return found


def _checked(
    confidences: Sequence[float], right: Sequence[bool], *, fewest: int = FEWEST_ANSWERS
) -> tuple[FloatArray, FloatArray]:
    said, hits = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    if said.shape != hits.shape or said.ndim != 1:
        msg = f"Confidences and outcomes must pair up, but got {said.size} and {hits.size}."
        raise MetricInputError(f"{msg} Give one outcome each.")
    if said.size < fewest:
        msg = f"A calibrator must be fitted on at least {fewest} answers, but got {said.size}."
        raise MetricInputError(f"{msg} Read more validation charts.")
    if not ((said >= 0) & (said <= 1)).all():
        raise MetricInputError("`0 <= confidence <= 1` must hold for all, but does not. Correct them.")
    return said, hits


def _log_odds(values: FloatArray) -> FloatArray:
    inside = np.clip(values, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside / (1 - inside)))


def _sigmoid(values: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-values)))
