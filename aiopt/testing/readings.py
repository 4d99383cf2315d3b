"""Readings drawn at random, for tests of what strategies make of them: no model was asked."""

from __future__ import annotations

import numpy as np

from aiopt.bars.reading_log import MarketReading, ReadingLog, ReadingOrigin, SeenPattern
from aiopt.bars.schema import BarArrays

ORIGIN = ReadingOrigin(reader="model", model_id="drawn", model_revision="r1", prompt_version="none/1")
_BIASES, _TRENDS, _VOLATILITIES = (
    ("long", "short", "neutral"),
    ("up", "down", "sideways"),
    ("low", "normal", "high"),
)
_KINDS = ("hammer", "doji", "double_top", "bullish_engulfing")


def random_readings(
    bars: BarArrays, seed: int, *, every: int = 4, window: int = 20, latency_s: float | None = None
) -> ReadingLog:
    """Return readings of charts of bars; same arguments, same readings.

    Parameters
    ----------
    bars : BarArrays
        Charts end with their bars.
    seed : int
        Of everything read.
    every : int
        Bars from one chart's end to the next one's.
    window : int
        Bars of a chart.
    latency_s : float, optional
        Seconds to each answer.  Default: drawn, some longer than several bars.
    """
    rng = np.random.default_rng(seed)
    closes = bars.ts_open_ns + bars.timeframe.ns
    ends = closes[window - 1 :: every]
    found = []
    for end in ends.tolist():
        if rng.random() < 0.1:
            continue  # a chart without a reading
        figures = {
            name: round(float(rng.random()), 3) for name in ("confidence", "stated", "technical", "risk")
        }
        if rng.random() < 0.7:
            figures["calibrated"] = round(float(rng.random()), 3)
        bars_late = float(rng.choice([0.0, 0.02, 1.0, 1.5, 7.0]))
        late_ns = round(bars_late * bars.timeframe.ns) if latency_s is None else round(latency_s * 1e9)
        seen = [kind for kind in _KINDS if rng.random() < 0.3]
        found.append(
            MarketReading(
                ts_end_ns=end,
                known_ns=end + late_ns,
                bias=str(rng.choice(_BIASES)),
                trend=str(rng.choice(_TRENDS)),
                volatility=str(rng.choice(_VOLATILITIES)),
                figures=figures,
                patterns=tuple(SeenPattern(kind, int(rng.integers(0, window))) for kind in seen),
            )
        )
    return ReadingLog(
        instrument=bars.instrument,
        origin=ORIGIN,
        readings=tuple(found),
        chart_ends_ns=ends,
        first_ns=int(bars.ts_open_ns[0]),
        latency_s=latency_s,
    )
