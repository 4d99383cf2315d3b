"""What is wrong with a run, found before a cluster starts: input, span, folder of the runs, disk.

Owns how much of the input is looked at, and how much disk a run is expected to take.  Starts nothing, writes
nothing, and does not import Ray.  The job looks at everything again, completely: this is what a wrong path, a
wrong file or a full disk costs seconds for instead of minutes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiopt.errors import DataError, ManifestError, StorageError
from aiopt.evaluation.folds import plan_walk_forward
from aiopt.optimize.configuration import OptimizeConfig
from aiopt.optimize.inputs import read_bars_of, read_conversion
from aiopt.optimize.markets import check_currencies
from aiopt.optimize.run_readings import open_readings, without_scripts
from aiopt.sweep.markets import common_times
from aiopt.sweep.points import Strategy
from aiopt.ticks.importing import check_sample
from aiopt.ticks.manifest import Manifest, is_tick_store, read_manifest
from aiopt.ticks.sample import SampleParameters
from aiopt.timeframe import parse_timeframe
from aiopt.utc import DAY_NS, HOUR_NS, day_number

Log = Callable[[str], None]

BYTES_PER_BAR = 64
"""Of one side in a bar file; measured 25 to 34 on a year of 15m and 1h, without what ticks add to one."""

BYTES_PER_TICK = 70
"""While ticks are imported: 52 of a spilled record and up to 18 in the store."""

BYTES_PER_PERIOD = 6
"""Of a trial in journal and ``trials.parquet``, for each period; measured 2.7 on a year of 15m and 1h."""

BYTES_PER_TRIAL = 8_192
"""Of a trial beside its profits."""

_TICK_BYTES = {".zip": 5.0, ".gz": 5.0, ".bi5": 7.0, ".parquet": 10.0}
"""Smallest number of bytes a tick takes in a source of this kind; 25 in any other."""


@dataclass(frozen=True)
class Span:
    """How long the data is, as far as it is known.

    Attributes
    ----------
    ns : int
        From the first to the last tick or bar; 0 if not known.
    ticks : int
        Ticks that will be imported or generated; 0 for a store and for bars.
    """

    ns: int
    ticks: int


def check_run(config: OptimizeConfig, strategies: Sequence[Strategy], runs_dir: Path, log: Log) -> None:
    """Raise what is wrong with a run before anything is started.

    Bars are read whole; of a tick store the manifest, and that its files are there; of any other source of
    ticks the list of files and the first million rows, with every rule of the import.

    Parameters
    ----------
    config : OptimizeConfig
        From `load_optimize_config`.
    strategies : sequence of Strategy
        Of the run.
    runs_dir : Path
        Where run folders go; need not exist.
    log : callable
        Takes one line for each thing that may last.

    Raises
    ------
    InputError
        If the input cannot be used, or is too short for the walk-forward.
    StorageError
        If the folder cannot be written, or the disk has less room than the run is expected to take.
    """
    home = _writable(runs_dir)
    check_currencies(config)
    specs = [(one.spec.name, one.spec) for one in strategies]
    open_readings(config, [spec for _, spec in specs])
    scriptless = without_scripts(specs)
    if scriptless:
        log(f"pine: {scriptless}")
    needed, opens = 0, {}
    for market in config.each_market:
        read_conversion(market)
        span, times = _check_input(market, log)
        needed += disk_needed(market, strategies, span)
        if times is not None:
            opens[market.instrument] = times
    if opens:
        # Of markets whose times are not all known yet, those that are must fit already.
        _check_span(config, common_times(opens), hours=any(not one.bars for one in config.each_market))
    free = shutil.disk_usage(home).free
    if free < needed:
        msg = (
            f"The run may need {_size(needed)} in {runs_dir}, but only {_size(free)} are free. "
            "Free some, choose another --runs-dir, or try fewer trials."
        )
        raise StorageError(msg)


def disk_needed(config: OptimizeConfig, strategies: Sequence[Strategy], span: Span) -> int:
    """Return the bytes a run is expected to take at most.

    Bars: `BYTES_PER_BAR` for each bar of each side if every minute had one.  Trials: `BYTES_PER_PERIOD` for
    each period of ``ranking.period`` and `BYTES_PER_TRIAL`.  Ticks: `BYTES_PER_TICK` where they are imported.
    """
    timeframes = [parse_timeframe(label) for label in config.timeframes]
    bars = sum(span.ns // timeframe.ns + 1 for timeframe in timeframes)
    trials = sum(
        strategy.trials_of(config) * len(strategy.timeframes or timeframes) for strategy in strategies
    )
    periods = span.ns // config.ranking.period_ns + 1
    return (
        2 * bars * BYTES_PER_BAR
        + trials * (periods * BYTES_PER_PERIOD + BYTES_PER_TRIAL)
        + span.ticks * BYTES_PER_TICK
    )


def _check_input(config: OptimizeConfig, log: Log) -> tuple[Span, NDArray[np.int64] | None]:
    """Return the span of a market, and the times at which it was quoted as far as they are known."""
    if config.bars:
        bars = read_bars_of(config, log)
        finest = min(parse_timeframe(label) for label in config.timeframes)
        found = bars.manifest
        return Span(found.last_ts_ns - found.first_ts_ns + bars.base.ns, 0), bars.opens(finest)
    if config.ticks is None:
        sample = config.sample
        parameters = SampleParameters(
            instrument=config.instrument, start=sample.start, days=sample.days, seed=sample.seed
        )
        return Span(sample.days * DAY_NS, sample.days * parameters.ticks_per_day), None
    path = Path(config.ticks)
    if path.is_dir() and is_tick_store(path):
        return _check_store(path, config)
    log(f"ticks: looking at {path}")
    files, first_ns, last_ns = check_sample(path, instrument=config.instrument)
    ticks = sum(int(file.stat().st_size / _TICK_BYTES.get(file.suffix.lower(), 25.0)) for file in files)
    return Span(last_ns - first_ns, ticks), None


def _check_store(folder: Path, config: OptimizeConfig) -> tuple[Span, NDArray[np.int64]]:
    manifest = read_manifest(folder)
    if manifest.instrument != config.instrument:
        msg = f"You asked for {config.instrument}, but these ticks are of {manifest.instrument}. "
        raise DataError(msg + f"Use --instrument {manifest.instrument}, or name another store.", file=folder)
    absent = next((part.path for part in manifest.partitions if not (folder / part.path).is_file()), None)
    if absent is not None:
        msg = f"The tick store is not whole: its manifest names {absent}, which is missing."
        raise ManifestError(msg + " Import again into a new folder.", file=folder)
    return Span(manifest.last_ts_ns - manifest.first_ts_ns, 0), _hours(manifest)


def _hours(manifest: Manifest) -> NDArray[np.int64]:
    """Return the opening times of the hours that have ticks."""
    hours = [
        day_number(part.date) * DAY_NS + hour * HOUR_NS
        for part in manifest.partitions
        for hour, rows in enumerate(part.hour_rows)
        if rows
    ]
    return np.array(sorted(hours), dtype=np.int64)


def _check_span(config: OptimizeConfig, active_ts_ns: NDArray[np.int64], *, hours: bool) -> None:
    """Lay the walk-forward over the times; of a store only its hours are known, so no shorter period."""
    period_ns = config.ranking.period_ns
    if not hours or period_ns % HOUR_NS == 0:
        plan_walk_forward(config.walk_forward, active_ts_ns, period_ns=period_ns)


def _writable(runs_dir: Path) -> Path:
    """Return the nearest folder above a run folder that is there, if runs can be written below it."""
    path = runs_dir.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        what = "is a file" if path.is_file() else "is not writable"
        raise StorageError(f"No run can be written: {path} {what}. Choose another folder with --runs-dir.")
    return path


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


__all__ = ["Span", "check_run", "disk_needed"]
