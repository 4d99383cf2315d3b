"""Bars for times without ticks: marked in the column ``filled``, or flat everywhere and unmarked.

Owns which bars are missing and what stands in for them.  Knows nothing of ticks or files.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from aiopt.bars.schema import BAR_SCHEMA
from aiopt.errors import ConfigError, did_you_mean
from aiopt.market.calendar import is_open
from aiopt.market.sessions import TradingSession
from aiopt.timeframe import Timeframe, time_grid

Fill = Literal["none", "flat", "linear"]
FILL_RULES: tuple[str, ...] = get_args(Fill)


def check_fill(fill: str) -> None:
    """Raise `ConfigError` unless `fill` is one of `FILL_RULES`."""
    if fill not in FILL_RULES:
        msg = f"`fill` must be one of {', '.join(FILL_RULES)}, but got {fill!r}."
        raise ConfigError(msg + did_you_mean(fill, FILL_RULES))


def fill_gaps(
    bars: pl.DataFrame,
    timeframe: Timeframe,
    fill: Fill,
    *,
    session: TradingSession | None = None,
    always_open: bool = False,
) -> pl.DataFrame:
    """Insert a marked bar at every opening time between the first and the last bar that has none.

    With ``"flat"`` its prices are the close of the last bar with ticks.  With ``"linear"`` the ``n`` bars of
    a gap go in equal steps from the close ``c`` before it to the open ``o`` behind it: bar ``k = 1 … n`` goes
    from ``c + (o - c) (k - 1) / n`` to ``c + (o - c) k / n``.  **The linear rule knows the future**:
    it is for pictures and for data sets that allow it, and backtests refuse such bars.

    Parameters
    ----------
    bars : polars.DataFrame
        Time bars in order, of ticks alone.
    timeframe : Timeframe
        Theirs.
    fill : {"none", "flat", "linear"}
        ``"none"`` returns `bars` as they are.
    session : TradingSession, optional
        Theirs: no bar is inserted outside it.
    always_open : bool
        Also fill while the FX week is closed, Friday to Sunday 17:00 in New York.

    Returns
    -------
    polars.DataFrame
        The columns of `bars`, and ``filled``: True for inserted bars, whose volume and ticks are 0 and whose
        spread statistics are NaN.
    """
    if fill == "none":
        return bars
    ts = bars["ts_open_ns"].to_numpy()
    if ts.size == 0:
        return bars.with_columns(filled=pl.lit(False))
    if session is None:
        wanted = time_grid(ts[0], ts[-1] + 1, timeframe.ns)
    else:
        spans = session.spans(int(ts[0]), int(ts[-1]), timeframe)
        wanted = spans.openings(int(ts[0]), int(ts[-1]), timeframe)
    source = np.searchsorted(ts, wanted, side="right") - 1
    filled = ts[source] != wanted
    kept = ~filled | always_open | is_open(wanted)
    wanted, source, filled = wanted[kept], source[kept], filled[kept]
    before = bars["close"].to_numpy()[source]
    after = bars["open"].to_numpy()[np.minimum(source + 1, ts.size - 1)]
    # Place of a filled bar in its gap, from 1, and the length of the gap.
    first = np.searchsorted(source, source, side="left")
    place = np.arange(source.size) - first
    length = np.searchsorted(source, source, side="right") - first - 1
    step = (after - before) / np.maximum(length, 1) if fill == "linear" else np.zeros(before.size)
    opens, closes = before + step * (place - 1), before + step * place
    inserted = {"open": opens, "close": closes, "high": np.maximum(opens, closes)}
    inserted["low"] = np.minimum(opens, closes)
    columns: dict[str, Any] = {"ts_open_ns": wanted}
    for name in bars.columns[1:]:
        values = bars[name].to_numpy()[source]
        if name == "ts_close_ns":
            ends = wanted + timeframe.ns if session is None else spans.closing(wanted, timeframe)
            columns[name] = np.where(filled, ends, values)
        elif name in inserted:
            columns[name] = np.where(filled, inserted[name], values)
        else:
            columns[name] = np.where(filled, np.nan if name.startswith("spread_") else 0, values)
    return pl.DataFrame(columns, schema=bars.schema).with_columns(filled=pl.Series(filled))


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
