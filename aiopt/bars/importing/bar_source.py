"""A provider's bars, read and checked: from files of any layout to bars in UTC on the instrument's grid.

Owns what is refused, what is left out on request, and in what order that is judged.  Writes nothing and knows
nothing of ticks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aiopt.bars.importing.bar_clock import bars_to_utc
from aiopt.bars.importing.joining import join_bars, prices_text
from aiopt.bars.importing.layouts import READERS, TABLES, Sides, check_format, list_files, recognise
from aiopt.bars.importing.reading import BarReading
from aiopt.bars.importing.tables import TableBars, modal_timeframe, read_bar_table
from aiopt.bars.schema import BAR_SCHEMA, OHLC
from aiopt.errors import DataError
from aiopt.market.instrument import Instrument
from aiopt.ticks.clocks.clock_proof import ClockProof
from aiopt.ticks.schema import round_price
from aiopt.ticks.sources.instrument_evidence import path_evidence, resolve_or_assume
from aiopt.ticks.stamps.stamp_reader import Reading
from aiopt.timeframe import Timeframe
from aiopt.utc import stamp_text


@dataclass(frozen=True, eq=False)
class BarSource:
    """A provider's bars, read and checked.

    Attributes
    ----------
    instrument : Instrument
        What they are of.
    timeframe : Timeframe
        Length of a bar.
    format, clock : str
        Layout of the files, and the clock (or clocks) their stamps were read as.
    sides : dict of str to polars.DataFrame
        ``"bid"`` and perhaps ``"ask"`` to bars of `BAR_SCHEMA`: opening times in UTC nanoseconds, ascending,
        prices on the instrument's grid.  One side if the provider gives one; ``"last"`` if a table does not
        say which.
    repeated, dropped : int
        Bars left out: equal ones read before, and impossible ones (only on request).
    proof : ClockProof
        What proves the clock.
    notes : tuple of str
        How stamps of tables were read, where that needs a word.
    """

    instrument: Instrument
    timeframe: Timeframe
    format: str
    clock: str
    sides: dict[str, pl.DataFrame]
    repeated: int
    dropped: int
    proof: ClockProof
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _AsRead:
    """The files of a source as they are.

    Attributes
    ----------
    parts : list of tuple of Path and Sides
        Files and their bars.
    clock : str
        The layout by whose clock stamps are read.
    notes : list of str
        How they were read.
    """

    parts: list[tuple[Path, Sides]]
    clock: str
    notes: list[str]


def read_bar_source(
    source: Path, reading: BarReading | None = None, *, instrument: str | None = "EURUSD"
) -> BarSource:
    """Read a provider's bars and check them, without writing anything.

    Parameters
    ----------
    source : Path
        File or folder of one of `aiopt.bars.importing.layouts.BAR_FORMATS`.
    reading : BarReading, optional
        What the files do not say.
    instrument : str or None
        Symbol, which nothing in the source may contradict.  None: what the source says; then it must say one,
        see `aiopt.ticks.sources.instrument_evidence`.

    Raises
    ------
    DataError
        If the source holds no bars of a known layout, its weeks contradict the clock, or a bar is impossible
        or contradicts another; names file and row.
    """
    source, reading = Path(source), reading or BarReading()
    check_format(reading.format)
    files = list_files(source)
    evidence = path_evidence(files, source, rows=instrument is None)
    item, assumed = resolve_or_assume(instrument, evidence, source)
    layout = reading.format or recognise(files[0], is_table=reading.table().of_table)
    read = (_read_tables if layout in TABLES else _read_layout)(layout, files, item, reading, source)
    parts, proof = bars_to_utc(
        read.parts, read.clock, item, timezone=reading.timezone, keep=reading.keep_clock
    )
    sides: Sides = {}
    repeated = dropped = 0
    for side in parts[0][1]:
        frames = [_checked(frames[side], file, item, reading.drop_bad) for file, frames in parts]
        dropped += sum(
            before[1][side].height - after.height for before, after in zip(parts, frames, strict=True)
        )
        sides[side], twice = _joined(frames, files)
        repeated += twice
    timeframe = modal_timeframe(next(iter(sides.values()))["ts_open_ns"].to_numpy(), source)
    notes = (*read.notes, *assumed)
    return BarSource(item, timeframe, layout, proof.clock, sides, repeated, dropped, proof, notes)


def _read_tables(
    layout: str, files: Sequence[Path], item: Instrument, reading: BarReading, source: Path
) -> _AsRead:
    clock_given = reading.timezone is not None
    found = [read_bar_table(file, item, reading.table(), clock_given=clock_given) for file in files]
    parts = [(file, bars.sides) for file, bars in zip(files, found, strict=True)]
    clock = _clock_name(layout, found, source)
    _check_sides(parts)
    return _AsRead(parts, clock, _notes(found))


def _read_layout(
    layout: str, files: Sequence[Path], item: Instrument, reading: BarReading, source: Path
) -> _AsRead:
    if reading.table().of_table or reading.price is not None:
        msg = f"Columns, times and --price may only be given for {', '.join(TABLES)}, but the format is "
        raise DataError(f"{msg}{layout}. Leave them out.", file=source)
    return _AsRead([(file, READERS[layout](file)) for file in files], layout, [])


def _clock_name(name: str, found: Sequence[TableBars], source: Path) -> str:
    """Return the layout by whose clock tables are read: MetaTrader's, if its Python package made them."""
    zoned = {bars.reading.zoned for bars in found}
    if len(zoned) > 1:
        msg = "Stamps must all say their zone, or none, but files of this folder differ. Import them apart."
        raise DataError(msg, file=source)
    of_metatrader = not zoned.pop() and all(bars.of_metatrader for bars in found)
    return "metatrader" if of_metatrader else name


