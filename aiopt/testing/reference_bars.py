"""The reference builder of time bars: ticks in memory, one process, one Polars expression.

Owns `build_bars`, which the reducers of `aiopt.bars.reducing` must equal bit for bit.  Knows nothing of
files, of shards or of where ticks come from.
"""

from __future__ import annotations

import polars as pl

from aiopt.bars.reducing.filling import fill_flat
from aiopt.bars.schema import Empty, check_empty, check_price
from aiopt.errors import DataError
from aiopt.ticks.schema import TICK_COLUMNS, nearest_decimal
from aiopt.timeframe import Timeframe, parse_timeframe

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
    length = parse_timeframe(timeframe) if isinstance(timeframe, str) else timeframe
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
