"""What a session has traded and read, taken from its file while it runs or afterwards.

Owns that view: trades, readings and the bars it decided on, of one commit.  Writes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from aiopt.backtest.growing_bars import BarRow
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.config import content_hash
from aiopt.errors import ConfigError
from aiopt.live.feeds.feed_config import with_kind
from aiopt.live.reading.live_reader import LoggedReading
from aiopt.live.reading.readings_file import logged
from aiopt.live.session.live_config import LiveConfig, TradedSpec
from aiopt.live.session.live_trades import LiveTrade
from aiopt.live.state.session_file import SessionTables, read_tables
from aiopt.market.instrument import instrument
from aiopt.timeframe import parse_timeframe


@dataclass(frozen=True, eq=False)
class SessionRecord:
    """A session as it was behind its last commit.

    Attributes
    ----------
    session : str
        Its id.
    config : LiveConfig
        What it does.
    trades : list of LiveTrade
        Finished round trips, in the order in which they ended.
    readings : list of LoggedReading
        In the order in which the charts ended.
    """

    session: str
    config: LiveConfig
    trades: list[LiveTrade]
    readings: list[LoggedReading]
    _rows: dict[str, list[BarRow]]

    def __repr__(self) -> str:
        return f"SessionRecord({self.session}, {len(self.trades):,} trades, {len(self.readings):,} readings)"

    @property
    def is_replay(self) -> bool:
        """Whether its quotes were of the past."""
        return not self.config.is_live

    def instrument_of(self, strategy: TradedSpec) -> str:
        """Return the symbol of what a strategy trades."""
        return self._series_of(strategy.frame.label).rpartition("-")[0]

    def bars_of(self, timeframe: str) -> BarSet:
        """Return the bars of a timeframe, the warm-up's included, as the strategies saw them.

        Raises
        ------
        ConfigError
            If the session has none.
        """
        series = self._series_of(timeframe)
        symbol, frame = series.rpartition("-")[0], parse_timeframe(timeframe)
        rows = self._rows[series]
        columns = [np.array(column) for column in zip(*rows, strict=True)]
        data_hash = content_hash([series, rows])
        names = ("open", "high", "low", "close", "volume")

        def side(price: str, first: int) -> BarArrays:
            values: dict[str, Any] = {
                name: columns[first + place].astype(np.float64) for place, name in enumerate(names)
            }
            return BarArrays(symbol, frame, price, columns[0].astype(np.int64), **values, data_hash=data_hash)

        return BarSet(instrument(symbol), frame, side("bid", 1), side("ask", 6), False, data_hash)

    def _series_of(self, timeframe: str) -> str:
        found = [name for name in self._rows if name.rpartition("-")[2] == timeframe]
        if len(found) != 1:
            has = ", ".join(sorted(self._rows)) or "none"
            msg = f"A session must have one series of {timeframe} bars, but {self.session} has {has}."
            raise ConfigError(f"{msg} Let it run until its first bar has ended.")
        return found[0]


def read_record(folder: Path) -> SessionRecord:
    """Return what a session has traded and read.

    Raises
    ------
    ConfigError
        If there is no session in the folder, or it has not begun.
    StorageError
        If its file cannot be read.
    """
    tables: SessionTables = read_tables(folder)
    if "config" not in tables.meta:
        raise ConfigError(f"The session in {folder} has not begun yet. Ask again in a moment.")
    return SessionRecord(
        tables.meta["id"],
        msgspec.convert(with_kind(json.loads(tables.meta["config"])), LiveConfig),
        [msgspec.json.decode(value, type=LiveTrade) for _, value in tables.trades],
        logged(tables.readings),
        tables.bars,
    )
