"""From a tick store to files of tick, volume, range and Renko bars, shard by shard.

Owns the order of the steps: what a shard may know of the ticks before it, and how its rows are taken over.
Knows nothing of Ray, which may run `cut_shard` and `measure_shard` elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.building.event_bars import (
    EventCutter,
    EventRule,
    after_amounts,
    finish_event_bars,
    initial_state,
    splice,
)
from aiopt.bars.building.partial_bars import Columns, tick_columns
from aiopt.bars.building.shards import BarBuild, Progress, check_total, summarise, write_bar_file
from aiopt.bars.schema import BarMeta, check_price
from aiopt.errors import ConfigError, DataError
from aiopt.market.instrument import instrument
from aiopt.market.sessions import TradingSession
from aiopt.ticks.manifest import Manifest, read_manifest
from aiopt.ticks.shards import ROWS_PER_SHARD, Shard, map_ticks, plan_shards

States = tuple[NDArray[Any], ...]
"""State of each series, in the order of `EventRequest.series`."""


@dataclass(frozen=True, slots=True)
class EventRequest:
    """Which tick, volume, range or Renko bars to build.

    Attributes
    ----------
    rules : tuple of EventRule
        At least one, all of one type; repeated ones count once.
    prices : tuple of str
        Among `PRICES`; at least one; repeated ones count once.
    session : TradingSession, optional
        Bars begin anew with its days, and ticks outside it are left out.
    spread_stats : bool
        Add the columns of `aiopt.bars.building.spread_columns.SPREAD_COLUMNS`.
    """

    rules: tuple[EventRule, ...]
    prices: tuple[str, ...]
    session: TradingSession | None = None
    spread_stats: bool = False

    def __post_init__(self) -> None:
        if not self.rules or not self.prices:
            raise ConfigError("Bars need at least one size and price, but got none. Name one, e.g. bid.")
        for price in self.prices:
            check_price(price)
        if len({rule.type for rule in self.rules}) > 1:
            raise ConfigError("The bars of a build must be of one type, but got several. Build them apart.")
        object.__setattr__(self, "rules", tuple(dict.fromkeys(self.rules)))
        object.__setattr__(self, "prices", tuple(dict.fromkeys(self.prices)))

    @property
    def sequential(self) -> bool:
        """True if the state before a shard is not known from sums: range and Renko bars."""
        return self.rules[0].type in ("range", "renko")

    @property
    def series(self) -> list[tuple[EventRule, str]]:
        """Rule and price of each file."""
        return [(rule, price) for rule in self.rules for price in self.prices]

    @property
    def columns(self) -> list[str]:
        """Tick columns needed."""
        return tick_columns(self.prices, spread=self.spread_stats)

    def cutters(self, symbol: str, states: States | None = None) -> list[EventCutter]:
        """Return a cutter per series."""
        before = states or (None,) * len(self.series)
        return [
            EventCutter(
                rule,
                price,
                instrument(symbol),
                session=self.session,
                spread=self.spread_stats,
                state=state,
            )
            for (rule, price), state in zip(self.series, before, strict=True)
        ]


@dataclass(frozen=True, eq=False, slots=True)
class ShardRows:
    """What a shard gives.

    Attributes
    ----------
    rows : list of list of Columns
        Per series the rows of each batch; empty from `measure_shard`.
    states : tuple of ndarray
        Per series the state after the shard.
    first : int
        Session of its first tick in one.
    outside : int
        Ticks in no session.
    """

    rows: list[list[Columns]]
    states: States
    first: int
    outside: int


def cut_shard(shard: Shard, request: EventRequest, states: States | None = None) -> ShardRows:
    """Cut the ticks of a shard from the states before it, or as if nothing came before it.

    Raises
    ------
    DataError
        If the store is not what its manifest says, or ticks break a rule; names file and row.
    """
    cutters = request.cutters(shard.instrument, states)
    batches = list(map_ticks(shard, request.columns, lambda ticks: [cutter.cut(ticks) for cutter in cutters]))
    rows = [[batch[number] for batch in batches] for number in range(len(cutters))]
    after = tuple(cutter.state for cutter in cutters)
    return ShardRows(rows, after, cutters[0].first, cutters[0].outside)


def measure_shard(shard: Shard, request: EventRequest) -> ShardRows:
    """Return the states after a shard as if nothing came before it, and no rows: for tick and volume bars."""
    cutters = request.cutters(shard.instrument)
    columns = ["ts_event_ns", *(name for name in request.columns if name.endswith("_size"))]

    def advance(ticks: dict[str, NDArray[Any]]) -> None:
        for cutter in cutters:
            cutter.advance(ticks)

    for _ in map_ticks(shard, columns, advance):
        pass
    after = tuple(cutter.state for cutter in cutters)
    return ShardRows([], after, cutters[0].first, cutters[0].outside)


def states_before(
    shards: Sequence[Shard], measured: Sequence[ShardRows], request: EventRequest
) -> list[States]:
    """Return the states before each shard of tick or volume bars, from those each leaves alone."""
    found = []
    symbol, states = "", first_states(request)
    for shard, measure in zip(shards, measured, strict=True):
        if shard.instrument != symbol:
            symbol, states = shard.instrument, first_states(request)
        found.append(states)
        states = tuple(
            after_amounts(before, alone, measure.first)
            for before, alone in zip(states, measure.states, strict=True)
        )
    return found


def first_states(request: EventRequest) -> States:
    """Return the states before the first tick."""
    return tuple(initial_state(rule) for rule, _ in request.series)


def take_over(
    shards: Sequence[Shard], cut: Sequence[ShardRows], request: EventRequest
) -> dict[str, list[list[Columns]]]:
    """Return the rows of range or Renko bars of each instrument and series, from shards cut on their own.

    The first ticks of a shard are read and cut again here, as far as it takes.
    """
    found: dict[str, list[list[Columns]]] = {}
    states = first_states(request)
    for shard, alone in zip(shards, cut, strict=True):
        if shard.instrument not in found:
            found[shard.instrument] = [[] for _ in request.series]
            states = first_states(request)
        after = []
        for number, before in enumerate(states):
            again = partial(_again, shard, request, number)
            rows, state = splice(_below(alone.rows[number]), alone.states[number], before, again)
            found[shard.instrument][number] += rows
            after.append(state)
        states = tuple(after)
    return found


def write_event_files(
    rows: Mapping[str, Sequence[Sequence[Columns]]],
    request: EventRequest,
    out_dir: Path,
    manifest: Manifest,
    outside: int,
) -> tuple[list[Any], dict[str, int]]:
    """Put the rows together, check that they hold every tick, and write one file per series.

    Returns
    -------
    files : list of BarFile
    left_over : dict of str to int
        See `BarBuild.ticks_left_over`.

    Raises
    ------
    DataError
        If a series has no bar, or volume bars are asked of ticks without sizes.
    ManifestError
        If the rows do not hold every tick of the manifest once.
    """
    for number in range(len(request.series)):
        counted = sum(int(part["ticks"].sum()) for parts in rows.values() for part in parts[number])
        check_total(counted, outside, manifest)
    finished = []
    left_over: dict[str, int] = {}
    for symbol, parts in sorted(rows.items()):
        item = instrument(symbol)
        for number, (rule, price) in enumerate(request.series):
            bars, left = finish_event_bars(parts[number], rule, item, spread=request.spread_stats)
            if rule.type == "renko":
                left_over[f"{rule.label}/{price}"] = left
            if bars.height == 0:
                msg = f"The {price} price must move by a brick of {rule.size:g} pips, but never does."
                raise DataError(msg + " Choose a smaller size.")
            if rule.type == "volume" and bars["volume"].sum() == 0:
                msg = f"Volume bars need tick sizes, but those of {price} are all 0. Build tick bars."
                raise DataError(msg)
            meta = BarMeta(
                instrument=symbol,
                timeframe=rule.label,
                price=price,
                data_hash=manifest.data_hash,
                synthetic=manifest.synthetic,
                source=manifest.source,
                type=rule.type,
                size=rule.size,
                session="" if request.session is None else request.session.label,
            )
            finished.append((bars, meta))
    return [write_bar_file(out_dir, bars, meta) for bars, meta in finished], left_over


def build_event_bars_locally(
    ticks_dir: Path,
    out_dir: Path,
    request: EventRequest,
    *,
    progress: Progress | None = None,
    rows_per_shard: int = ROWS_PER_SHARD,
    verify: bool = True,
) -> BarBuild:
    """Build bar files from a tick store in this process, one shard after the other.

    Parameters
    ----------
    ticks_dir, out_dir, progress, rows_per_shard, verify
        As in `aiopt.bars.building.shards.build_bars_locally`.
    request : EventRequest
        Which bars.

    Raises
    ------
    DataError
        If the store is not what its manifest says, or has no bar of a series.
    """
    started = time.perf_counter()
    manifest = read_manifest(Path(ticks_dir))
    shards = plan_shards(ticks_dir, manifest, rows_per_shard, verify=verify)
    total = sum(shard.rows for shard in shards)
    rows: dict[str, list[list[Columns]]] = {}
    states = first_states(request)
    done = outside = 0
    for shard in shards:
        if shard.instrument not in rows:
            rows[shard.instrument] = [[] for _ in request.series]
            states = first_states(request)
        part = cut_shard(shard, request, states)
        states = part.states
        for series, batches in zip(rows[shard.instrument], part.rows, strict=True):
            series += batches
        outside += part.outside
        done += shard.rows
        if progress is not None:
            progress(done, total)
    files, left_over = write_event_files(rows, request, out_dir, manifest, outside)
    elapsed_s = time.perf_counter() - started
    return summarise(files, manifest, len(shards), "local", elapsed_s, outside, left_over)


def _again(
    shard: Shard, request: EventRequest, number: int, state: NDArray[np.int64]
) -> Iterator[tuple[Columns, NDArray[np.int64]]]:
    """Yield the rows of one series of a shard from a state, and the state after each batch."""
    rule, price = request.series[number]
    cutter = EventCutter(
        rule,
        price,
        instrument(shard.instrument),
        session=request.session,
        spread=request.spread_stats,
        state=state,
    )
    for rows in map_ticks(shard, request.columns, cutter.cut):
        yield rows, cutter.state.copy()


def _below(batches: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
