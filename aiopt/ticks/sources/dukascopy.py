"""Dukascopy's raw files: hour files of ticks and day files of minute candles, LZMA-compressed.

Owns the layout ``SYMBOL/YYYY/MM/DD/HHh_ticks.bi5`` (months counted from 00) and the two record types.  Knows
nothing of what is done with the ticks.

An hour file of no bytes is an hour without ticks.  A truncated one is an error, never a quiet hour.
"""

from __future__ import annotations

import datetime as dt
import lzma
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.market.calendar import open_hours
from aiopt.market.instrument import Instrument
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources.ahead import ReadAhead
from aiopt.ticks.sources.source import Batch, ReaderOptions, TickSource, check_symbols
from aiopt.utc import DAY_S, HOUR_MS, HOUR_NS

FORMAT = "dukascopy"

TICK_RECORD = np.dtype(
    [("ms", ">u4"), ("ask", ">u4"), ("bid", ">u4"), ("ask_size", ">f4"), ("bid_size", ">f4")]
)
"""Milliseconds in the hour, prices in points, sizes in millions of the base currency."""

CANDLE_RECORD = np.dtype(
    [("s", ">u4"), ("open", ">u4"), ("close", ">u4"), ("low", ">u4"), ("high", ">u4"), ("volume", ">f4")]
)
"""Seconds in the day, prices in points, volume in millions: the order is open, **close, low, high**."""

_TREE_NAME = re.compile(r"(\d{4})/(\d{2})/(\d{2})/(\d{2})h_ticks\.bi5$")
_FLAT_NAME = re.compile(r"(\d{4})-(\d{2})-(\d{2})_(\d{2})h_ticks\.bi5$")
_ASIDE = re.compile(r"(_candles_|^HistoryStart)", re.IGNORECASE)
_MILLION = 1e6
# 6.7 million ticks; the busiest hours have some 50,000.  A few kilobytes can unpack to gigabytes.
_MAX_BYTES = 128 * 1024 * 1024


def open_source(
    root: Path, files: Sequence[Path], instrument: Instrument, options: ReaderOptions
) -> TickSource:
    """List the hour files of a tree, in order of time.

    Raises
    ------
    DataError
        If a file is neither an hour file nor one known to lie beside them, an hour occurs twice, or the
        names say another instrument.
    """
    del options
    hours: dict[int, Path] = {}
    aside: list[Path] = []
    strangers: list[Path] = []
    for file in files:
        hour = hour_of(file)
        if hour is None:
            (aside if _ASIDE.search(file.name) else strangers).append(file)
        elif hour in hours:
            msg = f"{hours[hour]} is of the same hour as this file. Import each on its own."
            raise DataError(msg, file=file)
        else:
            hours[hour] = file
    if strangers or not hours:
        raise _not_hour_file((strangers or aside)[0], instrument)
    ordered = sorted(hours)
    paths = tuple(hours[hour] for hour in ordered)
    check_symbols(paths, root, instrument)
    empty = tuple(hour for hour in ordered if hours[hour].stat().st_size == 0)
    if len(empty) == len(ordered):
        msg = "All files have 0 bytes: they are hours without ticks."
        raise DataError(msg + " Give hours of an open market.", file=paths[0])
    wanted = expected_hours(ordered[0], ordered[-1], instrument)
    missing = tuple(int(hour) for hour in wanted if int(hour) not in hours)
    notes = [f"{len(aside)} file(s) left aside, not ticks: {', '.join(_names(aside))}."] if aside else []

    # Nearly all of the time is LZMA's, which lets other threads run.
    load = ReadAhead(len(paths), lambda number: read_hour(paths[number], ordered[number], instrument))

    def read(number: int) -> Iterator[Batch]:
        ticks = load(number)
        if len(ticks):
            yield Batch(ticks, number, 0, paths[number].stat().st_size)

    return TickSource(
        format=FORMAT,
        root=root,
        files=paths,
        read=read,
        notes=notes,
        empty_hours=empty,
        missing_hours=missing,
    )


