"""Where an out-of-sample path earned its money: by month, session, trend and volatility.

Owns the parts.  A period's profit belongs to the part its opening lies in; a trade to the part of its entry.
What the market was like is read from bars that were over before the period, so no part knows its own outcome.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import BarSet
from aiopt.patterns.bars import Prices
from aiopt.patterns.regimes import TREND_BARS, VOLATILITY_BARS, trend_regime, volatility_regime
from aiopt.robustness.robustness_file import Part
from aiopt.robustness.walks import Path
from aiopt.strategy.session_filter import session_mask
from aiopt.strategy.spec import SessionFilter

IntArray = NDArray[np.int64]

_HOURS = {
    "London": SessionFilter(start="08:00", end="17:00", timezone="Europe/London"),
    "New York": SessionFilter(start="08:00", end="17:00", timezone="America/New_York"),
    "Tokyo": SessionFilter(start="09:00", end="18:00", timezone="Asia/Tokyo"),
}
SESSIONS = ("Tokyo", "London", "London and New York", "New York", "other hours")
"""Business hours of the places in their own time; Tokyo's are what London's leave."""

TRENDS = ("up", "sideways", "down")
VOLATILITIES = ("low", "normal", "high")

_CENTS = 2
_LOOK_BACK = max(TREND_BARS, VOLATILITY_BARS) + 20
"""Bars that regimes are read from: those of both and of the first units."""


def by_month(starts_ns: IntArray, path: Path) -> list[Part]:
    """Return the parts of a path by calendar month (UTC)."""
    months = _months(starts_ns)
    labels = np.unique(months)
    return _parts([str(label) for label in labels], np.searchsorted(labels, months), starts_ns, path)


def by_session(starts_ns: IntArray, path: Path) -> list[Part]:
    """Return the parts of a path by `SESSIONS`."""
    inside = {name: session_mask(hours, starts_ns) for name, hours in _HOURS.items()}
    place = np.full(starts_ns.size, SESSIONS.index("other hours"))
    place[inside["Tokyo"]] = SESSIONS.index("Tokyo")
    place[inside["New York"]] = SESSIONS.index("New York")
    place[inside["London"]] = SESSIONS.index("London")
    place[inside["London"] & inside["New York"]] = SESSIONS.index("London and New York")
    return _parts(SESSIONS, place, starts_ns, path)


def by_regime(starts_ns: IntArray, path: Path, regimes: tuple[IntArray, IntArray]) -> tuple[list[Part], ...]:
    """Return the parts of a path by trend and by volatility, from `regimes_at`."""
    trend, volatility = regimes
    return _parts(TRENDS, trend, starts_ns, path), _parts(VOLATILITIES, volatility, starts_ns, path)


def regimes_at(bars: BarSet, starts_ns: IntArray) -> tuple[IntArray, IntArray]:
    """Return the trend and the volatility when periods open, by the bars that are over by then.

    Parameters
    ----------
    bars : BarSet
        Of the entry's timeframe.
    starts_ns : ndarray of shape (n_periods,), int64
        Ascending.

    Returns
    -------
    tuple of two ndarrays of shape (n_periods,), int64
        Places in `TRENDS` and `VOLATILITIES`; -1 where no bar is over yet.
    """
    bid = bars.bid
    over = np.searchsorted(bid.ts_open_ns + bars.timeframe.ns, starts_ns, side="right")
    trend, volatility = np.full(starts_ns.size, -1), np.full(starts_ns.size, -1)
    known: dict[int, tuple[int, int]] = {}
    for place, stop in enumerate(over.tolist()):
        if stop == 0:
            continue
        # Through closed hours nothing changes.
        if stop not in known:
            one = bid.slice(max(0, stop - _LOOK_BACK), stop)
            prices = Prices(one.open, one.high, one.low, one.close)
            known = {
                stop: (
                    TRENDS.index(trend_regime(prices).trend),
                    VOLATILITIES.index(volatility_regime(prices)[0]),
                )
            }
        trend[place], volatility[place] = known[stop]
    return trend, volatility


def _months(ts_ns: IntArray) -> NDArray[np.datetime64]:
    return ts_ns.astype("datetime64[ns]").astype("datetime64[M]")


def _parts(labels: Sequence[str], place: IntArray, starts_ns: IntArray, path: Path) -> list[Part]:
    """Return what each part earned; periods at place -1 are in none."""
    opened = place[np.searchsorted(starts_ns, path.entries_ns, side="right") - 1]
    return [
        Part(
            label=label,
            net_pnl=round(float(path.pnl[place == number].sum()), _CENTS) + 0.0,
            trades=int((opened == number).sum()),
            periods=int((place == number).sum()),
        )
        for number, label in enumerate(labels)
    ]
