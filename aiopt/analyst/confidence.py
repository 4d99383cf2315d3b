"""How sure an analysis is: the model's part, the technical part, the risk part, and the vote.

Owns the formula and nothing else::

    confidence = agreement × risk × (stated + technical) / 2

with every part in [0, 1].  It says how well a reading is supported, not how likely it is to earn money:
`aiopt analyst eval` measures how far it is calibrated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from aiopt.analyst.analysis import Analysis, AnalysisRequest, Bias, ConfidenceParts, VisiblePattern
from aiopt.bars.schema import BarArrays
from aiopt.indicators import ema, macd, rsi
from aiopt.patterns import Prices, trend_regime, volatility_regime
from aiopt.utc import DAY_NS

UNKNOWN = 0.5
"""Technical and risk part of a request without bars."""

FULL_QUALITY_BARS = 50
"""Fewer bars than this lower the risk part in proportion."""


def technical_part(prices: Prices, bias: Bias) -> float:
    """Return the agreement of a bias with four plain measurements.

    Each gives +1 (up), -1 (down) or 0: the trend regime; EMA(20) against EMA(50), further apart than 0.1
    units; RSI(14) above 55 or below 45; the sign of the MACD(12, 26, 9) histogram.  With ``m`` their mean
    (what lacks bars counts 0): ``(1 + m) / 2`` for long, ``(1 - m) / 2`` for short, ``1 - |m|`` for
    neutral.

    Parameters
    ----------
    prices : Prices
        At least one bar.
    bias : {"long", "short", "neutral"}
        What is judged.

    Returns
    -------
    float
        In [0, 1].
    """
    mean = sum(directions(prices).values()) / 4
    if bias == "neutral":
        return 1.0 - abs(mean)
    return (1.0 + mean) / 2 if bias == "long" else (1.0 - mean) / 2


def directions(prices: Prices) -> dict[str, int]:
    """Return what each measurement of `technical_part` says: 1 up, -1 down, 0 neither."""
    close, unit = prices.close, float(prices.unit[-1])
    apart = float(np.asarray(ema(close, 20))[-1] - np.asarray(ema(close, 50))[-1])
    strength = float(np.asarray(rsi(close, 14))[-1])
    histogram = float(np.asarray(macd(close, 12, 26, 9)[2])[-1])
    # Comparisons with NaN are false: what has no value yet says nothing.
    return {
        "trend": {"up": 1, "down": -1, "sideways": 0}[trend_regime(prices).trend],
        "averages": int(apart > 0.1 * unit) - int(apart < -0.1 * unit),
        "rsi": int(strength > 55) - int(strength < 45),
        "macd": int(histogram > 0) - int(histogram < 0),
    }


def risk_part(bars: BarArrays, prices: Prices, spread: float | None) -> float:
    """Return how little stands in the way of trusting any reading of these bars.

    The product of

    - volatility: 1 up to 1.5 times the usual range, then ``1.5 / ratio``, at least 0.4;
    - spread: ``1 - spread / unit``, at least 0.2; 1 where unknown;
    - data: ``1 - share of missing and flat bars``, at least 0.2, times ``min(1, bars / 50)``.  A stretch of a
      day or more without bars is a closed market, not missing data.

    Returns
    -------
    float
        In (0, 1].
    """
    _, ratio = volatility_regime(prices)
    volatility = 1.0 if ratio <= 1.5 else max(0.4, 1.5 / ratio)
    unit = float(prices.unit[-1])
    cost = 1.0
    if spread:
        cost = max(0.2, 1.0 - spread / unit) if unit > 0 else 0.2
    gaps = np.diff(bars.ts_open_ns)
    missing = int((gaps[gaps < DAY_NS] // bars.timeframe.ns - 1).clip(min=0).sum())
    flat = int((bars.high == bars.low).sum())
    faults = missing / (len(bars) + missing) + flat / len(bars)
    data = max(0.2, 1.0 - faults) * min(1.0, len(bars) / FULL_QUALITY_BARS)
    return volatility * cost * data


def combined(analysis: Analysis, request: AnalysisRequest, *, agreement: float = 1.0) -> Analysis:
    """Return an analysis whose confidence is combined from all parts.

    Parameters
    ----------
    analysis : Analysis
        `ConfidenceParts.stated` is taken from its parts.
    request : AnalysisRequest
        What was read.
    agreement : float
        Share of the ensemble with this bias.
    """
    technical = risk = UNKNOWN
    if request.bars is not None and request.prices is not None:
        technical = technical_part(request.prices, analysis.bias)
        risk = risk_part(request.bars, request.prices, request.spread)
    parts = ConfidenceParts(
        stated=analysis.confidence_parts.stated, technical=technical, risk=risk, agreement=agreement
    )
    confidence = round(agreement * risk * (parts.stated + technical) / 2, 6)
    return msgspec.structs.replace(analysis, confidence=confidence, confidence_parts=parts)


def vote(readings: Sequence[Analysis], request: AnalysisRequest) -> Analysis:
    """Return what several readers say together.

    The most frequent bias wins; if two or more are equally frequent the bias is neutral.  ``agreement`` is
    the share of the most frequent bias.  Of those who hold the winning bias (all, after a tie) the first
    gives levels and rationale, ``stated`` is their mean, trend and volatility their most frequent.  A
    pattern is kept if at least half of all readers name it with overlapping bars.

    Parameters
    ----------
    readings : sequence of Analysis
        At least one, in the order of the ensemble's members.
    request : AnalysisRequest
        What was read.
    """
    if len(readings) == 1:
        return combined(readings[0], request)
    counts = Counter(reading.bias for reading in readings).most_common()
    tied = len(counts) > 1 and counts[0][1] == counts[1][1]
    bias: Bias = "neutral" if tied else counts[0][0]
    winners = list(readings) if tied else [reading for reading in readings if reading.bias == bias]
    first = winners[0]
    stated = sum(reading.confidence_parts.stated for reading in winners) / len(winners)
    patterns = tuple(
        pattern
        for pattern in first.patterns
        if 2 * sum(_names(reading, pattern) for reading in readings) >= len(readings)
    )
    regime = type(first.regime)(
        Counter(reading.regime.trend for reading in winners).most_common(1)[0][0],
        Counter(reading.regime.volatility for reading in winners).most_common(1)[0][0],
    )
    together = msgspec.structs.replace(
        first,
        bias=bias,
        regime=regime,
        patterns=patterns,
        model_id=_joined(reading.model_id for reading in readings),
        model_revision=_joined(reading.model_revision for reading in readings),
        prompt_version=_joined(reading.prompt_version for reading in readings),
        confidence_parts=msgspec.structs.replace(first.confidence_parts, stated=stated),
    )
    return combined(together, request, agreement=counts[0][1] / len(readings))


def _names(reading: Analysis, pattern: VisiblePattern) -> bool:
    """Tell whether a reading has a pattern of the same kind that shares a bar with `pattern`."""
    return any(
        other.kind == pattern.kind
        and other.first_bar <= pattern.last_bar
        and pattern.first_bar <= other.last_bar
        for other in reading.patterns
    )


def _joined(values: Iterable[str]) -> str:
    return ",".join(dict.fromkeys(value for value in values if value))
