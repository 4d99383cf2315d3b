"""Bars: the arrays a backtest reads, the Parquet files they live in, and the one-process reference builder.

Owns the bar schema, `BarArrays`, `BarSet`, reading and writing, and `build_bars`, which every faster way of
building bars must equal bit for bit.  Knows nothing of Ray, of shards, of strategies or of where ticks come
from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from aiopt.config import content_hash
from aiopt.errors import ConfigError, DataError, UnevenBarsError, did_you_mean
from aiopt.files import atomic_path, remove_stale
from aiopt.market.bar_clock import check_utc
from aiopt.market.instrument import Instrument, instrument
from aiopt.market.instrument_evidence import check_prices, table_instrument
from aiopt.market.manifest import MANIFEST_NAME
from aiopt.market.ohlcv import read_ohlcv
from aiopt.market.stop_files import SHARED, STOPS_NAME, ladder_beside
from aiopt.market.stop_ladders import StopLadder
from aiopt.market.stop_slippage import StopSlippage, slippage_beside
from aiopt.market.ticks import TICK_COLUMNS, nearest_decimal
from aiopt.timeframe import Timeframe, parse_timeframe, time_grid

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

TIME_BARS = "time"

_METADATA_KEY = "aiopt"


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
        ``"time"``, or when else a bar ends, see `aiopt.market.event_bars.EventRule`.
    size : float
        Of that rule; 0.0 for time bars.
    session : str
        `Session.label`; empty without one.
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
        return {name: _contiguous(self.frame[name]) for name in self.frame.columns}

    def arrays(self) -> BarArrays:
        """Return time bars as contiguous NumPy arrays, without a copy.

        Raises
        ------
        UnevenBarsError
            If the bars have no common length: they are not time bars, or a bar of a session is longer than
            its timeframe, or opens before the one above it is over, on a day on which the clock changes.
        """
        _check_even(self)
        columns = {name: _contiguous(self.frame[name]) for name in BAR_SCHEMA.names() if name != "ticks"}
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
    """

    instrument: Instrument
    timeframe: Timeframe
    bid: BarArrays
    ask: BarArrays
    single_price: bool
    data_hash: str
    stops: StopLadder | StopSlippage | None = None
    conversion: BarSet | None = None

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


# --- building ---------------------------------------------------------------------------------------------


