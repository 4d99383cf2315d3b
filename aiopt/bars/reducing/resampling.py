"""Longer bars from shorter ones: exact, and only where they can be.

Owns when bars of one length may be merged into bars of another.  The result is that of
`aiopt.testing.reference_bars.build_bars` on the ticks the shorter bars were built from.  Knows no files.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from aiopt.bars.schema import BAR_SCHEMA, labels
from aiopt.errors import DataError
from aiopt.timeframe import Timeframe
from aiopt.utc import stamp_text


def check_timeframes(base: Timeframe, wanted: tuple[Timeframe, ...]) -> None:
    """Raise `DataError` unless each wanted timeframe is the given one or a whole multiple of it.

    Parameters
    ----------
    base : Timeframe
        Of the bars that are there.
    wanted : tuple of Timeframe
        Of the bars to be made.
    """
    finer = tuple(timeframe for timeframe in wanted if timeframe.ns < base.ns)
    if finer:
        msg = f"Bars of {base.label} cannot be cut into shorter ones, but {labels(finer)} was asked for. "
        raise DataError(msg + f"Use --timeframes {base.label} or longer, or give finer bars.")
    uneven = tuple(timeframe for timeframe in wanted if timeframe.ns % base.ns)
    if uneven:
        msg = f"A timeframe must be a whole multiple of the bars given ({base.label}), but {labels(uneven)} "
        raise DataError(msg + "is none. Use another timeframe.")


def resample_bars(frame: pl.DataFrame, base: Timeframe, wanted: Timeframe) -> pl.DataFrame:
    """Merge bars into longer ones that open at whole multiples of their length since the epoch, UTC.

    Parameters
    ----------
    frame : polars.DataFrame
        `BAR_SCHEMA`, in time order.
    base, wanted : Timeframe
        Length of `frame`'s bars, and of the result's: a multiple of it.

    Returns
    -------
    polars.DataFrame
        `BAR_SCHEMA`; a bar without any shorter one is absent.  Open and close are those of the first and last
        shorter bar; volume and ticks are sums.

    Raises
    ------
    DataError
        If `wanted` is no multiple of `base`, or shorter bars do not open on its grid.
    """
    check_timeframes(base, (wanted,))
    if wanted.ns == base.ns:
        return frame
    off = frame["ts_open_ns"].to_numpy() % base.ns != 0
    if off.any():
        row = int(np.argmax(off))
        when = stamp_text(int(frame["ts_open_ns"][row]))
        msg = f"Bars to be merged must open at whole multiples of {base.label}, UTC, but one does at {when}. "
        raise DataError(msg + f"Use --timeframes {base.label} alone, or give other bars.", row=row)
    merged = (
        frame.lazy()
        .group_by((pl.col("ts_open_ns") // wanted.ns * wanted.ns).alias("ts_open_ns"), maintain_order=True)
        .agg(
            open=pl.col("open").first(),
            high=pl.col("high").max(),
            low=pl.col("low").min(),
            close=pl.col("close").last(),
            volume=pl.col("volume").sum(),
            ticks=pl.col("ticks").sum(),
        )
        .collect()
    )
    return merged.cast(BAR_SCHEMA)
