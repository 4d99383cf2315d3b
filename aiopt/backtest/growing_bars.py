"""Bars that arrive one after the other, with the interface of a `BarSet` as far as strategies read it.

Owns the newest bars of one series and their numbers.  Numbers count from the first bar ever added, also when
the oldest have been forgotten, so a series may run for years in the same memory.  Knows nothing of where bars
come from, of strategies or of NautilusTrader.
"""

from __future__ import annotations

from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from aiopt.errors import BacktestError
from aiopt.indicators.wall_clock import trading_days
from aiopt.market.instrument import Instrument
from aiopt.timeframe import Timeframe

DEFAULT_KEPT = 4_096
"""Bars that can still be looked at: a moving stop looks back to the last close it was told of."""


class BarRow(NamedTuple):
    """One bar of both sides: prices in quote currency, volumes in units of the base currency, UTC times."""

    ts_open_ns: int
    bid_open: float
    bid_high: float
    bid_low: float
    bid_close: float
    bid_volume: float
    ask_open: float
    ask_high: float
    ask_low: float
    ask_close: float
    ask_volume: float
    ticks: int


class GrowingColumn:
    """One column: its elements are asked for by the numbers of their bars.

    Parameters
    ----------
    kept : int
        Newest elements that can be asked for, at least.
    kind : type
        Of the elements.
    """

    __slots__ = ("_behind", "_first", "_kept", "_room")

    def __init__(self, kept: int, kind: Any) -> None:
        self._kept = kept
        self._room = np.empty(2 * kept, dtype=kind)
        self._first = self._behind = 0

    def __len__(self) -> int:
        return self._behind

    def append(self, value: float) -> None:
        """Add the next element."""
        if self._behind - self._first == self._room.size:
            self._room[: self._kept] = self._room[self._kept :]
            self._first += self._kept
        self._room[self._behind - self._first] = value
        self._behind += 1

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> NDArray[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        """Return the element of a bar, or those of consecutive bars (a slice of two numbers)."""
        if isinstance(index, slice):
            start, stop = int(index.start), min(int(index.stop), self._behind)
            self._check(start)
            return self._room[start - self._first : max(start, stop) - self._first]
        self._check(index)
        if index >= self._behind:
            raise IndexError(f"Bar {index} is to come: there are {self._behind} bars.")
        return self._room[index - self._first]

    def _check(self, number: int) -> None:
        if not self._first <= number:
            msg = f"Bars up to {self._first - 1} are forgotten, but bar {number} was asked for."
            raise BacktestError(f"{msg} Keep more of them.")


class GrowingSide:
    """One price side, as `aiopt.bars.schema.BarArrays` has it; see there."""

    __slots__ = ("close", "high", "low", "open", "price", "ts_open_ns", "volume")

    def __init__(self, price: str, ts_open_ns: GrowingColumn, kept: int) -> None:
        self.price = price
        self.ts_open_ns = ts_open_ns
        self.open, self.high, self.low, self.close, self.volume = (
            GrowingColumn(kept, np.float64) for _ in range(5)
        )

    def append(self, open: float, high: float, low: float, close: float, volume: float) -> None:
        """Add a bar."""
        self.open.append(open)
        self.high.append(high)
        self.low.append(low)
        self.close.append(close)
        self.volume.append(volume)


class GrowingBars:
    """The bid and ask bars of one instrument and timeframe, as many as have ended by now.

    Parameters
    ----------
    instrument : Instrument
        What is traded.
    timeframe : Timeframe
        Bar length.
    kept : int
        Newest bars that can be looked at, at least.
    """

    def __init__(self, instrument: Instrument, timeframe: Timeframe, *, kept: int = DEFAULT_KEPT) -> None:
        self.instrument, self.timeframe = instrument, timeframe
        times = GrowingColumn(kept, np.int64)
        self.bid, self.ask = GrowingSide("bid", times, kept), GrowingSide("ask", times, kept)
        self.last: BarRow | None = None
        """The bar that ended last."""
        self._present: tuple[int, int] | None = None
        self._days: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.bid.close)

    def __repr__(self) -> str:
        return f"GrowingBars({self.instrument.symbol}, {self.timeframe.label}, {len(self)} bars)"

    @property
    def price_step(self) -> float:
        """The grid the prices lie on."""
        return self.instrument.tick_size

    @property
    def end_ns(self) -> int:
        """When the last bar ended; raises where there is none."""
        if self.last is None:
            raise BacktestError("There is no bar yet. Warm the series up, or wait for its first bar.")
        return self.last.ts_open_ns + self.timeframe.ns

    def append(self, row: BarRow) -> None:
        """Add the next bar.

        Raises
        ------
        BacktestError
            If it does not open after the bar before it.
        """
        if self.last is not None and row.ts_open_ns <= self.last.ts_open_ns:
            msg = f"Bars must follow each other in time, but {row.ts_open_ns} ns follows "
            raise BacktestError(f"{msg}{self.last.ts_open_ns} ns. Feed each bar once, in order.")
        self.bid.ts_open_ns.append(row.ts_open_ns)
        self.bid.append(*row[1:6])
        self.ask.append(*row[6:11])
        self.last = row

    # --- calendar of the bars, the present one included ---------------------------------------------------

    def bar_of(self, ts_ns: int) -> int:
        """Return the bar a moment lies in; one behind the last end lies in the bar that is being formed."""
        count = len(self)
        if self.last is None or ts_ns >= self.end_ns:
            length = self.timeframe.ns
            self._present = count, ts_ns // length * length
            return count
        times = self.bid.ts_open_ns
        first = max(0, count - DEFAULT_KEPT // 2)
        found = first + int(np.searchsorted(times[first:count], ts_ns, side="right")) - 1
        return max(found, 0)

    def trading_day(self, bar: int) -> int:
        """Return the trading day of a bar, see `aiopt.indicators.wall_clock.trading_days`."""
        if self._days is None or self._days[0] != bar:
            opened = self._opened(bar)
            self._days = bar, int(trading_days(np.array([opened], dtype=np.int64))[0])
        return self._days[1]

    def _opened(self, bar: int) -> int:
        if bar < len(self):
            return int(self.bid.ts_open_ns[bar])
        if self._present is None or self._present[0] != bar:
            raise BacktestError(f"Bar {bar} has not begun: there are {len(self)} bars.")
        return self._present[1]