def _notes(found: Sequence[TableBars]) -> list[str]:
    notes = [_note(bars.reading) for bars in found if not bars.reading.is_plain]
    notes += ["Closing times were turned into opening times." for bars in found if bars.closes]
    return list(dict.fromkeys(notes))


def _note(reading: Reading) -> str:
    return f"Stamps were read as {reading.text}."


def _check_sides(parts: Sequence[tuple[Path, dict[str, pl.DataFrame]]]) -> None:
    first = set(parts[0][1])
    for file, sides in parts:
        if set(sides) != first:
            msg = f"Files of a source must have the same prices, but this one has {' and '.join(sides)}, "
            raise DataError(f"{msg}others {' and '.join(first)}. Import them apart.", file=file)


def _checked(frame: pl.DataFrame, file: Path, item: Instrument, drop_bad: bool) -> pl.DataFrame:
    """Return the bars with prices on the grid; refuse or leave out impossible ones."""
    raw = {name: frame[name].to_numpy() for name in OHLC}
    price = {name: round_price(values, item) for name, values in raw.items()}
    low, high = item.plausible_low, item.plausible_high
    plausible = np.logical_and.reduce([(values >= low) & (values <= high) for values in price.values()])
    inside = (price["low"] <= np.minimum(price["open"], price["close"])) & (
        price["high"] >= np.maximum(price["open"], price["close"])
    )
    good = plausible & inside
    if not good.all() and not drop_bad:
        at = int(np.argmin(good))
        values = prices_text({name: float(raw[name][at]) for name in OHLC})
        rule = (
            f"Prices of {item.symbol} must lie in {low:g} … {high:g}"
            if not plausible[at]
            else "High and low of a bar must hold its open and close"
        )
        when = stamp_text(int(frame["ts_open_ns"][at]))
        msg = f"{rule}, but got {values} at {when}. Mend the file, or leave such bars out with --drop-bad."
        raise DataError(msg, file=file, row=int(frame["row"][at]))
    volume = (
        frame["volume"] if "volume" in frame.columns else pl.Series([0.0]).new_from_index(0, frame.height)
    )
    columns: dict[str, Any] = {"ts_open_ns": frame["ts_open_ns"], **price, "volume": volume.fill_nan(0.0)}
    return pl.DataFrame({**columns, "ticks": frame["ticks"], "row": frame["row"]}).filter(pl.Series(good))


def _joined(frames: Sequence[pl.DataFrame], files: Sequence[Path]) -> tuple[pl.DataFrame, int]:
    """Return the bars of all files in order of time, and how many were there twice."""
    joined = join_bars(frames)
    if not joined.frame.height:
        raise DataError("A source must leave at least one bar, but none is left. Check it.", file=files[0])
    if joined.clash is not None:
        bar = joined.clash[1]
        msg = (
            f"A time must have one bar, but {stamp_text(int(bar['ts_open_ns']))} has a second one "
            f"({prices_text(bar)}). Give the right clock with --timezone, or remove one of the two."
        )
        raise DataError(msg, file=files[int(bar["part"])], row=int(bar["row"]))
    return joined.frame.select(BAR_SCHEMA.names()).cast(BAR_SCHEMA), joined.repeated
