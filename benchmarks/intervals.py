"""How often a 95 % interval of Sharpe ratio and mean holds the truth: studentised, and as plain percentiles.

Profits are drawn with a known Sharpe ratio: normal, fat-tailed with half of the periods 0 (Student's t, 4
degrees of freedom), dependent in time (a moving average), small wins and large losses, large wins and small
losses, and volatility that drifts.

`AIOPT_BENCH_INTERVALS_ROUNDS` sets the series per kind and length.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

import numpy as np

from aiopt.evaluation.arrays import FloatArray
from aiopt.evaluation.block_bootstrap import resample_ratios
from aiopt.evaluation.bootstrap import bootstrap_returns
from benchmarks._harness import Figure

ROUNDS = int(os.environ.get("AIOPT_BENCH_INTERVALS_ROUNDS", "500"))
LENGTHS = (60, 240, 1000)
SHARPE = 0.05
"""Per period, of the kinds with an edge."""


def run() -> list[Figure]:
    """Measure and return the figures."""
    figures = [Figure(name="rounds", value=ROUNDS, unit="series")]
    for name, (draw, sharpe) in KINDS.items():
        for length in LENGTHS:
            held = _held(draw, sharpe, length)
            if held["defined"] < 0.95 * ROUNDS:
                raise AssertionError(f"{name}: intervals must be defined, but of {ROUNDS} {dict(held)}")
            figures += [
                Figure(name=f"{name}_{length}_{what}", value=held[what] / ROUNDS, unit="share of series")
                for what in ("sharpe", "mean", "percentiles")
            ]
    return figures


def _held(draw: Callable[[np.random.Generator, int], FloatArray], sharpe: float, length: int) -> Counter[str]:
    rng = np.random.default_rng(length)
    held: Counter[str] = Counter()
    for seed in range(ROUNDS):
        values = draw(rng, length)
        found = bootstrap_returns(values, periods_per_year=1.0, seed=seed)
        ratios = resample_ratios(values, n_resamples=1000, block_length=found.block_length, seed=seed).ratios
        low, high = np.nanpercentile(ratios, [2.5, 97.5])
        held["defined"] += bool(np.isfinite(found.sharpe.low))
        held["sharpe"] += found.sharpe.low <= sharpe <= found.sharpe.high
        # Every kind has a standard deviation of 1.
        held["mean"] += found.mean.low <= sharpe <= found.mean.high
        held["percentiles"] += bool(low <= sharpe <= high)
    return held


def _normal(rng: np.random.Generator, n: int) -> FloatArray:
    return rng.normal(SHARPE, 1, n)


def _fat_tails(rng: np.random.Generator, n: int) -> FloatArray:
    return SHARPE + rng.standard_t(4, n) * (rng.random(n) < 0.5)


def _dependent(rng: np.random.Generator, n: int) -> FloatArray:
    shocks = rng.normal(size=n + 1)
    return SHARPE + (shocks[1:] + 0.5 * shocks[:-1]) / 1.25**0.5


def _small_wins(rng: np.random.Generator, n: int) -> FloatArray:
    return np.where(rng.random(n) < 0.8, 0.25, -1.0) * (rng.random(n) < 0.5) / 0.125**0.5


def _large_wins(rng: np.random.Generator, n: int) -> FloatArray:
    return np.where(rng.random(n) < 0.2, 4.0, -1.0) * (rng.random(n) < 0.5) / 2**0.5


def _drifting(rng: np.random.Generator, n: int) -> FloatArray:
    volatility = np.exp(np.clip(np.cumsum(rng.normal(0, 0.1, n)), -1.5, 1.5))
    return volatility * rng.standard_t(5, n)


KINDS: dict[str, tuple[Callable[[np.random.Generator, int], FloatArray], float]] = {
    "normal": (_normal, SHARPE),
    "fat_tails": (_fat_tails, SHARPE),
    "dependent": (_dependent, SHARPE),
    "small_wins": (_small_wins, 0.0),
    "large_wins": (_large_wins, 0.0),
    "drifting": (_drifting, 0.0),
}
