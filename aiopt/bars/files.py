"""Bar files: where they lie, how they are written and read, and which series a file or folder leads to.

Owns the format of bar files and the rules bars must keep.  Knows nothing of how bars are built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from aiopt.bars.importing.bar_clock import check_utc
from aiopt.bars.importing.ohlcv import read_ohlcv
from aiopt.bars.rules import parse_bar_rule
from aiopt.bars.schema import (
    BAR_SCHEMA,
    EXTRA_SCHEMA,
    TIME_BARS,
    BarArrays,
    BarMeta,
    BarSet,
    BarTable,
    contiguous,
    hash_columns,
)
from aiopt.bars.stops.stop_files import SHARED, STOPS_NAME, ladder_beside
from aiopt.bars.stops.stop_ladders import StopLadder
from aiopt.bars.stops.stop_slippage import StopSlippage, slippage_beside
from aiopt.config import content_hash
from aiopt.errors import DataError, UnevenBarsError
from aiopt.files import atomic_path, remove_stale
from aiopt.market.instrument import instrument
from aiopt.ticks.manifest import MANIFEST_NAME
from aiopt.ticks.sources.instrument_evidence import check_prices, table_instrument
from aiopt.timeframe import Timeframe

_METADATA_KEY = "aiopt"
_NAMES_SHOWN = 6


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
    return content_hash([*facts, hash_columns(frame)])


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
        others must say one, see `aiopt.ticks.sources.instrument_evidence`.
    allow_interpolated : bool
        Also take bars whose gaps were filled with prices from the future: for pictures.

    Raises
    ------
    DataError
        If nothing or more than one series is found, a file breaks a rule of bars, or gaps were filled with
        prices to come.
    UnevenBarsError
        If the bars have no common length, see `BarTable.arrays`.
    """
    # Of "range-5" bars may be there too: the error of their arrays says what is wrong with them.
    rule = parse_bar_rule(timeframe) if isinstance(timeframe, str) else timeframe
    label = None if rule is None else rule.label
    tables = read_series(path, label, symbol)
    bars = bar_set_of(tables, Path(path), allow_interpolated=allow_interpolated)
    return bars if bars.single_price else replace(bars, stops=read_stops(Path(path), tables, label, symbol))


def read_stops(
    path: Path, tables: Mapping[str, BarTable], label: str | None = None, symbol: str | None = None
) -> StopLadder | StopSlippage | None:
    """Return what is known of stops inside the bars that `read_series` read from `path`; None if nothing.

    Raises
    ------
    DataError
        If a file beside the bars is not of these bars.
    """
    if "ask" not in tables:
        return None
    file = _find_series(path, label, symbol)["bid"]
    meta, opens = tables["bid"].meta, contiguous(tables["bid"].frame["ts_open_ns"])
    shared = {name: str(getattr(meta, name)) for name in SHARED}
    ladder = ladder_beside(file, shared, opens)
    return slippage_beside(file, meta.instrument) if ladder is None else ladder


def bar_set_of(
    tables: Mapping[str, BarTable], path: Path | None = None, *, allow_interpolated: bool = False
) -> BarSet:
    """Return tables of a series as the bars of a backtest, without stops.

    Parameters
    ----------
    tables : mapping of str to BarTable
        From `read_series`.
    path : Path, optional
        Where they were read from, for the message of an error.
    allow_interpolated : bool
        As for `load_bar_set`.

    Raises
    ------
    DataError, UnevenBarsError
        As `load_bar_set`.
    """
    try:
        arrays = {side: table.arrays() for side, table in tables.items()}
    except UnevenBarsError as failure:
        raise UnevenBarsError(failure.reason, file=path, row=failure.row) from failure
    if not allow_interpolated and any(side.interpolated for side in arrays.values()):
        msg = "Bars must be of the past alone, but gaps of these were filled with prices from the future."
        raise DataError(msg + " Build them with --fill flat, or without --fill.", file=path)
    if len(arrays) == 1:
        bid = next(iter(arrays.values()))
        return _bar_set(bid, bid, path)
    return _bar_set(arrays["bid"], arrays["ask"], path)


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


def _bar_set(bid: BarArrays, ask: BarArrays, path: Path | None) -> BarSet:
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
    # Folders as `instrument=EURUSD/date=…` are partitions of a tick store, not series of bars.
    below = (sub for sub in sorted(folder.glob("*/**/")) if "=" not in str(sub.relative_to(folder)))
    there = [sub for sub in below if any(sub.glob("*.parquet"))]
    found = [sub for sub in there if sub.name == wanted] if wanted is not None else there
    if symbol is not None:
        found = [sub for sub in found if symbol in sub.relative_to(folder).parts or sub.parent.name == symbol]
    if len(found) == 1:
        return _series_in(found[0])
    if (folder / MANIFEST_NAME).is_file():
        msg = "The folder must hold bars, but this is a tick store. Build bars of it: "
        raise DataError(f"{msg}`aiopt bars build --ticks {folder} --out DIR`.", file=folder)
    raise DataError(_not_one(folder, wanted, found, there), file=folder)


def _not_one(folder: Path, wanted: str | None, found: Sequence[Path], there: Sequence[Path]) -> str:
    """Return why a folder does not lead to one series, and the path of a series to give instead."""
    msg = f"The folder must lead to one series of bars{'' if wanted is None else f' of {wanted}'}, but "
    if not there:
        return msg + "found none. Build bars with `aiopt bars build`."
    # Time bars first: of the series of a folder these are what most commands take.
    child = min(found or there, key=lambda sub: not sub.name[:1].isdigit())
    if not found:
        return f"{msg}found none, only {_names(folder, there)}. Give one of these, e.g. {child}."
    other = f", or --timeframe {child.name}" if len({sub.name for sub in found}) == len(found) else ""
    return f"{msg}found {_names(folder, found)}. Give the path of one, e.g. {child}{other}."


def _names(folder: Path, found: Sequence[Path]) -> str:
    names = [str(sub.relative_to(folder)) for sub in found[:_NAMES_SHOWN]]
    more = len(found) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _series_in(folder: Path) -> dict[str, Path]:
    files = sorted(path for path in folder.glob("*.parquet") if path.name != STOPS_NAME)
    by_name = {file.stem: file for file in files}
    if {"bid", "ask"} <= set(by_name):
        return {"bid": by_name["bid"], "ask": by_name["ask"]}
    if len(files) == 1:
        return {"last": files[0]}
    if not files:
        msg = "A folder of bars must hold bid.parquet and ask.parquet, or one file, but holds none."
        raise DataError(msg + " Build the bars again.", file=folder)
    names = ", ".join(by_name)
    msg = f"A folder of bars must hold bid.parquet and ask.parquet, or one file, but holds {names}."
    raise DataError(f"{msg} Name one file, e.g. {files[0]}.", file=folder)


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
        data_hash=hash_columns(frame),
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