def hour_of(path: Path) -> int | None:
    """Return the hour (since the epoch, UTC) that a file name stands for, None if it is no hour file.

    ``2019/01/04/00h_ticks.bi5`` is 4 **February** 2019: Dukascopy counts months from 0.  In a flat name,
    ``EURUSD_2019-02-04_00h_ticks.bi5``, months count from 1.

    Raises
    ------
    DataError
        If the date does not exist.
    """
    text = path.absolute().as_posix()
    match, first_month = _TREE_NAME.search(text), 0
    if match is None:
        match, first_month = _FLAT_NAME.search(text), 1
    if match is None:
        return None
    year, month, day, hour = (int(part) for part in match.groups())
    try:
        moment = dt.datetime(year, month + 1 - first_month, day, hour, tzinfo=dt.UTC)
    except ValueError as failure:
        counted = "0 to 11" if first_month == 0 else "1 to 12"
        msg = f"The name gives no date that exists (months {counted}): {failure}. Rename the file."
        raise DataError(msg, file=path) from failure
    return int(moment.timestamp()) // 3600


def read_hour(path: Path, hour: int, instrument: Instrument) -> TickArrays:
    """Decode one hour file.

    Parameters
    ----------
    path : Path
        The file; 0 bytes are an hour without ticks.
    hour : int
        Hours since the epoch.
    instrument : Instrument
        Gives the price scale.

    Returns
    -------
    TickArrays
        In the order of the file; sizes in units of the base currency.

    Raises
    ------
    DataError
        If the file is not LZMA, is truncated, or holds records that are no ticks of one hour.
    """
    return decode_hour(_read(path), hour, instrument, file=path)


def decode_hour(raw: bytes, hour: int, instrument: Instrument, *, file: Path | str) -> TickArrays:
    """Decode the bytes of an hour file, as `read_hour` does.

    Parameters
    ----------
    raw : bytes
        Compressed content; 0 bytes are an hour without ticks.
    hour : int
        Hours since the epoch.
    instrument : Instrument
        Gives the price scale.
    file : Path or str
        Where the bytes are from, for messages.

    Raises
    ------
    DataError
        As `read_hour`.
    """
    return _ticks(_decompress(raw, file), hour, instrument, file)


def _ticks(data: bytes, hour: int, instrument: Instrument, file: Path | str) -> TickArrays:
    """Return the ticks of an hour's unpacked records."""
    records = _records(data, TICK_RECORD, file)
    ms = records["ms"].astype(np.int64)
    late = ms >= HOUR_MS
    if late.any():
        row = int(np.argmax(late))
        what = "The file holds minute candles." if _looks_like_candles(data) else "The file holds no ticks."
        msg = f"This tick is at {ms[row]} ms, outside of its hour (below {HOUR_MS} ms). "
        raise DataError(f"{msg}{what} Give hour files of ticks (NNh_ticks.bi5).", file=file, row=row)
    return TickArrays(
        hour * HOUR_NS + ms * 1_000_000,
        records["bid"] / float(instrument.price_scale),
        records["ask"] / float(instrument.price_scale),
        _units(records["bid_size"]),
        _units(records["ask_size"]),
    )


def read_candles(path: Path, instrument: Instrument, day: dt.date | None = None) -> pl.DataFrame:
    """Decode a day file of minute candles, ``BID_candles_min_1.bi5``: Dukascopy's own bars.

    Parameters
    ----------
    path : Path
        The file.
    instrument : Instrument
        Gives the price scale.
    day : date, optional
        The day; read from ``YYYY/MM/DD`` (months from 00) in the path if absent.

    Returns
    -------
    polars.DataFrame
        ``ts_open_ns`` int64, ``open high low close`` float64, ``volume`` float64 in units of the base
        currency, as the provider rounds it.  Minutes without ticks are flat bars of volume 0.

    Raises
    ------
    DataError
        If the file is not LZMA, is truncated, or holds no candles of one day.
    """
    raw = _decompress(_read(path), path)
    records = _records(raw, CANDLE_RECORD, path)
    if not _looks_like_candles(raw):
        raise DataError("Candles must be of whole minutes of a day, but these are not.", file=path)
    start_s = _day_start_s(path, day)
    scale = float(instrument.price_scale)
    columns = {name: records[name] / scale for name in ("open", "high", "low", "close")}
    ts_open_ns = (start_s + records["s"].astype(np.int64)) * 1_000_000_000
    volume = records["volume"].astype(np.float64) * _MILLION
    return pl.DataFrame({"ts_open_ns": ts_open_ns, **columns, "volume": volume})


