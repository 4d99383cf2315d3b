"""Dukascopy's JSON API of 2026: one answer is one hour of ticks, as differences from tick to tick.

Owns the shape of an answer and its exact decoding.  Knows nothing of how answers are fetched or kept.

An answer says itself which hour it is of (``timestamp``), so files may have any name.  An hour without ticks
has empty lists; anything cut short or of another shape is an error, never a quiet hour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources.dukascopy import expected_hours
from aiopt.ticks.sources.source import Batch, ReaderOptions, TickSource, check_symbols
from aiopt.ticks.sources.zipped import read_text
from aiopt.utc import HOUR_MS, HOUR_NS, hour_text

FORMAT = "dukascopy_json"

# Far beyond any hour or price, and small enough that sums of a whole answer fit 64 bits.
_Step = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31)]
# The end of 2261: beyond it int64 nanoseconds end.
_LAST_MS = 9_214_646_400_000
_LISTS = ("times", "asks", "bids", "ask_volumes", "bid_volumes")


class TickAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An answer to ``/v1/ticks/{INSTR}/{Y}/{M}/{D}/{H}``.

    Attributes
    ----------
    timestamp : int
        Start of the hour, UTC milliseconds since the epoch.
    multiplier : float
        Quote currency per point.
    ask, bid : float or None
        Prices the differences are counted from; None in an hour without ticks.
    times : list of int
        Milliseconds since the tick before, of the first since `timestamp`.
    asks, bids : list of int
        Points since the tick before, of the first since `ask` and `bid`.
    ask_volumes, bid_volumes : list of float
        Units of the base currency.
    """

    timestamp: Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)]
    multiplier: float
    ask: float | None
    bid: float | None
    times: list[_Step]
    asks: list[_Step]
    bids: list[_Step]
    ask_volumes: list[float]
    bid_volumes: list[float]


def open_source(
    root: Path, files: Sequence[Path], instrument: Instrument, options: ReaderOptions
) -> TickSource:
    """List the files with ticks, in order of time.

    Raises
    ------
    DataError
        If none holds ticks, one holds broken ones, an hour occurs twice, or the names say another instrument.
    """
    del options
    hours: dict[int, Path] = {}
    empty: list[int] = []
    aside = 0
    for file in files:
        raw = _read(file)
        if _is_other_answer(raw):
            aside += 1
            continue
        hour, ticks = decode(raw, file=file)
        if hour in hours:
            msg = f"{hours[hour]} is of the same hour as this file. Import each on its own."
            raise DataError(msg, file=file)
        hours[hour] = file
        if not len(ticks):
            empty.append(hour)
    if len(empty) == len(hours):
        msg = f"There is no tick here: {len(empty)} file(s) are of hours without ticks "
        msg += f"and {aside} hold candles or descriptions. Give answers of /v1/ticks of an open market."
        raise DataError(msg, file=root)
    ordered = sorted(hours)
    paths = tuple(hours[hour] for hour in ordered)
    check_symbols(paths, root, instrument)
    wanted = expected_hours(ordered[0], ordered[-1], instrument)

    def read(number: int) -> Iterator[Batch]:
        _, ticks = decode(_read(paths[number]), file=paths[number])
        if len(ticks):
            yield Batch(ticks, number, 0, paths[number].stat().st_size)

    return TickSource(
        format=FORMAT,
        root=root,
        files=paths,
        read=read,
        notes=[f"{aside} file(s) left aside: candles or descriptions, not ticks."] if aside else [],
        empty_hours=tuple(sorted(empty)),
        missing_hours=tuple(int(hour) for hour in wanted if int(hour) not in hours),
    )


