"""One instrument as the paper venue sees it: its last quote in price steps, what that offers, its rollovers.

Owns which quotes are refused.  Knows no orders, positions or money.
"""

from __future__ import annotations

import math

from aiopt.backtest.pricing import spread_steps
from aiopt.backtest.rollover import TripleDay, rollovers
from aiopt.errors import DataError
from aiopt.live.paper.venue_state import MarketState
from aiopt.market.instrument import Instrument, instrument
from aiopt.utc import DAY_NS, stamp_text

DECIMALS_BEYOND_TICK = 1
"""Prices have one decimal more than the instrument's, as in a backtest: stops may lie between two ticks."""
_WEEK_NS = 7 * DAY_NS
_GRID_TOLERANCE = 1e-3
"""Of a price step."""


class Market:
    """The last quote of an instrument.

    Parameters
    ----------
    traded : Instrument
        What is quoted.
    extra_spread_pips : float
        By which every ask is raised.
    offered : int or None
        Units each side of a quote offers; None: no limit.
    triple_day : str
        Weekday whose rollover counts three nights.

    Attributes
    ----------
    bid, ask : int
        In price steps, the ask raised; 0 before the first quote.
    ts_ns : int
        Stamp of the quote; -1 before the first.
    passed : list of (int, int, int)
        Rollovers since they were last forgotten: time, nights, bid before.
    """

    def __init__(
        self, traded: Instrument, extra_spread_pips: float, offered: int | None, triple_day: TripleDay
    ) -> None:
        self.instrument = traded
        self.decimals = traded.price_precision + DECIMALS_BEYOND_TICK
        self.scale = 10**self.decimals
        self.tick = 10**DECIMALS_BEYOND_TICK
        self.bid = self.ask = 0
        self.ts_ns = -1
        self.passed: list[tuple[int, int, int]] = []
        self._extra = spread_steps(traded, extra_spread_pips) * self.tick if extra_spread_pips else 0
        self._offered = offered
        self._left = [0, 0]
        self._triple_day = triple_day
        self._next_rollover_ns = -1

    @property
    def is_quoted(self) -> bool:
        """Whether there has been a quote."""
        return self.ts_ns >= 0

    def checked(self, ts_ns: int, bid: float, ask: float) -> tuple[int, int]:
        """Return a quote in price steps.

        Parameters
        ----------
        ts_ns : int
            UTC.
        bid, ask : float
            Quote currency.

        Raises
        ------
        DataError
            If it is no quote of this market.
        """
        low, high = self.instrument.plausible_low, self.instrument.plausible_high
        if not (low <= bid <= ask <= high and ts_ns >= self.ts_ns):  # refuses NaN too
            raise DataError(self._refusal(ts_ns, bid, ask))
        scaled_bid, scaled_ask = bid * self.scale, ask * self.scale
        steps = round(scaled_bid), round(scaled_ask)
        if abs(scaled_bid - steps[0]) > _GRID_TOLERANCE or abs(scaled_ask - steps[1]) > _GRID_TOLERANCE:
            msg = (
                f"Quotes of {self.instrument.symbol} have at most {self.decimals} decimals, but got {bid=}, "
            )
            raise DataError(f"{msg}{ask=} at {stamp_text(ts_ns)}. Round them to the instrument's tick.")
        return steps

    def passes_rollover(self, ts_ns: int) -> bool:
        """Return whether a rollover lies between the last quote and a time, and take note of it."""
        if ts_ns < self._next_rollover_ns:
            return False
        self._next_rollover_ns = self._rollover_after(ts_ns)
        if not self.is_quoted:
            return False
        times, nights = rollovers(
            self.ts_ns + 1, ts_ns, triple_day=self._triple_day, always_open=self.instrument.always_open
        )
        rows = zip(times.tolist(), nights.tolist(), strict=True)
        self.passed += [(when, count, self.bid) for when, count in rows]
        return bool(times.size)

    def take(self, ts_ns: int, steps: tuple[int, int]) -> None:
        """Make a checked quote the last one."""
        self.ts_ns = ts_ns
        self.bid, self.ask = steps[0], steps[1] + self._extra
        if self._offered is not None:
            self._left = [self._offered, self._offered]

    def price(self, side: int) -> int:
        """Return what a buyer (1) pays or a seller (-1) gets, in price steps."""
        return self.ask if side > 0 else self.bid

    def mark(self, side: int) -> float:
        """Return what a long (1) or a short (-1) position would leave at, quote currency."""
        return (self.bid if side > 0 else self.ask) / self.scale

    def offer(self, side: int, units: int) -> int:
        """Return how many of some units the quote still offers, and take them."""
        if self._offered is None:
            return units
        place = 0 if side > 0 else 1
        taken = min(units, self._left[place])
        self._left[place] -= taken
        return taken

    @property
    def is_limited(self) -> bool:
        """Whether quotes offer a limited number of units."""
        return self._offered is not None

    def level(self, price: float) -> int | None:
        """Return a price of an order in price steps, None if it is none."""
        if not math.isfinite(price) or price <= 0:
            return None
        scaled = price * self.scale
        steps = round(scaled)
        return steps if abs(scaled - steps) <= _GRID_TOLERANCE else None

    def state(self) -> MarketState:
        """Return it as it is kept."""
        return MarketState(
            instrument=self.instrument.symbol,
            ts_ns=self.ts_ns,
            bid=self.bid,
            ask=self.ask - self._extra if self.is_quoted else 0,
            offered=None if self._offered is None else (self._left[0], self._left[1]),
            rollovers=tuple(self.passed),
        )

    def load(self, state: MarketState) -> None:
        """Go on from what was kept."""
        self.ts_ns, self.bid = state.ts_ns, state.bid
        if self.is_quoted:
            self.ask = state.ask + self._extra
            self._next_rollover_ns = self._rollover_after(state.ts_ns)
        if state.offered is not None:
            self._left = list(state.offered)
        self.passed = list(state.rollovers)

    def _refusal(self, ts_ns: int, bid: float, ask: float) -> str:
        traded = self.instrument
        symbol, low, high = traded.symbol, traded.plausible_low, traded.plausible_high
        if not (math.isfinite(bid) and math.isfinite(ask)):
            rule, remedy = "Bid and ask of a quote are numbers", "Drop the quote."
        elif bid > ask:
            rule, remedy = "`bid <= ask` must hold", "Drop the crossed quote."
        elif not (low <= bid and ask <= high):
            rule = f"A price of {symbol} lies between {low:g} and {high:g}"
            remedy = "Drop the quote, or mend its scale or instrument."
        else:
            rule = f"Stamps of {symbol} do not go back (the last quote is of {stamp_text(self.ts_ns)})"
            remedy = "Drop the late quote."
        return f"{rule}, but got {bid=}, {ask=} at {stamp_text(ts_ns)}. {remedy}"

    def _rollover_after(self, ts_ns: int) -> int:
        always = self.instrument.always_open
        times, _ = rollovers(ts_ns + 1, ts_ns + _WEEK_NS, triple_day="none", always_open=always)
        return int(times[0])


def market_of(symbol: str, extra_spread_pips: float, offered: int | None, triple_day: TripleDay) -> Market:
    """Return the market of a symbol.

    Raises
    ------
    DataError
        If there is no such instrument.
    ConfigError
        If the wider spread is no whole number of its price steps.
    """
    return Market(instrument(symbol), extra_spread_pips, offered, triple_day)
