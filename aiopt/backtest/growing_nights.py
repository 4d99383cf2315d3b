"""Nights over bars that grow: the rollovers of `aiopt.backtest.swap`, known as far as time has come.

Owns how their table grows and which close each rollover is priced by.  Says the same as `Nights` does over
the finished series.
"""

from __future__ import annotations

import datetime as dt

from aiopt.backtest.money import AMOUNT_DECIMALS, Amount
from aiopt.backtest.rollover import rollovers
from aiopt.backtest.swap import Nights, SwapConfig, point_amounts, rate_on, scaled_percent
from aiopt.market.calendar import NEW_YORK
from aiopt.market.instrument import Instrument
from aiopt.utc import DAY_NS

_AHEAD_NS = 30 * DAY_NS
"""Rollovers are listed so far ahead: they are a matter of the calendar alone."""
_PERCENT_AND_SHARE = 8
"""Decimals of a rate in percent, and of the percent."""


class GrowingNights(Nights):
    """Counts and prices the nights of positions on bars that grow.

    Parameters
    ----------
    config : SwapConfig or None
        As in `Nights`.
    instrument : Instrument
        What is held.
    price_decimals : int
        As in `Nights`.

    Raises
    ------
    ConfigError
        If the tables say nothing about the instrument; at a bar, if they begin after it.
    """

    def __init__(self, config: SwapConfig | None, instrument: Instrument, price_decimals: int) -> None:
        self.charged = config is not None
        self._config, self._instrument = config, instrument
        self._ts_ns, self._nights, self._before = [], [], [0]
        self._known_to_ns: int | None = None
        self._decimals = price_decimals
        self._steps: list[int] = []
        self._close_steps = 0
        self._rates: list[tuple[int, int]] = []
        self._per_night = None
        if config is None:
            return
        self._divisor = 10 ** (price_decimals + _PERCENT_AND_SHARE) * config.day_count
        self._per_night = point_amounts(config, instrument) if config.points else self._rate_amount

    def bar_ended(self, ts_open_ns: int, end_ns: int, bid_close: float) -> None:
        """Take note of the next bar: rollovers up to the next one's end are priced by its close."""
        if self._known_to_ns is None:
            self._known_to_ns = ts_open_ns - 1
        self._reach(end_ns)
        # Rollovers before this end had the close before it as their last.
        while len(self._steps) < len(self._ts_ns) and self._ts_ns[len(self._steps)] < end_ns:
            first = not self._steps and not self._close_steps
            self._steps.append(self._in_steps(bid_close) if first else self._close_steps)
        self._close_steps = self._in_steps(bid_close)

    def count(self, entry_ts_ns: int, exit_ts_ns: int) -> int:
        """Return the nights between two fills; a triple rollover counts three."""
        self._reach(exit_ts_ns)
        return super().count(entry_ts_ns, exit_ts_ns)

    def bookings(
        self, side: int, units: float, entry_ts_ns: int, exit_ts_ns: int
    ) -> list[tuple[int, Amount]]:
        """Return time and amount (quote currency, positive is received) of every rollover held over."""
        self._reach(exit_ts_ns)
        return super().bookings(side, units, entry_ts_ns, exit_ts_ns)

    def _in_steps(self, price: float) -> int:
        return round(price * 10**self._decimals)

    def _reach(self, ts_ns: int) -> None:
        """List the rollovers up to a time."""
        known = self._known_to_ns
        if known is None or ts_ns <= known:
            return
        until = ts_ns + _AHEAD_NS
        triple = "wednesday" if self._config is None else self._config.triple_day
        times, nights = rollovers(
            known + 1, until, triple_day=triple, always_open=self._instrument.always_open
        )
        for at, number in zip(times.tolist(), nights.tolist(), strict=True):
            self._ts_ns.append(at)
            self._nights.append(number)
            self._before.append(self._before[-1] + number)
            if self._config is not None and self._config.rates:
                date = dt.datetime.fromtimestamp(at // 10**9, NEW_YORK).date().isoformat()
                pair = (self._instrument.base, self._instrument.quote)
                base, quote = (rate_on(date, self._config, name) for name in pair)
                self._rates.append((base, quote))
        self._known_to_ns = until

    def _rate_amount(self, side: int, index: int) -> tuple[int, int]:
        """Return the amount per unit and night of a rollover as a fraction."""
        assert self._config is not None
        base, quote = self._rates[index]
        percent = side * (base - quote) - scaled_percent(self._config.markup_percent)
        steps = self._steps[index] if index < len(self._steps) else self._close_steps
        return percent * steps * 10**AMOUNT_DECIMALS, self._divisor