def build_bars(
    ticks: pl.DataFrame, timeframe: Timeframe | str, price: str, empty: Empty = "omit"
) -> pl.DataFrame:
    """Build time bars from ticks held in memory: the reference all other builders must equal.

    Parameters
    ----------
    ticks : polars.DataFrame
        ``ts_event_ns`` int64 UTC, ``bid``, ``ask``, ``bid_size``, ``ask_size`` float64.  Rows are taken in
        stable order of time: ticks of equal time keep their order.
    timeframe : Timeframe or str
        Bars start at whole multiples of it since the Unix epoch, so a tick belongs to the bar
        ``floor(ts_event_ns / timeframe)``.
    price : {"bid", "ask", "mid"}
        Side.  Mid is ``(bid + ask) / 2`` per tick, as `nearest_decimal` writes it; its volume is the sum of
        both sizes.
    empty : {"omit", "flat"}
        Bars without ticks are left out, or flat at the previous close with volume 0 and 0 ticks.

    Returns
    -------
    polars.DataFrame
        `BAR_SCHEMA`.  Volume is an exact sum, since sizes are whole multiples of the instrument's size
        increment.

    Raises
    ------
    DataError
        If a column is missing or a price is not finite.
    ConfigError
        If `price`, `timeframe` or `empty` is unknown.
    """
    length = as_timeframe(timeframe)
    check_price(price)
    check_empty(empty)
    _check_ticks(ticks)
    value, size = _tick_expressions(price)
    bars = (
        ticks.lazy()
        .sort("ts_event_ns", maintain_order=True)
        .select((pl.col("ts_event_ns") // length.ns * length.ns).alias("ts_open_ns"), p=value, s=size)
        .group_by("ts_open_ns", maintain_order=True)
        .agg(
            open=pl.col("p").first(),
            high=pl.col("p").max(),
            low=pl.col("p").min(),
            close=pl.col("p").last(),
            volume=pl.col("s").sum(),
            ticks=pl.len().cast(pl.Int64),
        )
        .collect()
    )
    if price == "mid":
        names = ("open", "high", "low", "close")
        bars = bars.with_columns(pl.Series(name, nearest_decimal(bars[name].to_numpy())) for name in names)
    return fill_flat(bars, length) if empty == "flat" else bars


def fill_flat(bars: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """Insert a flat bar (previous close, volume 0, 0 ticks) at every opening time without ticks.

    Parameters
    ----------
    bars : polars.DataFrame
        `BAR_SCHEMA`, in time order, without gaps filled.
    timeframe : Timeframe
        Bar length.

    Returns
    -------
    polars.DataFrame
        One bar per `timeframe` from the first to the last of `bars`.
    """
    if bars.height == 0:
        return bars
    ts = bars["ts_open_ns"].to_numpy()
    full = time_grid(ts[0], ts[-1] + 1, timeframe.ns)
    source = np.searchsorted(ts, full, side="right") - 1
    traded = ts[source] == full
    close = bars["close"].to_numpy()[source]
    columns: dict[str, Any] = {"ts_open_ns": full}
    for name in ("open", "high", "low"):
        columns[name] = np.where(traded, bars[name].to_numpy()[source], close)
    columns["close"] = close
    columns["volume"] = np.where(traded, bars["volume"].to_numpy()[source], 0.0)
    columns["ticks"] = np.where(traded, bars["ticks"].to_numpy()[source], 0)
    return pl.DataFrame(columns, schema=BAR_SCHEMA)


def as_timeframe(timeframe: Timeframe | str) -> Timeframe:
    """Return `timeframe`, parsed if it is text."""
    return parse_timeframe(timeframe) if isinstance(timeframe, str) else timeframe


def check_price(price: str) -> None:
    """Raise `ConfigError` unless `price` is one of `PRICES`."""
    if price not in PRICES:
        msg = f"The price of a bar must be one of {', '.join(PRICES)}, but got {price!r}."
        raise ConfigError(msg + did_you_mean(price, PRICES))


def check_empty(empty: str) -> None:
    """Raise `ConfigError` unless `empty` is one of `EMPTY_RULES`."""
    if empty not in EMPTY_RULES:
        msg = f"`empty` must be one of {', '.join(EMPTY_RULES)}, but got {empty!r}."
        raise ConfigError(msg + did_you_mean(empty, EMPTY_RULES))


def _tick_expressions(price: str) -> tuple[pl.Expr, pl.Expr]:
    if price == "mid":
        return (pl.col("bid") + pl.col("ask")) / 2, pl.col("bid_size") + pl.col("ask_size")
    return pl.col(price), pl.col(f"{price}_size")


def _check_ticks(ticks: pl.DataFrame) -> None:
    missing = [name for name in TICK_COLUMNS if name not in ticks.columns]
    if missing:
        msg = f"Ticks must have the columns {', '.join(TICK_COLUMNS)}, but {', '.join(missing)} missing."
        raise DataError(msg + " Import them with `aiopt ticks import`.")
    if ticks.height == 0:
        return
    for name in TICK_COLUMNS[1:]:
        finite = ticks[name].is_finite().fill_null(False)
        if not finite.all():
            row = int((~finite).arg_true()[0])
            msg = f"Ticks must be finite, but {name} is {ticks[name][row]} at row {row}. Validate the ticks."
            raise DataError(msg)


# --- files ------------------------------------------------------------------------------------------------


def bar_path(out_dir: Path, instrument_symbol: str, timeframe: Timeframe | str, price: str) -> Path:
    """Return ``OUT/EURUSD/5m/bid.parquet``; of other than time bars ``OUT/EURUSD/range-5/bid.parquet``."""
    label = timeframe if isinstance(timeframe, str) else timeframe.label
    return Path(out_dir) / instrument_symbol / label / f"{price}.parquet"


def read_bar_meta(path: Path) -> BarMeta | None:
    """Return the metadata of a bar file of ours without reading its bars; None if it is none."""
    try:
        text = (pq.read_schema(path).metadata or {}).get(_METADATA_KEY.encode())
        return None if text is None else msgspec.json.decode(text, type=BarMeta)
    except (pa.ArrowException, OSError, msgspec.DecodeError):
        return None


def write_bars(path: Path, frame: pl.DataFrame, meta: BarMeta) -> None:
    """Write bars to one Parquet file, atomically; equal bars and provenance give equal bytes.

    Parameters
    ----------
    path : Path
        Final name, usually from `bar_path`.
    frame : polars.DataFrame
        Columns of `BAR_SCHEMA`, then any of `EXTRA_SCHEMA` in its order.
    meta : BarMeta
        Provenance, stored in the file.

    Raises
    ------
    DataError
        If the columns are others.
    StorageError
        If the disk is full or the folder is not writable.
    """
    if not _is_bar_schema(frame.schema):
        msg = f"Bars must have the columns {dict(BAR_SCHEMA)}, but got {dict(frame.schema)}."
        raise DataError(msg, file=path)
    text = msgspec.json.encode(meta, order="sorted").decode()
    table = frame.rechunk().to_arrow().replace_schema_metadata({_METADATA_KEY: text})
    remove_stale(Path(path).parent)
    with atomic_path(Path(path)) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def values_hash(frame: pl.DataFrame, meta: BarMeta) -> str:
    """Return the SHA-256 of what a bar file says: instrument, timeframe, side, origin and every value."""
    facts = (meta.instrument, meta.timeframe, meta.price, meta.source, meta.source_hash, meta.settings)
    return content_hash([*facts, _hash_columns(frame)])


def read_bars(path: Path) -> BarTable:
    """Read a bar file written by `write_bars`.

    Raises
    ------
    DataError
        If the file is missing, is not Parquet, was not written by `write_bars`, or its bars are out of order,
        not finite, not positive, or have a high or low inside the open and close.
    """
    path = Path(path)
    table = _read_own(path)
    if table is None:
        msg = (
            f"The file must have the columns {', '.join(BAR_SCHEMA.names())} and aiopt metadata, but has not."
        )
        raise DataError(msg + " Build it with `aiopt bars build`.", file=path)
    return table


def load_bar_set(
    path: Path,
    *,
    timeframe: Timeframe | str | None = None,
    symbol: str | None = None,
    allow_interpolated: bool = False,
) -> BarSet:
    """Load the bars of a backtest from a file or folder.

    Parameters
    ----------
    path : Path
        One of: a folder with ``bid.parquet`` and ``ask.parquet``; a Parquet file, ours or a foreign OHLCV
        file, which then stands for both sides; a folder with one Parquet file; a folder above these
        (``OUT``, ``OUT/EURUSD``), when `timeframe` or `symbol` leave one choice.
    timeframe : Timeframe or str, optional
        Which bars to take, and for a file a check.
    symbol : str, optional
        Instrument, e.g. ``"EURUSD"``, which no file may contradict.  If absent, what the files say; those of
        others must say one, see `aiopt.market.instrument_evidence`.
    allow_interpolated : bool
        Also take bars whose gaps were filled with prices to come: for pictures.

    Raises
    ------
    DataError
        If nothing or more than one series is found, a file breaks a rule of bars, or gaps were filled with
        prices to come.
    UnevenBarsError
        If the bars have no common length, see `BarTable.arrays`.
    """
    if isinstance(timeframe, str) and timeframe[:1].isalpha() and "-" in timeframe:
        label: str | None = (
            timeframe  # "range-5": such bars may be there, and the error below says what is wrong
        )
    else:
        label = None if timeframe is None else as_timeframe(timeframe).label
    tables = read_series(path, label, symbol)
    try:
        arrays = {side: table.arrays() for side, table in tables.items()}
    except UnevenBarsError as failure:
        raise UnevenBarsError(failure.reason, file=path, row=failure.row) from failure
    if not allow_interpolated and any(side.interpolated for side in arrays.values()):
        msg = "Bars must be of the past alone, but gaps of these were filled with prices to come."
        raise DataError(msg + " Build them with --fill flat, or without --fill.", file=path)
    if len(arrays) == 1:
        bid = next(iter(arrays.values()))
        return _bar_set(bid, bid, Path(path))
    bar_set = _bar_set(arrays["bid"], arrays["ask"], Path(path))
    file = _find_series(Path(path), label, symbol)["bid"]
    shared = {name: str(getattr(tables["bid"].meta, name)) for name in SHARED}
    ladder = ladder_beside(file, shared, bar_set.bid.ts_open_ns)
    known = slippage_beside(file, bar_set.instrument.symbol) if ladder is None else ladder
    return replace(bar_set, stops=known)


def read_series(path: Path, label: str | None = None, symbol: str | None = None) -> dict[str, BarTable]:
    """Read the bars of any type a file or folder leads to.

    Parameters
    ----------
    path : Path
        As for `load_bar_set`.
    label : str, optional
        Which bars to take, e.g. ``"5m"`` or ``"range-5"``, and for a file a check.
    symbol : str, optional
        As for `load_bar_set`.

    Returns
    -------
    dict of str to BarTable
        ``"bid"`` and ``"ask"``, or one table under any name.

    Raises
    ------
    DataError
        If nothing or more than one series is found, or a file breaks a rule of bars.
    """
    path = Path(path)
    symbol = None if symbol is None else instrument(symbol).symbol
    if not path.exists():
        msg = "The bars must exist, but this path does not. Build them with `aiopt bars build`."
        raise DataError(msg, file=path)
    files = {"last": path} if path.is_file() else _find_series(path, label, symbol)
    tables = {side: _read_any(file, symbol) for side, file in files.items()}
    for side, file in files.items():
        _check_request(tables[side], file, label, symbol)
    return tables


def _bar_set(bid: BarArrays, ask: BarArrays, path: Path) -> BarSet:
    single = bid is ask
    ours = "last" not in (bid.price, ask.price)
    if ours and bid.data_hash != ask.data_hash:
        msg = "Bid and ask bars must be built from the same ticks, but their data hashes differ."
        raise DataError(msg + " Build both again.", file=path)
    if (bid.instrument, bid.timeframe) != (ask.instrument, ask.timeframe):
        msg = (
            "Bid and ask bars must be of one instrument and timeframe, but they are "
            f"{bid.instrument} {bid.timeframe.label} and {ask.instrument} {ask.timeframe.label}."
        )
        raise DataError(msg, file=path)
    same = bid.data_hash == ask.data_hash
    data_hash = bid.data_hash if same else content_hash([bid.data_hash, ask.data_hash])
    try:
        return BarSet(
            instrument=instrument(bid.instrument),
            timeframe=bid.timeframe,
            bid=bid,
            ask=ask,
            single_price=single,
            data_hash=data_hash,
        )
    except DataError as failure:
        raise DataError(failure.reason, file=path) from failure


def _find_series(folder: Path, wanted: str | None, symbol: str | None) -> dict[str, Path]:
    """Return the files of the one series in or below `folder`, by side."""
    if any(folder.glob("*.parquet")):
        return _series_in(folder)
    found = [sub for sub in sorted(folder.glob("*/**/")) if any(sub.glob("*.parquet"))]
    if wanted is not None:
        found = [sub for sub in found if sub.name == wanted]
    if symbol is not None:
        found = [sub for sub in found if symbol in sub.relative_to(folder).parts or sub.parent.name == symbol]
    if len(found) == 1:
        return _series_in(found[0])
    if (folder / MANIFEST_NAME).is_file():
        msg = "The folder must hold bars, but this is a tick store. Build bars of it: "
        raise DataError(f"{msg}`aiopt bars build --ticks {folder} --out DIR`.", file=folder)
    names = ", ".join(str(sub.relative_to(folder)) for sub in found) or "none"
    label = "" if wanted is None else f" of {wanted}"
    msg = f"The folder must lead to one series of bars{label}, but found {names}. "
    remedy = "Give the path of one, or --timeframe" if found else "Build bars with `aiopt bars build`"
    raise DataError(f"{msg}{remedy}.", file=folder)


def _series_in(folder: Path) -> dict[str, Path]:
    files = sorted(path for path in folder.glob("*.parquet") if path.name != STOPS_NAME)
    by_name = {file.stem: file for file in files}
    if {"bid", "ask"} <= set(by_name):
        return {"bid": by_name["bid"], "ask": by_name["ask"]}
    if len(files) == 1:
        return {"last": files[0]}
    names = ", ".join(by_name)
    msg = f"A folder of bars must hold bid.parquet and ask.parquet, or one file, but holds {names}."
    raise DataError(msg + " Name one file.", file=folder)


def _read_any(path: Path, symbol: str | None) -> BarTable:
    own = _read_own(path)
    if own is not None:
        return own
    frame, timeframe = read_ohlcv(path)
    frame = frame.with_columns(ticks=pl.lit(0, dtype=pl.Int64))
    _check_bars(frame, path)
    item = table_instrument(path, symbol)
    named = "so named" if symbol else "by its name or columns"
    prices = (frame[name].to_numpy() for name in ("open", "high", "low", "close"))
    check_prices(prices, item, path, named=named)
    check_utc(frame["ts_open_ns"].to_numpy(), timeframe.ns, item, path)
    meta = BarMeta(
        instrument=item.symbol,
        timeframe=timeframe.label,
        price="last",
        data_hash=_hash_columns(frame),
        source=path.name,
    )
    return BarTable(frame=frame, meta=meta)


def _read_own(path: Path) -> BarTable | None:
    """Return the bars of a file of ours, None if the file is Parquet of another kind."""
    if not path.is_file():
        raise DataError("The bar file must exist, but does not. Build it with `aiopt bars build`.", file=path)
    try:
        text = pl.read_parquet_metadata(path).get(_METADATA_KEY)
        frame = None if text is None else pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as failure:
        msg = f"The file must be readable Parquet, but: {failure}. Build it again."
        raise DataError(msg, file=path) from failure
    if text is None or frame is None or not _is_bar_schema(frame.schema):
        return None
    try:
        meta = msgspec.json.decode(text.encode(), type=BarMeta)
    except msgspec.DecodeError as failure:
        msg = f"The aiopt metadata must be valid, but: {failure}. Build the file again."
        raise DataError(msg, file=path) from failure
    _check_bars(frame, path, distinct=meta.type == TIME_BARS)
    return BarTable(frame=frame, meta=meta)


def _is_bar_schema(schema: pl.Schema) -> bool:
    extras = [name for name in EXTRA_SCHEMA.names() if name in schema.names()]
    return list(schema.items()) == [*BAR_SCHEMA.items(), *((name, EXTRA_SCHEMA[name]) for name in extras)]


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
        when = np.datetime64(int(opens[row]) // 1_000_000_000, "s")
        msg = f"Backtests and charts need bars that are over after {meta.timeframe}, but not that of {when}:"
        raise UnevenBarsError(f"{msg} the clock of its session changes. Build it without --session.", row=row)


def _check_request(table: BarTable, path: Path, wanted: str | None, symbol: str | None) -> None:
    if wanted is not None and table.meta.timeframe != wanted:
        msg = f"The bars must be of {wanted}, but are of {table.meta.timeframe}. Name another file."
        raise DataError(msg, file=path)
    if symbol is not None and table.meta.instrument != symbol:
        msg = f"The bars must be of {symbol}, but are of {table.meta.instrument}. Name another file."
        raise DataError(msg, file=path)


def _check_bars(frame: pl.DataFrame, path: Path, *, distinct: bool = True) -> None:
    """Raise `DataError` naming the first row that breaks a rule; `distinct`: no two open at one time."""
    if frame.height == 0:
        raise DataError("A bar file must hold bars, but it is empty. Build it from more ticks.", file=path)
    ts = frame["ts_open_ns"].to_numpy()
    opens, highs, lows, closes = (frame[name].to_numpy() for name in ("open", "high", "low", "close"))
    volume = frame["volume"].to_numpy()
    prices = np.stack((opens, highs, lows, closes))
    rules = (
        ("opening times must increase", np.concatenate(([False], np.diff(ts) < int(distinct)))),
        ("prices must be finite and positive", ~(np.isfinite(prices) & (prices > 0)).all(axis=0)),
        ("high must be at least open, low and close", highs < prices.max(axis=0)),
        ("low must be at most open, high and close", lows > prices.min(axis=0)),
        ("volume must be finite and not negative", ~(np.isfinite(volume) & (volume >= 0))),
    )
    for rule, broken in rules:
        if broken.any():
            row = int(np.argmax(broken))
            values = ", ".join(f"{name}={frame[name][row]}" for name in frame.columns)
            raise DataError(
                f"In bars {rule}, but got {values}. Mend or rebuild the file.", file=path, row=row
            )


def _first_difference(left: NDArray[np.int64], right: NDArray[np.int64]) -> str:
    if left.size != right.size:
        return f"there are {left.size} bid and {right.size} ask bars"
    at = int(np.argmax(left != right))
    return f"bar {at} opens at {left[at]} and {right[at]} ns"


def _hash_columns(frame: pl.DataFrame) -> str:
    """Return the hex SHA-256 of the values of a frame, column by column."""
    digest = hashlib.sha256()
    for name in frame.columns:
        digest.update(name.encode())
        digest.update(_contiguous(frame[name]).tobytes())
    return digest.hexdigest()


def _contiguous(column: pl.Series) -> NDArray[Any]:
    return np.ascontiguousarray(column.rechunk().to_numpy())


def labels(timeframes: Iterable[Timeframe]) -> str:
    """Return ``"1m, 5m"`` for messages."""
    return ", ".join(timeframe.label for timeframe in timeframes)


__all__ = [
    "BarArrays",
    "BarSet",
    "BarTable",
    "BarMeta",
    "BAR_SCHEMA",
    "EXTRA_SCHEMA",
    "TIME_BARS",
    "PRICES",
    "EMPTY_RULES",
    "build_bars",
    "fill_flat",
    "bar_path",
    "values_hash",
    "write_bars",
    "read_bars",
    "load_bar_set",
    "read_series",
    "as_timeframe",
    "check_price",
    "check_empty",
    "labels",
]
