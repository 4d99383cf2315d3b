"""What bars are: the columns of a bar file, its provenance, and the arrays a backtest reads.

Owns the bar schema, `BarMeta`, `BarTable`, `BarArrays` and `BarSet`.  Knows nothing of files or of building.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.bars.reading_log import ReadingLog
from aiopt.bars.stops.stop_ladders import StopLadder
from aiopt.bars.stops.stop_slippage import StopSlippage
from aiopt.errors import ConfigError, DataError, UnevenBarsError, did_you_mean
from aiopt.market.instrument import Instrument
from aiopt.timeframe import Timeframe, parse_timeframe
from aiopt.utc import stamp_text

Empty = Literal["omit", "flat"]

PRICES = ("bid", "ask", "mid")
"""Price sides bars are built from; a mid tick is ``(bid + ask) / 2``, see `nearest_decimal`."""

EMPTY_RULES = ("omit", "flat")
"""What happens to a bar without ticks: left out, or flat at the previous close with volume 0."""

BAR_SCHEMA = pl.Schema(
    {
        "ts_open_ns": pl.Int64,
        "open": pl.Float64,
        "high": pl.Float64,
        "low": pl.Float64,
        "close": pl.Float64,
        "volume": pl.Float64,
        "ticks": pl.Int64,
    }
)

EXTRA_SCHEMA = pl.Schema(
    {
        "ts_close_ns": pl.Int64,
        "spread_mean": pl.Float64,
        "spread_max": pl.Float64,
        "spread_last": pl.Float64,
        "spread_time_mean": pl.Float64,
        "filled": pl.Boolean,
    }
)
"""Columns a bar file may have behind `BAR_SCHEMA`, in this order."""

OHLC = ("open", "high", "low", "close")
"""The prices of a bar."""

TIME_BARS = "time"


class BarMeta(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the bars of a file come from; stored in its Arrow schema under the key ``aiopt``.

    Attributes
    ----------
    instrument : str
        Symbol, e.g. ``"EURUSD"``.
    timeframe : str
        Canonical label, e.g. ``"5m"``; of bars that are not time bars e.g. ``"range-5"``.
    price : str
        ``"bid"``, ``"ask"``, ``"mid"``, or ``"last"`` for a foreign file.
    data_hash : str
        `Manifest.data_hash` of the ticks, or a hash of the bars where there are no ticks.
    synthetic : bool
        True if the ticks were generated, not traded.
    source : str
        What the ticks were imported from.
    type : str
        ``"time"``, or when else a bar ends, see `aiopt.bars.rules.EventRule`.
    size : float
        Of that rule; 0.0 for time bars.
    session : str
        `TradingSession.label`; empty without one.
    fill : str
        How bars without ticks were marked and filled: ``"none"``, ``"flat"`` or ``"linear"``.
    values_hash : str
        Of imported bars: `values_hash` of the file, which proves its values without any ticks.
    source_hash : str
        Of imported bars: SHA-256 over the names and bytes of the files they were read from.
    settings : str
        Of imported bars: how these were read, as JSON; ``"sides"`` has the prices there are.
    """

    instrument: str
    timeframe: str
    price: str
    data_hash: str
    synthetic: bool = False
    source: str = ""
    type: str = TIME_BARS
    size: float = 0.0
    session: str = ""
    fill: str = "none"
    values_hash: str = ""
    source_hash: str = ""
    settings: str = ""


