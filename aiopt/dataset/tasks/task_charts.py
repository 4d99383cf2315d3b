"""Which charts a set of tasks has, and in which split each is.

Owns the seeds of generated charts, the windows of real bars, and the rule that keeps splits apart:

- a generator's charts are numbered; each split has seeds of its own, and kinds held out are in no split but
  theirs;
- bars of all sources are cut at the same two moments.  A window belongs to train if it and the bars its
  answers read end before the first, to validation or test if it *begins* after the moment before it and ends
  before the next.  So no two splits share a bar, shown or looked ahead to, of any instrument.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.analyst.generators import generator_of, kinds_in_turn, warped_bars
from aiopt.bars.files import load_bar_set
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.dataset.stretches import market_breaks
from aiopt.dataset.tasks.task_config import BarsSource, GeneratorSource, PositionsSource, TaskSetConfig
from aiopt.dataset.tasks.task_kinds import Chart, without_range
from aiopt.dataset.tasks.task_mirrors import mirrored_chart
from aiopt.errors import ConfigError

SPLITS = ("train", "validation", "test", "unseen_kinds", "unseen_generators", "unseen_instruments")
"""In the order of files; the last three are there where something is held out."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PlacedChart:
    """A chart in its split.

    Attributes
    ----------
    sample : str
        Name, the same for the same configuration.
    split, source : str
        Where it belongs and where it comes from: ``templates``, or ``EURUSD-5m``.
    kind : str
        What was planted; empty for real bars.
    noise : float
        Of the generator; 0 for real bars.
    chart : Chart
        Bars and what is known.
    ts_label_end_ns : int
        Close of the last bar any answer reads, UTC.
    extra : mapping
        Further columns of its rows, of sets that have them.
    """

    sample: str
    split: str
    source: str
    kind: str
    noise: float
    chart: Chart
    ts_label_end_ns: int
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ChartPlan:
    """All charts of a set.

    Attributes
    ----------
    counts : dict of str to int
        Charts per split, in the order of `SPLITS`; none that is empty.
    left_out : dict of str to int
        Windows of bars that are no chart, by reason.
    bars_hashes : dict of str to str
        Of each series of bars.
    """

    config: TaskSetConfig
    generated: dict[str, list[_Generated]]
    windows: dict[str, list[_Windows]]
    left_out: dict[str, int]
    bars_hashes: dict[str, str]
    counts: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        counts = {
            split: sum(one.count for one in self.generated.get(split, []))
            + sum(int(one.stops.size) for one in self.windows.get(split, []))
            for split in SPLITS
        }
        if self.config.mirrored:
            counts["train"] *= 2
        object.__setattr__(self, "counts", {split: count for split, count in counts.items() if count})

    def charts(self, split: str) -> Iterator[PlacedChart]:
        """Yield the charts of a split: generated ones first; mirror images follow theirs if asked for."""
        parts: list[_Generated | _Windows] = [*self.generated.get(split, []), *self.windows.get(split, [])]
        for part in parts:
            for placed in part.charts(self.config, split):
                yield placed
                if self.config.mirrored and split == "train":
                    yield _mirrored(placed)


def _mirrored(placed: PlacedChart) -> PlacedChart:
    chart = mirrored_chart(placed.chart)
    kind = placed.kind if chart.case is None else chart.case.kind
    return replace(placed, sample=f"{placed.sample}-mirrored", kind=kind, chart=chart)


