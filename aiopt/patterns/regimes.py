"""Trend and volatility regime of the last bars, and price levels where swings turned.

Owns the formulas and thresholds.  Knows nothing of patterns' kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from aiopt.errors import MetricInputError
from aiopt.patterns.bars import Prices
from aiopt.patterns.pivots import Pivot

Trend = Literal["up", "down", "sideways"]
Volatility = Literal["low", "normal", "high"]

TREND_BARS = 60
VOLATILITY_BARS = 100


class TrendRegime(msgspec.Struct, frozen=True):
    """Direction of the last bars.

    Attributes
    ----------
    trend : {"up", "down", "sideways"}
        ``"sideways"`` unless `strength` is at least 0.5 in size and `move` at least 3.
    strength : float
        In [-1, 1]: the sign of the fitted slope times the share of variance it explains (R²).
    move : float
        Rise of the fitted line from first to last bar, in units of `Prices.unit` of the last bar.
    """

    trend: Trend
    strength: float
    move: float


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """A price at which swings turned.

    Attributes
    ----------
    price : float
        Mean of the pivots' prices, quote currency.
    kind : {"support", "resistance"}
        Below or above the last close.
    touches : int
        Pivots in the cluster.
    strength : float
        In (0, 1]: touches over the largest number of touches of any level.
    """

    price: float
    kind: Literal["support", "resistance"]
    touches: int
    strength: float


def trend_regime(prices: Prices, length: int = TREND_BARS) -> TrendRegime:
    """Return the direction of the last `length` closes, of all if there are fewer, by least squares.

    A random walk often looks like a trend by this measure (and to people); it describes, it does not predict.

    Raises
    ------
    MetricInputError
        Without bars.
    """
    _need_bars(prices)
    close = prices.close[-length:]
    unit = float(prices.unit[-1])
    if close.size < 3 or unit == 0.0:
        return TrendRegime("sideways", 0.0, 0.0)
    x = np.arange(close.size) - (close.size - 1) / 2
    y = close - close.mean()
    total = float(y @ y)
    covariance = float(x @ y)
    if total == 0.0:
        return TrendRegime("sideways", 0.0, 0.0)
    spread = float(x @ x)
    strength = min(1.0, covariance * covariance / (spread * total))
    move = covariance / spread * (close.size - 1) / unit
    trend: Trend = "sideways"
    if strength >= 0.5 and abs(move) >= 3.0:
        trend = "up" if move > 0 else "down"
    return TrendRegime(trend, float(np.copysign(strength, covariance)), move)


def volatility_regime(prices: Prices, length: int = VOLATILITY_BARS) -> tuple[Volatility, float]:
    """Return the volatility of the last bars and its ratio to what was usual.

    The ratio is the last `Prices.unit` over the median of the last `length` units: ``"high"`` from 1.5 on,
    ``"low"`` up to 1 / 1.5.

    Raises
    ------
    MetricInputError
        Without bars.
    """
    _need_bars(prices)
    usual = float(np.median(prices.unit[-length:]))
    if usual == 0.0:
        return "low", 0.0
    ratio = float(prices.unit[-1]) / usual
    if ratio >= 1.5:
        return "high", ratio
    return ("low" if ratio <= 1 / 1.5 else "normal"), ratio


def price_levels(prices: Prices, pivots: Sequence[Pivot], *, limit: int = 6) -> list[Level]:
    """Return the strongest levels, in order of price.

    Pivot prices are sorted; neighbours closer than 0.6 units of the last bar belong to one level.  Of equally
    strong levels those nearer to the last close come first.

    Parameters
    ----------
    prices : Prices
        The bars the pivots were found in.
    pivots : sequence of Pivot
        Confirmed ones.
    limit : int
        Most levels returned.

    Raises
    ------
    MetricInputError
        Without bars.
    """
    _need_bars(prices)
    unit, last = float(prices.unit[-1]), float(prices.close[-1])
    clusters: list[list[float]] = []
    for price in sorted(pivot.price for pivot in pivots):
        if clusters and price - clusters[-1][-1] <= 0.6 * unit:
            clusters[-1].append(price)
        else:
            clusters.append([price])
    most = max((len(cluster) for cluster in clusters), default=1)
    levels = [
        Level(
            price=(price := sum(cluster) / len(cluster)),
            kind="support" if price <= last else "resistance",
            touches=len(cluster),
            strength=len(cluster) / most,
        )
        for cluster in clusters
    ]
    levels.sort(key=lambda level: (-level.touches, abs(level.price - last)))
    return sorted(levels[:limit], key=lambda level: level.price)


def _need_bars(prices: Prices) -> None:
    if len(prices) == 0:
        raise MetricInputError("A regime needs at least one bar, but got none. Give some bars.")
