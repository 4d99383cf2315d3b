"""Bars as the second witness of a clock: reading them, and holding other bars against them.

Owns the way from a provider's bar files to `aiopt.ticks.clocks.second_witness.Witness`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from aiopt.bars.files import read_series
from aiopt.bars.importing.bar_source import BarSource, read_bar_source
from aiopt.bars.importing.reading import BarReading
from aiopt.errors import ConfigError
from aiopt.market.instrument import Instrument
from aiopt.ticks.clocks.second_witness import Witness, check_against, ranges_of
from aiopt.ticks.sources.dukascopy import read_candles
from aiopt.utc import MINUTE_NS


def read_witness(
    path: Path, instrument: Instrument, *, format: str | None = None, timezone: str | None = None
) -> Witness:
    """Read the bars of a second witness.

    Parameters
    ----------
    path : Path
        What ``aiopt bars import`` reads, bar files of our own or other Parquet bars, or a day of Dukascopy's
        minute candles.
    instrument : Instrument
        What they must be of.
    format, timezone : str, optional
        Layout and clock of a provider's bars, if not its own.

    Raises
    ------
    DataError
        If the bars cannot be read, or their own weeks contradict their clock.
    """
    path = Path(path)
    name = "/".join(path.absolute().parts[-2:])
    if path.suffix.lower() == ".bi5":
        frame = read_candles(path, instrument).filter(pl.col("volume") > 0)
        side = "ask" if path.name.upper().startswith("ASK") else "bid"
        return Witness(name, side, ranges_of(frame, MINUTE_NS), "UTC, the format's own")
    if path.suffix.lower() in {".parquet", ".pq"} or (path.is_dir() and any(path.rglob("*.parquet"))):
        tables = read_series(path, symbol=instrument.symbol)
        table = tables.get("bid", next(iter(tables.values())))
        side = table.meta.price if table.meta.price in {"ask", "mid"} else "bid"
        stamps = table.frame["ts_open_ns"].to_numpy()
        step = int(np.min(np.diff(stamps))) if stamps.size > 1 else 0
        return Witness(name, side, ranges_of(table.frame, step), "UTC, as bar files are")
    read = read_bar_source(path, BarReading(format=format, timezone=timezone), instrument=instrument.symbol)
    side = next(iter(read.sides))
    proved = "proved by its weeks" if read.proof.is_proved else "not proved"
    return Witness(
        name, side, ranges_of(read.sides[side], read.timeframe.ns), f"{read.proof.clock}, {proved}"
    )


def witness_of(path: Path | None, timezone: str | None) -> Callable[[Instrument], Witness] | None:
    """Return a function that reads the bars of a witness for an instrument; None if there is none.

    Raises
    ------
    ConfigError
        If a clock is given without bars.
    """
    if path is None:
        if timezone is not None:
            raise ConfigError(
                "--check-timezone needs --check-against: it is the clock of those bars. Add it."
            )
        return None
    return partial(read_witness, path, timezone=timezone)


def check_bars(read: BarSource, *, witness: Callable[[Instrument], Witness], source: Path) -> str:
    """Compare a provider's bars with a witness, see `check_against`; the witness's side if they have it."""
    found = witness(read.instrument)
    frame = read.sides.get(found.side, next(iter(read.sides.values())))
    return check_against(ranges_of(frame, read.timeframe.ns), found, read.instrument, source)
