"""Time bars cut from quotes as they come, by the quotes' own stamps.

Owns when a bar has ended: at the first quote of a later one, whatever any clock says.  The bars are those
that `aiopt.bars` builds from the same ticks, bit for bit; bars without a quote do not exist there either.

All timeframes are cut from bars of their greatest common length, as `aiopt.bars.reducing` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiopt.backtest.growing_bars import BarRow
from aiopt.bars.request import base_timeframe
from aiopt.errors import ConfigError, DataError
from aiopt.timeframe import Timeframe

Ended = list[tuple[Timeframe, BarRow]]
"""Bars that have ended, the shortest first."""

_NOTHING: Ended = []
_BEGINNING = -(2**63)


class BarCutter:
    """Cuts the bars of one instrument.

    Parameters
    ----------
    timeframes : iterable of Timeframe
        At least one; repeated ones count once.
    complete_from_ns : int, optional
        From when on every quote is there.  The bar a feed begins in the middle of is no bar and is left out;
        without this every bar counts.

    Raises
    ------
    ConfigError
        If there is no timeframe.

    Examples
    --------
    >>> from aiopt.timeframe import parse_timeframe
    >>> cutter = BarCutter([parse_timeframe("1m")])
    >>> minute = 60_000_000_000
    >>> cutter.push(1, 1.1, 1.2, 0.0, 0.0)
    []
    >>> [(bar.label, row.bid_close) for bar, row in cutter.push(minute, 1.3, 1.4, 0.0, 0.0)]
    [('1m', 1.1)]
    """

    def __init__(self, timeframes: Iterable[Timeframe], *, complete_from_ns: int | None = None) -> None:
        self.timeframes = tuple(sorted(set(timeframes)))
        if not self.timeframes:
            raise ConfigError("Bars need at least one timeframe, but got none. Name one, e.g. 5m.")
        self._base_ns = base_timeframe(self.timeframes).ns
        self._complete_from_ns = _BEGINNING if complete_from_ns is None else complete_from_ns
        self._last_ns = self._end_ns = _BEGINNING
        self._row: list[Any] | None = None
        self._longer: dict[int, list[Any] | None] = {one.ns: None for one in self.timeframes}
        self.opened: frozenset[Timeframe] = frozenset()
        """Timeframes of which the last quote was the first of a bar."""

    def push(self, ts_ns: int, bid: float, ask: float, bid_size: float, ask_size: float) -> Ended:
        """Add a quote and return the bars that it shows to be over.

        Parameters
        ----------
        ts_ns : int
            UTC, not before the last.
        bid, ask, bid_size, ask_size : float
            As ticks have them.

        Raises
        ------
        DataError
            If the stamp goes back; nothing is changed then.
        """
        if ts_ns < self._last_ns:
            msg = f"Quotes must come in time order, but {ts_ns} ns follows {self._last_ns} ns."
            raise DataError(f"{msg} Drop the late quote.")
        self._last_ns = ts_ns
        row = self._row
        if ts_ns < self._end_ns and row is not None:
            if bid > row[2]:
                row[2] = bid
            elif bid < row[3]:
                row[3] = bid
            row[4] = bid
            row[5] += bid_size
            if ask > row[7]:
                row[7] = ask
            elif ask < row[8]:
                row[8] = ask
            row[9] = ask
            row[10] += ask_size
            row[11] += 1
            if self.opened:
                self.opened = frozenset()
            return _NOTHING
        return self._begin(ts_ns, [bid, bid, bid, bid, bid_size, ask, ask, ask, ask, ask_size, 1])

    def _begin(self, ts_ns: int, columns: list[Any]) -> Ended:
        """End the bar that was being formed and begin the next."""
        opening = ts_ns // self._base_ns * self._base_ns
        ended = self._merge() if self._row is not None else _NOTHING
        opened = []
        for timeframe in self.timeframes:
            length = timeframe.ns
            begun, start = self._longer[length], ts_ns // length * length
            if begun is not None and begun[0] != start:
                if begun[0] >= self._complete_from_ns:
                    ended = [*ended, (timeframe, BarRow(*begun))]
                begun = self._longer[length] = None
            if begun is None:
                opened.append(timeframe)
                self._longer[length] = [start]
        self.opened = frozenset(opened)
        self._row = [opening, *columns]
        self._end_ns = opening + self._base_ns
        return ended

    def _merge(self) -> Ended:
        """Add the base bar that is over to the bars of all timeframes."""
        row = self._row
        assert row is not None
        for length, begun in self._longer.items():
            if begun is None:
                continue
            if len(begun) == 1:
                self._longer[length] = [begun[0], *row[1:]]
                continue
            for place in (1, 6):
                begun[place + 1] = max(begun[place + 1], row[place + 1])
                begun[place + 2] = min(begun[place + 2], row[place + 2])
                begun[place + 3] = row[place + 3]
                begun[place + 4] += row[place + 4]
            begun[11] += row[11]
        return _NOTHING

    def incomplete_before(self, ts_ns: int) -> None:
        """Leave out every bar that was begun before a time: quotes of it are missing."""
        self._complete_from_ns = max(self._complete_from_ns, ts_ns)

    def save(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "last_ns": self._last_ns,
            "end_ns": self._end_ns,
            "row": self._row,
            "longer": {str(length): begun for length, begun in self._longer.items()},
            "complete_from_ns": self._complete_from_ns,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `save` returned, of the same timeframes.

        Raises
        ------
        ConfigError
            If it is of others.
        """
        longer = {int(length): begun for length, begun in state["longer"].items()}
        if set(longer) != set(self._longer):
            msg = f"The bars being formed are of lengths {sorted(longer)} ns, but {sorted(self._longer)} ns "
            raise ConfigError(f"{msg}are asked for. Go on with the timeframes the session began with.")
        self._last_ns, self._end_ns = state["last_ns"], state["end_ns"]
        row = state["row"]
        self._row = None if row is None else list(row)
        self._longer = {length: None if begun is None else list(begun) for length, begun in longer.items()}
        self._complete_from_ns = state["complete_from_ns"]
