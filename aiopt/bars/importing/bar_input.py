"""Bars as the input of a run: any files of bars to bid and ask bars on one grid of time and price.

Owns what may be put together: sources of one instrument and timeframe, sides of one market, a spread where
one side is missing.  `aiopt.bars.importing.series` reads a source, `aiopt.bars.spread_model` gives the
spread.  Knows nothing of runs and clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt import __version__
from aiopt.bars.files import bar_path, write_bars
from aiopt.bars.importing.joining import hash_sides, join_bars, prices_text
from aiopt.bars.importing.reading import BarReading
from aiopt.bars.importing.series import OWN, REPEATED, SourceSeries, read_source
from aiopt.bars.manifest import BarManifest
from aiopt.bars.reducing.resampling import check_timeframes, resample_bars
from aiopt.bars.schema import OHLC, PRICES, BarMeta
from aiopt.bars.spread_model import SpreadConfig, load_spread
from aiopt.bars.stops.stop_files import StopTable
from aiopt.bars.stops.stop_slippage import StopSlippage
from aiopt.bars.stops.stops_of_bars import stops_identity, stops_of_sources, write_stops
from aiopt.errors import ConfigError, DataError
from aiopt.market.calendar import open_hours
from aiopt.market.instrument import Instrument
from aiopt.market.instrument import instrument as find_instrument
from aiopt.ticks.manifest import SilentHour
from aiopt.ticks.schema import price_steps, round_price
from aiopt.timeframe import Timeframe, parse_timeframe
from aiopt.utc import HOUR_NS, hour_text, stamp_text

UNPAIRED = "of one side only"

_MOST_APART = 0.01


@dataclass(frozen=True)
class BarInput:
    """Bid and ask bars, ready to be merged into the timeframes of a run.

    Attributes
    ----------
    manifest : BarManifest
        What they are made from.
    instrument : Instrument
        What is traded.
    base : Timeframe
        Length of the bars.
    bid, ask : polars.DataFrame
        `BAR_SCHEMA`, equal opening times, prices on the instrument's grid, ask at or above bid.
    stops : StopTable or StopSlippage or None
        What is known of their stops, see `aiopt.bars.stops.stops_of_bars`.
    """

    manifest: BarManifest
    instrument: Instrument
    base: Timeframe
    bid: pl.DataFrame
    ask: pl.DataFrame
    stops: StopTable | StopSlippage | None = None

    def opens(self, timeframe: Timeframe) -> NDArray[np.int64]:
        """Return the opening times (UTC ns) of the bars of a timeframe."""
        return resample_bars(self.bid, self.base, timeframe)["ts_open_ns"].to_numpy()

    def write(self, folder: Path, timeframes: Sequence[Timeframe]) -> None:
        """Write bid and ask bars of each timeframe below `folder`, see `aiopt.bars.files.bar_path`.

        Raises
        ------
        DataError
            If a timeframe cannot be made from `base`.
        StorageError
            If the disk is full or the folder is not writable.
        """
        check_timeframes(self.base, tuple(timeframes))
        for timeframe in timeframes:
            # Before the bars: bars that are there have what is known of their stops.
            place = bar_path(folder, self.instrument.symbol, timeframe, "bid").parent
            known = self.manifest
            write_stops(place, self.stops, timeframe, known.data_hash, synthetic=known.synthetic)
            for side, frame in (("bid", self.bid), ("ask", self.ask)):
                meta = BarMeta(
                    instrument=self.instrument.symbol,
                    timeframe=timeframe.label,
                    price=side,
                    data_hash=self.manifest.data_hash,
                    synthetic=self.manifest.synthetic,
                    source=f"{self.manifest.source}; spread: {self.manifest.spread}",
                )
                merged = resample_bars(frame, self.base, timeframe)
                write_bars(bar_path(folder, self.instrument.symbol, timeframe, side), merged, meta)


def open_bars(
    sources: Sequence[Path],
    *,
    ask_sources: Sequence[Path] = (),
    instrument: str = "EURUSD",
    timeframes: Sequence[Timeframe] = (),
    reading: BarReading | None = None,
    spread: SpreadConfig | None = None,
    log: Callable[[str], None] | None = None,
) -> BarInput:
    """Read bars as the input of a run.

    Parameters
    ----------
    sources : sequence of Path
        Each a bar file or folder of our own (`aiopt bars build`, `aiopt bars import`), or what
        `read_bar_source` reads.  Bars that two of them have are taken once if they are equal.
    ask_sources : sequence of Path
        One-sided bars of the ask, where `sources` are of the bid.
    instrument : str
        Symbol the bars must be of.
    timeframes : sequence of Timeframe
        What will be made of the bars; checked early.
    reading : BarReading, optional
        What the files do not say.
    spread : SpreadConfig, optional
        Of one-sided bars.
    log : callable, optional
        Takes one line per source, before it is read.

    Raises
    ------
    DataError
        If a source cannot be read, sources contradict each other, a side is missing and no spread given, or a
        timeframe cannot be made.
    ConfigError
        If the spread cannot be used for these bars.
    """
    reading, spread = reading or BarReading(), spread or SpreadConfig()
    item = find_instrument(instrument)
    paths = [(Path(path), reading.price) for path in sources] + [(Path(path), "ask") for path in ask_sources]
    if not paths:
        raise DataError("Bars as input need at least one source, but got none. Use --bars PATH.")
    found = []
    for path, side in paths:
        if log is not None:
            log(f"bars: reading {path}")
        found.append(read_source(path, side, item, reading))
    _check_options_used(found, reading)
    base = parse_timeframe(found[0].timeframe)
    _check_alike(found, item)
    check_timeframes(base, tuple(timeframes))
    sides, left_out = _sides(found)
    bid, ask, description = _with_spread(sides, spread, item, base, found[0].path)
    for side, frame in (("bid", bid), ("ask", ask)):
        _check_grid(frame, base, side, found[0].path)
    _check_not_crossed(bid, ask, found[0].path)
    for timeframe in timeframes:
        resample_bars(bid, base, timeframe)
    opens = bid["ts_open_ns"].to_numpy()
    stops = stops_of_sources([one.path for one in found], opens, spread)
    identity = hash_sides(item.symbol, base.label, {"bid": bid, "ask": ask})
    records = sorted((one.record for one in found), key=lambda one: (one.first_ts_ns, one.source))
    manifest = BarManifest(
        aiopt_version=__version__,
        instrument=item.symbol,
        timeframe=base.label,
        source=", ".join(f"{one.source} ({one.format} {base.label} {one.side} bars)" for one in records),
        spread=description,
        synthetic=any(one.synthetic for one in found),
        data_hash=stops_identity(identity, stops),
        bars=bid.height,
        first_ts_ns=int(opens[0]),
        last_ts_ns=int(opens[-1]),
        left_out={name: count for name, count in left_out.items() if count},
        silent_hours=_silent_hours(opens, base, item),
        day_bars=_day_bars(opens),
        notes=list(dict.fromkeys(note for one in records for note in one.notes)),
        sources=records,
    )
    return BarInput(manifest=manifest, instrument=item, base=base, bid=bid, ask=ask, stops=stops)


# --- putting together -------------------------------------------------------------------------------------


def _check_options_used(found: Sequence[SourceSeries], reading: BarReading) -> None:
    """Refuse options of foreign files where all bars are our own, which say all of that themselves."""
    plain = BarReading()
    unused = [
        name
        for name in BarReading.__struct_fields__
        if name != "price" and getattr(reading, name) != getattr(plain, name)
    ]
    if unused and all(one.record.format == OWN for one in found):
        msg = f"Bars of aiopt say themselves how they are read, but {', '.join(unused)} was given. "
        raise DataError(msg + "Leave it out, or import the provider's files with it.", file=found[0].path)


def _check_alike(found: Sequence[SourceSeries], item: Instrument) -> None:
    first = found[0]
    for one in found:
        if one.instrument != item.symbol:
            msg = f"The bars must be of {item.symbol}, but these are of {one.instrument}. "
            raise DataError(msg + f"Use --instrument {one.instrument}, or name other bars.", file=one.path)
        if one.timeframe != first.timeframe:
            msg = f"Sources of bars must have one timeframe, but these are of {one.timeframe} and "
            msg += f"{first.path} of {first.timeframe}. Give one of the two."
            raise DataError(msg, file=one.path)


def _sides(found: Sequence[SourceSeries]) -> tuple[dict[str, pl.DataFrame], dict[str, int]]:
    """Return the bars of each side over all sources, bid and ask on the same times; and what was left out."""
    sides: dict[str, pl.DataFrame] = {}
    repeated = 0
    for side in PRICES:
        parts = [(one.path, one.sides[side]) for one in found if side in one.sides]
        if parts:
            sides[side], twice = _joined(parts)
            repeated = max(repeated, twice)
    if "mid" in sides and len(sides) > 1:
        msg = f"Sources must all be of the mid, or none, but got {' and '.join(sides)}. Give one kind."
        raise DataError(msg, file=found[0].path)
    unpaired = 0
    if len(sides) == 2:
        common = np.intersect1d(
            sides["bid"]["ts_open_ns"].to_numpy(), sides["ask"]["ts_open_ns"].to_numpy(), assume_unique=True
        )
        heights = {side: frame.height for side, frame in sides.items()}
        unpaired = sum(heights.values()) - 2 * common.size
        if unpaired > _MOST_APART * max(heights.values()):
            msg = (
                f"Bid and ask bars must be of the same times, but of {heights['bid']:,} bid and "
                f"{heights['ask']:,} ask bars only {common.size:,} share one. Give both sides of each span."
            )
            raise DataError(msg, file=found[0].path)
        if unpaired:
            sides = {side: frame.filter(pl.col("ts_open_ns").is_in(common)) for side, frame in sides.items()}
    return sides, {REPEATED: repeated, UNPAIRED: unpaired}


def _joined(parts: Sequence[tuple[Path, pl.DataFrame]]) -> tuple[pl.DataFrame, int]:
    """Return the bars of all sources in order of time, and how many were there twice."""
    if len(parts) == 1:
        return parts[0][1], 0
    joined = join_bars([frame for _, frame in parts])
    if joined.clash is not None:
        rows = [f"{parts[int(bar['part'])][0]} has {prices_text(bar)}" for bar in joined.clash]
        when = stamp_text(int(joined.clash[1]["ts_open_ns"]))
        msg = f"A time must have one bar, but at {when} {rows[0]} and {rows[1]}. "
        raise DataError(msg + "Give the right clock of each, or leave one out.")
    return joined.frame.drop("part"), joined.repeated


def _with_spread(
    sides: dict[str, pl.DataFrame], config: SpreadConfig, item: Instrument, base: Timeframe, path: Path
) -> tuple[pl.DataFrame, pl.DataFrame, str]:
    """Return bid and ask bars, and in words where their difference comes from."""
    if len(sides) == 2:
        if config.given:
            msg = "These bars have bid and ask, so their spread is known, but `spread` gives another. "
            msg += "Leave `spread` (--spread-pips, --spread-file) out; --extra-spread-pips widens theirs."
            raise ConfigError(msg)
        return _on_grid(sides["bid"], item), _on_grid(sides["ask"], item), "bid and ask of the bars"
    ((side, frame),) = sides.items()
    if not config.given:
        msg = (
            f"One-sided bars need a spread, but these are of the {side} alone and none is given. Use "
            "--spread-pips 0.8 (`spread: {pips: 0.8}`), a table by hour (--spread-file, from `aiopt ticks "
            "spread-model STORE --out spread.yaml`), or the bars of the other side (--ask-bars)."
        )
        raise DataError(msg, file=path)
    spread = load_spread(config, item, base.ns)
    steps = spread.steps(frame["ts_open_ns"].to_numpy())
    bid: dict[str, Any] = {}
    ask: dict[str, Any] = {}
    for name in OHLC:
        if side == "mid":
            # Half steps: a mid between two steps and an odd spread go down together, so the spread is whole.
            half = np.rint(frame[name].to_numpy() * (2 * item.price_scale)).astype(np.int64)
            below = (half - steps) // 2
        else:
            price = price_steps(frame[name].to_numpy(), item)
            below = price if side == "bid" else price - steps
        bid[name] = below / item.price_scale
        ask[name] = (below + steps) / item.price_scale
    lowest = min(float(values.min()) for values in bid.values())
    if lowest <= 0:
        msg = f"A bid must stay positive, but the spread takes one down to {lowest:g}. Give a smaller one."
        raise ConfigError(msg)
    described = f"{spread.description} (given: {side})"
    return frame.with_columns(**_columns(bid)), frame.with_columns(**_columns(ask)), described


def _columns(values: dict[str, NDArray[np.float64]]) -> dict[str, pl.Series]:
    return {name: pl.Series(name, array) for name, array in values.items()}


def _on_grid(frame: pl.DataFrame, item: Instrument) -> pl.DataFrame:
    # In NumPy: Polars divides by multiplying with the inverse, which misses the nearest double.
    return frame.with_columns(**_columns({name: round_price(frame[name].to_numpy(), item) for name in OHLC}))


def _check_grid(frame: pl.DataFrame, base: Timeframe, side: str, path: Path) -> None:
    close = np.diff(frame["ts_open_ns"].to_numpy()) < base.ns
    if close.any():
        at = int(np.argmax(close))
        when = [stamp_text(int(frame["ts_open_ns"][row]))[:19] for row in (at, at + 1)]
        msg = f"Bars of {base.label} must not overlap, but {side} bars open at {when[0]} and {when[1]}. "
        raise DataError(msg + "Leave the shorter bars out.", file=path)


def _check_not_crossed(bid: pl.DataFrame, ask: pl.DataFrame, path: Path) -> None:
    crossed = np.logical_or.reduce([ask[name].to_numpy() < bid[name].to_numpy() for name in OHLC])
    if crossed.any():
        at = int(np.argmax(crossed))
        values = "; ".join(
            f"{side} {prices_text(frame.row(at, named=True))}" for side, frame in (("bid", bid), ("ask", ask))
        )
        count, when = int(np.count_nonzero(crossed)), stamp_text(int(bid["ts_open_ns"][at]))[:19]
        msg = f"An ask bar must not lie below its bid bar, but {count:,} do, the first at {when}: {values}. "
        raise DataError(msg + "Mend the bars, or give one side and a spread.", file=path)


# --- describing -------------------------------------------------------------------------------------------


def _day_bars(opens: NDArray[np.int64]) -> dict[str, list[int]]:
    hours, counts = np.unique(opens // HOUR_NS, return_counts=True)
    days: dict[str, list[int]] = {}
    for hour, count in zip(hours.tolist(), counts.tolist(), strict=True):
        days.setdefault(hour_text(hour)[:10], [0] * 24)[hour % 24] = count
    return days


def _silent_hours(opens: NDArray[np.int64], base: Timeframe, item: Instrument) -> list[SilentHour]:
    """Return the open hours between the first and the last bar in which no bar opens.

    Of bars longer than an hour nothing is said: most of their hours have no opening.
    """
    if base.ns > HOUR_NS:
        return []
    first, last = int(opens[0]) // HOUR_NS, int(opens[-1]) // HOUR_NS
    wanted = np.arange(first, last + 1, dtype=np.int64) if item.always_open else open_hours(first, last)
    silent = np.setdiff1d(wanted, opens // HOUR_NS)
    return [SilentHour(hour=hour_text(hour), reason="no_bars") for hour in silent.tolist()]


__all__ = ["BarInput", "open_bars"]