@dataclass(frozen=True)
class _Generated:
    """Charts a generator draws for one split."""

    number: int
    source: GeneratorSource
    count: int
    kinds: tuple[str, ...]

    def charts(self, config: TaskSetConfig, split: str) -> Iterator[PlacedChart]:
        generator = generator_of(self.source.name)
        turns = kinds_in_turn(generator, self.count, kinds=self.kinds)
        for i, kind in enumerate(turns):
            seed = _seed(config.seed, self.number, split, i)
            # Noise takes turns after the kinds have, so that no kind has one strength alone.
            noise = self.source.noise[i // len(self.kinds) % len(self.source.noise)]
            case = generator.case(kind, seed=seed, noise=noise)
            bars = case.bars
            if self.source.warp:
                bars = warped_bars(bars, seed=seed, strength=self.source.warp)
            yield PlacedChart(
                sample=f"{self.source.name}-{self.number}-{split}-{i:06d}",
                split=split,
                source=self.source.name,
                kind=kind,
                noise=noise,
                chart=Chart(bars=bars, case=case, forward=config.forward),
                ts_label_end_ns=int(bars.ts_open_ns[-1]) + bars.timeframe.ns,
            )


@dataclass(frozen=True, eq=False)
class _Windows:
    """Windows of one series for one split: the bars behind their last ones."""

    name: str
    bars: BarArrays
    stops: NDArray[np.int64]
    ahead: int

    def charts(self, config: TaskSetConfig, split: str) -> Iterator[PlacedChart]:
        for stop in self.stops.tolist():
            window = self.bars.slice(stop - config.window, stop)
            later = float(self.bars.close[stop - 1 + self.ahead]) if self.ahead else None
            opened = int(self.bars.ts_open_ns[stop - 1])
            yield PlacedChart(
                sample=f"{self.name}-{opened}",
                split=split,
                source=self.name,
                kind="",
                noise=0.0,
                chart=Chart(bars=window, later_close=later, forward=config.forward),
                ts_label_end_ns=int(self.bars.ts_open_ns[stop - 1 + self.ahead]) + self.bars.timeframe.ns,
            )


def plan_charts(config: TaskSetConfig, bars: Mapping[str, BarSet] | None = None) -> ChartPlan:
    """Decide which charts there are and in which split.

    Parameters
    ----------
    config : TaskSetConfig
        What to build.
    bars : mapping of str to BarSet, optional
        Bars by the path a source names, instead of reading the files.

    Raises
    ------
    ConfigError
        If a split is left without charts, two sources are of one series, or an instrument held out is in no
        source.
    DataError
        If bars cannot be read.
    """
    if any(isinstance(source, PositionsSource) for source in config.sources):
        msg = "Positions come from runs and accounts, not from a configuration."
        raise ConfigError(f"{msg} Use `aiopt dataset from-trades`.")
    generated: dict[str, list[_Generated]] = {}
    for number, source in enumerate(config.sources):
        if isinstance(source, GeneratorSource):
            for split, part in _generated(config, number, source).items():
                generated.setdefault(split, []).append(part)
    series: dict[str, tuple[BarSet, BarsSource]] = {}
    for source in config.sources:
        if isinstance(source, BarsSource):
            given = None if bars is None else bars.get(source.path)
            found = given or load_bar_set(Path(source.path), timeframe=source.timeframe, symbol=source.symbol)
            name = f"{found.instrument.symbol}-{found.timeframe.label}"
            if name in series:
                msg = f"Two sources must not be of one series, but two are {name}: their charts would repeat."
                raise ConfigError(f"{msg} Remove one.")
            series[name] = (found, source)
    left_out: dict[str, int] = {}
    windows = _windows(config, series, left_out) if series else {}
    hashes = {name: found.bid.data_hash for name, (found, _) in series.items()}
    plan = ChartPlan(config, generated, windows, left_out, hashes)
    for split in SPLITS[:3]:
        if split not in plan.counts:
            msg = f"Every split must have charts, but {split} has none. Give more charts or bars"
            raise ConfigError(f"{msg}, or a smaller stride.")
    return plan


def _seed(seed: int, number: int, split: str, i: int) -> int:
    text = f"{seed} {number} {split} {i}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def _generated(config: TaskSetConfig, number: int, source: GeneratorSource) -> dict[str, _Generated]:
    generator = generator_of(source.name)
    if source.name in config.held_out.generators:
        return {"unseen_generators": _Generated(number, source, source.charts, generator.kinds)}
    held = tuple(kind for kind in generator.kinds if kind in config.held_out.kinds)
    kept = tuple(kind for kind in generator.kinds if kind not in held)
    shares = config.shares
    edges = [0, round(shares.train * source.charts)]
    edges += [round((shares.train + shares.validation) * source.charts), source.charts]
    found = {
        split: _Generated(number, source, edges[i + 1] - edges[i], kept)
        for i, split in enumerate(SPLITS[:3])
        if edges[i + 1] > edges[i]
    }
    if held and "test" in found:
        found["unseen_kinds"] = _Generated(number, source, found["test"].count, held)
    return found


def _windows(
    config: TaskSetConfig, series: Mapping[str, tuple[BarSet, BarsSource]], left_out: dict[str, int]
) -> dict[str, list[_Windows]]:
    """Cut all series at the same two moments; count what becomes no chart."""
    ahead = config.forward.horizon if "forward" in config.tasks else 0
    symbols = {bars.instrument.symbol for bars, _ in series.values()}
    for symbol in config.held_out.instruments:
        if symbol not in symbols:
            msg = f"`held_out.instruments` must be among the sources, but {symbol!r} is not of "
            raise ConfigError(f"{msg}{', '.join(sorted(symbols))}. Add its bars.")
    stops = {
        name: _whole_windows(bars, source, config, ahead, left_out) for name, (bars, source) in series.items()
    }
    decided = [
        bars.bid.ts_open_ns[stops[name] - 1]
        for name, (bars, _) in series.items()
        if bars.instrument.symbol not in config.held_out.instruments
    ]
    times = np.sort(np.concatenate(decided)) if decided else np.empty(0, np.int64)
    if not times.size:
        counts = ", ".join(f"{reason} {count}" for reason, count in left_out.items() if count)
        msg = f"The bars must have windows to train on, but none is left ({counts or 'too few bars'}). Give "
        raise ConfigError(f"{msg}more bars, a shorter window, or across_gaps: keep.")
    shares = config.shares
    borders = [
        int(times[min(times.size - 1, round(share * times.size))])
        for share in (shares.train, shares.train + shares.validation)
    ]
    found: dict[str, list[_Windows]] = {}
    for name, (bars, _) in series.items():
        held = bars.instrument.symbol in config.held_out.instruments
        closes = bars.bid.ts_open_ns + bars.timeframe.ns
        begins = bars.bid.ts_open_ns[stops[name] - config.window]
        ends = closes[stops[name] - 1 + ahead]
        inside = {
            "train": ends <= borders[0],
            "validation": (begins >= borders[0]) & (ends <= borders[1]),
            "test": begins >= borders[1],
        }
        taken = {"unseen_instruments": inside["test"]} if held else inside
        for split, mask in taken.items():
            if mask.any():
                found.setdefault(split, []).append(_Windows(name, bars.bid, stops[name][mask], ahead))
        reason = "instrument_held_out" if held else "purge_and_embargo"
        lost = int(stops[name].size - sum(mask.sum() for mask in taken.values()))
        left_out[reason] = left_out.get(reason, 0) + lost
    return found


def _whole_windows(
    bars: BarSet, source: BarsSource, config: TaskSetConfig, ahead: int, left_out: dict[str, int]
) -> NDArray[np.int64]:
    """Return the bars behind the last ones of windows that may be charts."""
    stops = np.arange(config.window, len(bars) - ahead + 1, source.stride, dtype=np.int64)
    if config.across_gaps == "drop" and stops.size:
        breaks = np.concatenate(([0], np.cumsum(market_breaks(bars))))
        whole = breaks[stops - 1 + ahead] == breaks[stops - config.window]
        left_out["across_gap"] = left_out.get("across_gap", 0) + int((~whole).sum())
        stops = stops[whole]
    windows = [bars.bid.slice(stop - config.window, stop) for stop in stops.tolist()]
    shown = np.array([not without_range(window) for window in windows], dtype=np.bool_)
    left_out["no_range"] = left_out.get("no_range", 0) + int((~shown).sum())
    return stops[shown] if stops.size else stops
