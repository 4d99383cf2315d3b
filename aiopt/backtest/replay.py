"""Bars replayed as quotes along each bar's price path.  Knows nothing of signals' meaning or of results.

One bar becomes four quotes, bid and ask together::

    open + 2 ns     open
    close - 3 ns    first extreme, second extreme
    close - 1 ns    close

The path is open, high, low, close if the bid bar's high is at most as far from its open as its low is, else
open, low, high, close; on equal distance the high comes first (as in PineTS; NautilusTrader's own
`bar_adaptive_high_low_ordering` takes the low, TradingView documents no rule).  Distances are compared in
whole price steps, so float noise decides nothing.

`full_replay` feeds every bar.  `sparse_replay` feeds the bars on which something can happen: the bar after a
signal the strategy will act on, the first bar whose range reaches its stop or target, and the bar after a
close that may have ruined the account.  On all other bars no order is in the market or none can be reached,
so leaving them out changes no fill; tests hold the two replays equal.  The engine pulls the next chunk when
it takes the last quote of the current one: a bar's close, which reaches nothing its extremes have not, so the
strategy's state is final by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from nautilus_trader.model.data import Bar, BarType, QuoteTick
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import FIXED_PRECISION
from numpy.typing import NDArray

from aiopt.backtest.boundaries import Boundaries
from aiopt.backtest.execution import PathFillModel
from aiopt.backtest.moving_exits import MovingExits
from aiopt.backtest.strategy import SpecStrategy
from aiopt.backtest.strategy_orders import FLAT, LONG
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.errors import DataError
from aiopt.strategy.signals import SignalArrays

OPEN_NS = 2
"""The opening quote comes this long after the bar's opening time: market orders travel 1 ns."""
EXTREMES_NS, FLATTEN_NS, CLOSE_NS = -3, -2, -1
"""Offsets to the bar's closing time."""

_SEARCH_BARS = 256
_TOLERANCE = 1e-7
"""A fraction of a step: replaying or deciding on one bar too many does no harm."""
_NAMES = ("open", "high", "low", "close")
_QUOTE_SIZE = 10**FIXED_PRECISION
"""One unit, raw: quoted sizes are not read, see `PathFillModel`."""


class QuotePath:
    """Makes the quotes of any bar of a bar set.

    Parameters
    ----------
    bars : BarSet
        Bid and ask bars.
    decimals : int
        Price decimals of the engine's instrument.

    Raises
    ------
    DataError
        If a price has more decimals than that.
    """

    def __init__(self, bars: BarSet, instrument_id: InstrumentId, decimals: int) -> None:
        self.bars = bars
        self.n_bars = len(bars)
        self._instrument_id = instrument_id
        self._decimals = decimals
        bid = _whole_steps(bars.bid, decimals)
        ask = bid if bars.single_price else _whole_steps(bars.ask, decimals)
        self._bid = {name: values.tolist() for name, values in bid.items()}
        self._ask = self._bid if bars.single_price else {name: v.tolist() for name, v in ask.items()}
        up = np.abs(bid["high"] - bid["open"]) <= np.abs(bid["open"] - bid["low"])
        self._high_first = up.tolist()
        self._ts_open_ns = bars.bid.ts_open_ns.tolist()
        self._scale = 10 ** (FIXED_PRECISION - decimals)

    def open_ts_ns(self, bar: int) -> int:
        """Return the stamp of a bar's opening quote."""
        return int(self._ts_open_ns[bar]) + OPEN_NS

    def close_ts_ns(self, bar: int) -> int:
        """Return a bar's closing time."""
        return int(self._ts_open_ns[bar]) + self.bars.timeframe.ns

    def quote(self, bar: int, name: str, ts_ns: int) -> QuoteTick:
        """Return bid and ask at a bar's ``"open"``, ``"high"``, ``"low"`` or ``"close"``."""
        decimals, scale = self._decimals, self._scale
        return QuoteTick.from_raw(
            self._instrument_id,
            self._bid[name][bar] * scale,
            self._ask[name][bar] * scale,
            decimals,
            decimals,
            _QUOTE_SIZE,
            _QUOTE_SIZE,
            0,
            0,
            ts_ns,
            ts_ns,
        )

    def quotes(self, bar: int) -> list[Any]:
        """Return the four quotes of a bar, in the order of its path."""
        close_ts_ns = self.close_ts_ns(bar)
        first, second = ("high", "low") if self._high_first[bar] else ("low", "high")
        return [
            self.quote(bar, "open", self.open_ts_ns(bar)),
            self.quote(bar, first, close_ts_ns + EXTREMES_NS),
            self.quote(bar, second, close_ts_ns + EXTREMES_NS),
            self.quote(bar, "close", close_ts_ns + CLOSE_NS),
        ]

    def nautilus_bars(self, bar_type: BarType) -> list[Bar]:
        """Return the bid bars, stamped with their closing times, for strategies that subscribe to them."""
        bid = self.bars.bid
        close_ts_ns = bid.ts_open_ns.astype(np.uint64) + np.uint64(self.bars.timeframe.ns)
        # Copies, as arrays read from Parquet are read-only and Nautilus asks for writable ones.
        columns = [np.array(getattr(bid, name)) for name in _NAMES]
        columns.append(np.floor(bid.volume))
        return Bar.from_raw_arrays_to_list(bar_type, self._decimals, 0, *columns, close_ts_ns, close_ts_ns)