@dataclass(frozen=True)
class BarTable:
    """The content of a bar file.

    Attributes
    ----------
    frame : polars.DataFrame
        Columns of `BAR_SCHEMA`, then some of `EXTRA_SCHEMA`, in time order.
    meta : BarMeta
        Provenance.
    """

    frame: pl.DataFrame
    meta: BarMeta

    def __len__(self) -> int:
        return self.frame.height

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return every column as a contiguous NumPy array, without a copy; any type of bar has these."""
        return {name: contiguous(self.frame[name]) for name in self.frame.columns}

    def arrays(self) -> BarArrays:
        """Return time bars as contiguous NumPy arrays, without a copy.

        Raises
        ------
        UnevenBarsError
            If the bars have no common length: they are not time bars, or a bar of a session is longer than
            its timeframe, or opens before the one above it is over, on a day on which the clock changes.
        """
        _check_even(self)
        columns = {name: contiguous(self.frame[name]) for name in BAR_SCHEMA.names() if name != "ticks"}
        return BarArrays(
            instrument=self.meta.instrument,
            timeframe=parse_timeframe(self.meta.timeframe),
            price=self.meta.price,
            data_hash=self.meta.data_hash,
            synthetic=self.meta.synthetic,
            interpolated=self.meta.fill == "linear",
            **columns,
        )


@dataclass(frozen=True, eq=False)
class BarArrays:
    """One price side of a series of bars as contiguous arrays of shape (n_bars,).

    Attributes
    ----------
    instrument : str
        Symbol, e.g. ``"EURUSD"``.
    timeframe : Timeframe
        Bar length.
    price : str
        ``"bid"``, ``"ask"``, ``"mid"`` or ``"last"``.
    ts_open_ns : ndarray of int64
        Opening times, UTC, strictly increasing.
    open, high, low, close : ndarray of float64
        Quote currency, finite and positive.
    volume : ndarray of float64
        Sum of tick sizes in units of the base currency; 0.0 where the source has none.
    data_hash : str
        Identifies the data the bars were built from.
    synthetic : bool
        True if the data was generated.
    interpolated : bool
        True if gaps were filled with prices that come from the bar behind them: not for backtests.
    """

    instrument: str
    timeframe: Timeframe
    price: str
    ts_open_ns: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    data_hash: str
    synthetic: bool = False
    interpolated: bool = False

    def __len__(self) -> int:
        return int(self.ts_open_ns.shape[0])

    def slice(self, start: int, stop: int) -> BarArrays:
        """Return bars ``start`` (included) to ``stop`` (excluded), as views of the same memory."""
        names = ("ts_open_ns", "open", "high", "low", "close", "volume")
        return replace(self, **{name: getattr(self, name)[start:stop] for name in names})


@dataclass(frozen=True, eq=False)
class BarSet:
    """The bid and ask bars of one instrument and timeframe, on the same opening times.

    Attributes
    ----------
    instrument : Instrument
        What is traded.
    timeframe : Timeframe
        Bar length.
    bid, ask : BarArrays
        Equal objects when `single_price`.
    single_price : bool
        True if one file stands for both sides: no spread, as on a chart.
    data_hash : str
        Identifies the data of both sides, and of the conversion bars.
    stops : StopLadder or StopSlippage or None
        What is known of where stops inside a bar are filled: the quotes of these bars' own ticks, or what
        stops cost on average on other ticks of the instrument, or nothing.
    conversion : BarSet or None
        Bars of the pair by which an account in another currency is converted; see
        `aiopt.backtest.conversion`.
    readings : ReadingLog or None
        What a model read in the market, for strategies that ask for it.
    """

    instrument: Instrument
    timeframe: Timeframe
    bid: BarArrays
    ask: BarArrays
    single_price: bool
    data_hash: str
    stops: StopLadder | StopSlippage | None = None
    conversion: BarSet | None = None
    readings: ReadingLog | None = None

    def __post_init__(self) -> None:
        if isinstance(self.stops, StopLadder) and len(self.stops) != len(self.bid):
            msg = f"A stop ladder must have a row per bar, but has {len(self.stops)} for {len(self.bid)}."
            raise DataError(msg + " Build the bars again.")
        if not np.array_equal(self.bid.ts_open_ns, self.ask.ts_open_ns):
            difference = _first_difference(self.bid.ts_open_ns, self.ask.ts_open_ns)
            msg = f"Bid and ask bars must have the same opening times, but {difference}."
            raise DataError(msg + " Build both from the same ticks.")

    def __len__(self) -> int:
        return len(self.bid)

    @property
    def synthetic(self) -> bool:
        """True if either side was built from generated ticks."""
        return self.bid.synthetic or self.ask.synthetic

    @property
    def interpolated(self) -> bool:
        """True if gaps of either side were filled with prices of the future."""
        return self.bid.interpolated or self.ask.interpolated

    @property
    def price_step(self) -> float:
        """The grid the prices lie on: the instrument's tick, of mid prices half a tick."""
        return self.instrument.tick_size / 2 if self.bid.price == "mid" else self.instrument.tick_size

    def slice(self, start: int, stop: int) -> BarSet:
        """Return bars ``start`` (included) to ``stop`` (excluded) of both sides."""
        bid = self.bid.slice(start, stop)
        ask = bid if self.single_price else self.ask.slice(start, stop)
        stops = self.stops.slice(start, stop) if isinstance(self.stops, StopLadder) else self.stops
        return replace(self, bid=bid, ask=ask, stops=stops)