def _day_start_s(path: Path, day: dt.date | None) -> int:
    if day is not None:
        return (day - dt.date(1970, 1, 1)).days * DAY_S
    hour = hour_of(path.with_name("00h_ticks.bi5"))
    if hour is None:
        msg = "The path does not say the day (YYYY/MM/DD/, months from 00). Give the day."
        raise DataError(msg, file=path)
    return hour * 3600


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as failure:
        raise DataError(
            f"This file cannot be read: {failure.strerror}. Check its permissions.", file=path
        ) from failure


def _decompress(raw: bytes, path: Path | str) -> bytes:
    if not raw:
        return b""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    try:
        data = decoder.decompress(raw, _MAX_BYTES)
    except lzma.LZMAError as failure:
        msg = "This bi5 file is not LZMA-compressed, or it is damaged: "
        raise DataError(f"{msg}{failure}. Download it again.", file=path) from failure
    if len(data) == _MAX_BYTES:
        msg = f"This bi5 file of {len(raw)} bytes unpacks to more than {_MAX_BYTES}. "
        raise DataError(msg + "No market makes that many ticks: download it again.", file=path)
    if not decoder.eof:
        msg = f"This bi5 file is cut off after {len(raw)} bytes. "
        raise DataError(msg + "Download it again: a quiet hour has 0 bytes.", file=path)
    if decoder.unused_data or not data:
        # Zeros, for one, are a valid header of a stream of length 0 followed by rubbish.
        msg = f"This bi5 file of {len(raw)} bytes holds no LZMA-compressed records. "
        raise DataError(msg + "Download it again: a quiet hour has 0 bytes.", file=path)
    return data


def _records(data: bytes, record: np.dtype[np.void], path: Path | str) -> NDArray[np.void]:
    if len(data) % record.itemsize:
        msg = (
            f"The content of {len(data)} bytes is not whole records of {record.itemsize} bytes: "
            f"{len(data) % record.itemsize} are too many. "
        )
        raise DataError(msg + "The file is cut off or of another kind: download it again.", file=path)
    return np.frombuffer(data, dtype=record)


def _units(millions: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.rint(millions.astype(np.float64) * _MILLION))


def _looks_like_candles(data: bytes) -> bool:
    if not data or len(data) % CANDLE_RECORD.itemsize:
        return False
    seconds = np.frombuffer(data, dtype=CANDLE_RECORD)["s"].astype(np.int64)
    return bool(seconds[-1] < DAY_S and not (seconds % 60).any() and (np.diff(seconds) > 0).all())


def expected_hours(first: int, last: int, instrument: Instrument) -> NDArray[np.int64]:
    """Return the hours from `first` to `last` (both included) in which the instrument trades."""
    if instrument.always_open:
        return np.arange(first, last + 1, dtype=np.int64)
    return open_hours(first, last)


def _not_hour_file(path: Path, instrument: Instrument) -> DataError:
    """Return why a file that is no hour file by name cannot be read, by its content first."""
    raw = _decompress(_read(path), path)
    if not raw:
        msg = "This file has 0 bytes: it is an hour without ticks."
        return DataError(msg + " Give hours of an open market.", file=path)
    read_candle = "candles" in path.name or _looks_like_candles(raw)
    if read_candle:
        msg = "This file holds minute candles, not ticks. "
        return DataError(msg + "Give the hour files beside it (NNh_ticks.bi5).", file=path)
    read_hour(path, 0, instrument)
    msg = "The name does not say the hour. Rename the file, as in EURUSD/2019/01/04/00h_ticks.bi5 (months "
    return DataError(msg + "from 00) or EURUSD_2019-02-04_00h_ticks.bi5.", file=path)


def _names(files: Sequence[Path]) -> list[str]:
    names = sorted({file.name for file in files})
    return names if len(names) <= 6 else [*names[:6], f"and {len(names) - 6} more names"]