def _whole_steps(bars: BarArrays, decimals: int) -> dict[str, NDArray[np.int64]]:
    """Return prices as whole multiples of 10**-decimals."""
    steps = {}
    for name in _NAMES:
        scaled = getattr(bars, name) * 10**decimals
        whole = np.rint(scaled)
        wrong = np.flatnonzero(np.abs(scaled - whole) > 1e-3)
        if wrong.size:
            row = int(wrong[0])
            price = float(getattr(bars, name)[row])
            msg = (
                f"Prices may have at most {decimals} decimals, but {name} of the {bars.price} bar {row} is "
                f"{price!r}. Round the bars to the instrument's tick."
            )
            raise DataError(msg, row=row)
        steps[name] = whole.astype(np.int64)
    return steps


def full_replay(
    path: QuotePath,
    strategy: SpecStrategy,
    fills: PathFillModel,
    boundaries: Boundaries,
    bar_type: BarType,
) -> Iterator[list[Any]]:
    """Yield the quotes of every bar and the bar itself."""
    yield [path.quote(0, "open", path.open_ts_ns(0) - OPEN_NS)]
    for bar, nautilus_bar in enumerate(path.nautilus_bars(bar_type)):
        fills.bar, fills.open_ts_ns = bar, path.open_ts_ns(bar)
        if bar in boundaries.flatten_bars:
            strategy.schedule_flatten(bar, path.close_ts_ns(bar) + FLATTEN_NS)
        yield [*path.quotes(bar), nautilus_bar]


def sparse_replay(
    path: QuotePath,
    strategy: SpecStrategy,
    fills: PathFillModel,
    boundaries: Boundaries,
    signals: SignalArrays,
) -> Iterator[list[Any]]:
    """Yield the quotes of the bars on which an order can act."""
    yield [path.quote(0, "open", path.open_ts_ns(0) - OPEN_NS)]
    actions = _Actions(path.bars, signals, boundaries)
    bar = 0
    while True:
        decision, following = actions.after(bar, strategy)
        if following >= path.n_bars:
            return
        bar = following
        if decision is not None:
            strategy.schedule_decision(decision, path.close_ts_ns(decision))
        fills.bar, fills.open_ts_ns = bar, path.open_ts_ns(bar)
        if bar in boundaries.flatten_bars:
            strategy.schedule_flatten(bar, path.close_ts_ns(bar) + FLATTEN_NS)
        yield path.quotes(bar)


class _Actions:
    """Finds the next bar on which something can happen."""

    def __init__(self, bars: BarSet, signals: SignalArrays, boundaries: Boundaries) -> None:
        long, short = signals.entry_long & boundaries.may_enter, signals.entry_short & boundaries.may_enter
        self._bars = bars
        self._n_bars = len(bars)
        self._entries = np.flatnonzero(long | short)
        adds = signals.pyramiding > 1  # then signals of the held side act too
        self._act_long = np.flatnonzero(short | signals.exit_long | (long & adds))
        self._act_short = np.flatnonzero(long | signals.exit_short | (short & adds))
        self._flatten_bar = boundaries.flatten_bar

    def after(self, bar: int, strategy: SpecStrategy) -> tuple[int | None, int]:
        """Return the bar to decide on (None: none) and the bar to replay next (`n_bars`: none).

        `bar` has been replayed but its close not yet decided on.
        """
        side = strategy.side
        last = int(self._flatten_bar[bar])
        if side == FLAT or bar == last:  # on the last bar the close, still to come, flattens
            # A ruined account enters nothing before its segment's end.
            decision = self._next(self._entries, last if strategy.account.ruined else bar)
            return decision, decision + 1
        moving = strategy.moving
        if strategy.waits_for_close:
            decision = bar  # stop or target is armed at this close
        else:
            decision = self._next(self._act_long if side == LONG else self._act_short, bar)
            if moving is not None:
                decision = min(decision, moving.due_bar)
        until = min(decision + 1, last, self._n_bars)
        moves = moving is not None and moving.plan.moves
        touched = self._touch(strategy, bar + 1, until, moving if moves else None)
        following = min(touched, until)
        lost = strategy.first_loss(bar, following)
        if lost < following:
            return lost, lost + 1
        if moves:
            return following - 1, following  # at that close the stop is put where it lies on the bar
        return (decision if following == decision + 1 else None), following

    def _next(self, bars: NDArray[np.int64], bar: int) -> int:
        position = int(np.searchsorted(bars, bar))
        return int(bars[position]) if position < bars.size else self._n_bars

    def _touch(self, strategy: SpecStrategy, start: int, end: int, moving: MovingExits | None) -> int:
        """Return the first bar in [start, end) whose range reaches the stop or target, else `end`."""
        prices = self._bars.bid if strategy.side == LONG else self._bars.ask
        stop: float | NDArray[np.float64] = strategy.stop_price
        target = strategy.target_price
        while start < end:
            part = slice(start, min(end, start + _SEARCH_BARS))
            if moving is not None:
                stop = moving.stops_on(part.start, part.stop)
            lower, upper = (stop, target) if strategy.side == LONG else (target, stop)
            reached = (prices.low[part] <= lower + _TOLERANCE) | (prices.high[part] >= upper - _TOLERANCE)
            if reached.any():
                return start + int(reached.argmax())
            start = part.stop
        return end