def check_price(price: str) -> None:
    """Raise `ConfigError` unless `price` is one of `PRICES`."""
    if price not in PRICES:
        msg = f"The price of a bar must be one of {', '.join(PRICES)}, but got {price!r}."
        raise ConfigError(msg + did_you_mean(price, PRICES))


def parse_prices(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of price sides; ``"all"`` is every one of `PRICES`.

    Examples
    --------
    >>> parse_prices("bid, ask")
    ('bid', 'ask')
    """
    return PRICES if text == "all" else tuple(name.strip() for name in text.split(",") if name.strip())


def check_empty(empty: str) -> None:
    """Raise `ConfigError` unless `empty` is one of `EMPTY_RULES`."""
    if empty not in EMPTY_RULES:
        msg = f"`empty` must be one of {', '.join(EMPTY_RULES)}, but got {empty!r}."
        raise ConfigError(msg + did_you_mean(empty, EMPTY_RULES))


def _check_even(table: BarTable) -> None:
    """Raise `UnevenBarsError` unless every bar is over once its timeframe has passed, and before the next."""
    meta = table.meta
    if meta.type != TIME_BARS:
        msg = f"Backtests and charts need bars of one length in time, but these are {meta.type} bars"
        raise UnevenBarsError(
            f"{msg} ({meta.timeframe}). Build time bars: `aiopt bars build --timeframes 5m`."
        )
    if not meta.session:
        return
    length = parse_timeframe(meta.timeframe).ns
    opens = table.frame["ts_open_ns"].to_numpy()
    long = table.frame["ts_close_ns"].to_numpy() - opens > length
    long[:-1] |= np.diff(opens) < length
    if long.any():
        row = int(np.argmax(long))
        when = stamp_text(int(opens[row]), "s").removesuffix("Z")
        msg = f"Backtests and charts need bars that are over after {meta.timeframe}, but not that of {when}:"
        raise UnevenBarsError(f"{msg} the clock of its session changes. Build it without --session.", row=row)


def _first_difference(left: NDArray[np.int64], right: NDArray[np.int64]) -> str:
    if left.size != right.size:
        return f"there are {left.size} bid and {right.size} ask bars"
    at = int(np.argmax(left != right))
    return f"bar {at} opens at {left[at]} and {right[at]} ns"


def hash_columns(frame: pl.DataFrame) -> str:
    """Return the hex SHA-256 of the values of a frame, column by column."""
    digest = hashlib.sha256()
    for name in frame.columns:
        digest.update(name.encode())
        digest.update(contiguous(frame[name]).tobytes())
    return digest.hexdigest()


def contiguous(column: pl.Series) -> NDArray[Any]:
    """Return a column as one contiguous array."""
    return np.ascontiguousarray(column.rechunk().to_numpy())


def labels(timeframes: Iterable[Timeframe]) -> str:
    """Return ``"1m, 5m"`` for messages."""
    return ", ".join(timeframe.label for timeframe in timeframes)