def decode(raw: bytes, *, file: Path | str, hour: int | None = None) -> tuple[int, TickArrays]:
    """Decode an answer exactly: prices are whole points divided by a power of ten.

    Parameters
    ----------
    raw : bytes
        JSON.
    file : Path or str
        Where the bytes are from, for messages.
    hour : int, optional
        Hours since the epoch that the answer must be of.

    Returns
    -------
    hour : int
        Hours since the epoch.
    ticks : TickArrays
        In the order of the answer.

    Raises
    ------
    DataError
        If the JSON is cut short or of another shape, of another hour, or holds ticks outside its hour.
    """
    try:
        answer = msgspec.json.decode(raw, type=TickAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        msg = f"This is no whole JSON of /v1/ticks: {failure}. Download it again."
        raise DataError(msg, file=file) from failure
    found, rest = divmod(answer.timestamp, HOUR_MS)
    if rest:
        msg = f"`timestamp` must be the start of an hour, but got {answer.timestamp} ms. Download it again."
        raise DataError(msg, file=file)
    if hour is not None and found != hour:
        msg = f"This answer is of the hour {hour_text(found)}, not of {hour_text(hour)}. "
        raise DataError(msg + "The address is wrong (months count from 1), or the server.", file=file)
    lengths = {name: len(getattr(answer, name)) for name in _LISTS}
    if len(set(lengths.values())) != 1:
        msg = f"The lists are not equally long: {lengths}. Download it again."
        raise DataError(msg, file=file)
    return found, _ticks(answer, found, file)


def _ticks(answer: TickAnswer, hour: int, file: Path | str) -> TickArrays:
    if not answer.times:
        nothing = np.zeros(0, dtype=np.float64)
        return TickArrays(np.zeros(0, dtype=np.int64), nothing, nothing, nothing, nothing)
    scale = _scale(answer.multiplier, file)
    ms = np.cumsum(np.array(answer.times, dtype=np.int64))
    outside = (ms < 0) | (ms >= HOUR_MS)
    if outside.any():
        row = int(np.argmax(outside))
        msg = f"This tick is at {ms[row]} ms, outside of its hour (from 0 to below {HOUR_MS} ms)."
        raise DataError(msg + " Download it again.", file=file, row=row)
    return TickArrays(
        hour * HOUR_NS + ms * 1_000_000,
        _prices(answer.bid, answer.bids, scale, "bid", file),
        _prices(answer.ask, answer.asks, scale, "ask", file),
        np.rint(np.array(answer.bid_volumes, dtype=np.float64)),
        np.rint(np.array(answer.ask_volumes, dtype=np.float64)),
    )


def _scale(multiplier: float, file: Path | str) -> int:
    """Return points per quote currency, which must be a power of ten."""
    digits = round(-math.log10(multiplier)) if 0 < multiplier <= 1 else -1
    if not 0 <= digits <= 9 or multiplier != float(f"1e-{digits}"):
        msg = f"`multiplier` must be 1, 0.1, … or 1e-9, but got {multiplier}. Download it again."
        raise DataError(msg, file=file)
    return int(10**digits)


def _prices(
    base: float | None, steps: list[int], scale: int, name: str, file: Path | str
) -> NDArray[np.float64]:
    points = math.nan if base is None else base * scale
    # The base is a decimal number of `scale` steps read as a double, so it is off by far less than a step.
    if not math.isfinite(points) or abs(points - round(points)) > 1e-3:
        msg = (
            f"`{name}` must be a whole number of points of {1 / scale:g}, but got {base}. Download it again."
        )
        raise DataError(msg, file=file)
    return np.asarray((round(points) + np.cumsum(np.array(steps, dtype=np.int64))) / float(scale))


def is_tick_answer(path: Path) -> bool:
    """Return whether a file looks like an answer with ticks, also one that is cut short."""
    raw = _read(path)
    return all(key in raw for key in (b'"timestamp"', b'"multiplier"', b'"times"')) and b'"opens"' not in raw


def _is_other_answer(raw: bytes) -> bool:
    """Return whether this is whole JSON of the API's other answers: candles, instruments, lists."""
    try:
        if raw.lstrip()[:1] == b"[":
            msgspec.json.decode(raw)
            return True
        keys = msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).keys()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return "times" not in keys or "opens" in keys


def _read(path: Path) -> bytes:
    try:
        return read_text(path)
    except OSError as failure:
        raise DataError(
            f"This file cannot be read: {failure.strerror}. Check its permissions.", file=path
        ) from failure
