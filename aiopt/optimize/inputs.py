"""What a run stands on: ticks, or bars.  Both become bid and ask bars of the run's timeframes.

Owns which of the two a configuration names, where imports are kept, and what their manifests give to the run.
Reading and building are others' matter.  Importable without Ray: only building bars from ticks needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from aiopt.backtest.conversion import check_account
from aiopt.backtest.pricing import spread_steps
from aiopt.bars.building.build import BarBuild
from aiopt.bars.files import load_bar_set
from aiopt.bars.importing.bar_input import BarInput, open_bars
from aiopt.bars.manifest import BarManifest
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import time_rules
from aiopt.bars.schema import BarSet
from aiopt.config import content_hash
from aiopt.market.instrument import instrument
from aiopt.optimize.configuration import OptimizeConfig
from aiopt.ticks.importing import open_ticks
from aiopt.ticks.manifest import MANIFEST_NAME, Manifest, read_manifest
from aiopt.ticks.sample import MODEL as SAMPLE_MODEL
from aiopt.ticks.sample import generate_ticks
from aiopt.timeframe import Timeframe, parse_timeframe

CACHE = ".ticks"
"""Folder below the runs for generated and imported ticks."""

Log = Callable[[str], None]
Progress = Callable[[float, float], None]
BarBuilder = Callable[[Path, Path, BarRequest, Progress], BarBuild]
"""Builds the bars of a store: takes store, folder, request and progress; on one process or on a cluster."""


class RunInput(Protocol):
    """The data of a run."""

    @property
    def manifest(self) -> Manifest | BarManifest:
        """What the data is and where it comes from."""
        ...

    def manifest_bytes(self) -> bytes:
        """Return the manifest as the run folder keeps it."""
        ...

    def describe(self) -> str:
        """Return one line for the log."""
        ...

    def build(
        self,
        folder: Path,
        timeframes: Sequence[Timeframe],
        log: Log,
        progress: Progress,
        build_bars: BarBuilder,
    ) -> None:
        """Write bid and ask bars of each timeframe below `folder`."""
        ...


def open_input(config: OptimizeConfig, runs_dir: Path, log: Log, progress: Progress) -> RunInput:
    """Read the data a configuration names; ticks that are no store are imported into the cache.

    Parameters
    ----------
    config : OptimizeConfig
        Of the run.
    runs_dir : Path
        Folder of run folders.
    log : callable
        Takes lines.
    progress : callable
        Called with ticks done and all ticks.

    Raises
    ------
    InputError
        If the data cannot be used; names the file and the remedy.
    """
    if config.bars:
        return BarsOfRun(read_bars_of(config, log))
    log("ticks: reading")
    folder = prepare_ticks(config, runs_dir / CACHE, progress)
    return TicksOfRun(folder, read_manifest(folder))


def read_bars_of(config: OptimizeConfig, log: Log | None = None) -> BarInput:
    """Read the bars a configuration names."""
    return open_bars(
        [Path(one) for one in config.bars],
        ask_sources=[Path(one) for one in config.ask_bars],
        instrument=config.instrument,
        timeframes=[parse_timeframe(label) for label in config.timeframes],
        reading=config.bar_reading,
        spread=config.spread,
        log=log,
    )


def read_conversion(config: OptimizeConfig) -> BarSet | None:
    """Return the bars an account in another currency is converted by; None where there are none.

    What else the assumptions ask of the instrument is checked here too.

    Raises
    ------
    ConfigError
        If the account's currency cannot be reached, or needs no conversion, or the wider spread is no whole
        number of price steps.
    DataError
        If the bars cannot be read.
    """
    bars = None if config.conversion is None else load_bar_set(Path(config.conversion))
    traded = instrument(config.instrument)
    spread_steps(traded, config.backtest.extra_spread_pips)
    account = config.backtest.account_currency or traded.quote
    check_account(traded, account, None if bars is None else bars.instrument)
    return bars


def prepare_ticks(config: OptimizeConfig, cache_dir: Path, progress: Progress) -> Path:
    """Return the tick store of a run, generated or imported into the cache where needed."""
    if config.ticks is not None:
        return open_ticks(Path(config.ticks), cache_dir, instrument=config.instrument, progress=progress)
    sample = config.sample
    folder = cache_dir / f"sample-{content_hash([sample, config.instrument, SAMPLE_MODEL])[:12]}"
    settings = msgspec.to_builtins(sample)
    generate_ticks(folder, instrument=config.instrument, progress=progress, **settings)
    return folder


class TicksOfRun:
    """A tick store; its bars are built on the cluster.

    Parameters
    ----------
    folder : Path
        The store.
    manifest : Manifest
        Of it.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self.manifest: Manifest = manifest

    def manifest_bytes(self) -> bytes:
        """Return the store's own manifest."""
        return (self._folder / MANIFEST_NAME).read_bytes()

    def describe(self) -> str:
        """Return how many ticks of what there are."""
        found = self.manifest
        kind = "SYNTHETIC ticks" if found.synthetic else "ticks"
        return f"ticks: {found.rows:,} {kind} of {found.instrument}, data {found.data_hash[:12]}"

    def build(
        self,
        folder: Path,
        timeframes: Sequence[Timeframe],
        log: Log,
        progress: Progress,
        build_bars: BarBuilder,
    ) -> None:
        """Build the bars with `build_bars`."""
        request = BarRequest(time_rules(timeframes), ("bid", "ask"))
        built = build_bars(self._folder, folder, request, progress)
        log(f"bars: {built.ticks:,} ticks in {built.elapsed_s:.1f} s")


class BarsOfRun:
    """Bars that were read; longer ones are merged from them in this process.

    Parameters
    ----------
    bars : BarInput
        From `open_bars`.
    """

    def __init__(self, bars: BarInput) -> None:
        self.bars = bars

    @property
    def manifest(self) -> BarManifest:
        """What the bars are made from."""
        return self.bars.manifest

    def manifest_bytes(self) -> bytes:
        """Return the manifest as JSON."""
        return msgspec.json.format(msgspec.json.encode(self.manifest), indent=1) + b"\n"

    def describe(self) -> str:
        """Return how many bars of what there are, and their spread."""
        found = self.manifest
        kind = "SYNTHETIC bars" if found.synthetic else "bars"
        return (
            f"bars: {found.bars:,} {kind} of {found.instrument} {found.timeframe}, spread: {found.spread}, "
            f"data {found.data_hash[:12]}"
        )

    def build(
        self,
        folder: Path,
        timeframes: Sequence[Timeframe],
        log: Log,
        progress: Progress,
        build_bars: BarBuilder,
    ) -> None:
        """Merge the bars into each timeframe; a second or two for many years of minutes."""
        for done, timeframe in enumerate(timeframes):
            self.bars.write(folder, [timeframe])
            progress(done + 1, len(timeframes))


__all__ = [
    "BarBuilder",
    "CACHE",
    "BarsOfRun",
    "RunInput",
    "TicksOfRun",
    "open_input",
    "prepare_ticks",
    "read_bars_of",
    "read_conversion",
]
