"""From closed positions to a set of tasks: the chart at each entry, and what became of the position.

Owns which positions become records, their splits by time with a purge, and their weights.  The files are
those of any set of tasks (`aiopt.dataset.tasks.task_build`): training, checks and judging take them as such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from aiopt.analyst.scans import WindowReading, readings_at
from aiopt.analyst.windows import window_before
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.config import content_hash
from aiopt.dataset.judging.overlaps import refuse_records_of_judged
from aiopt.dataset.positions.closed_positions import ClosedPosition
from aiopt.dataset.positions.uniqueness import average_uniqueness
from aiopt.dataset.tasks.task_build import build_tasks
from aiopt.dataset.tasks.task_charts import PlacedChart
from aiopt.dataset.tasks.task_config import POSITION_TASKS, PositionsSource, ShareConfig, TaskSetConfig
from aiopt.dataset.tasks.task_info import Span, TaskSetInfo
from aiopt.dataset.tasks.task_kinds import Chart, without_range
from aiopt.errors import DataError

SPLITS = ("train", "validation", "test")

SeriesKey = tuple[str, str]
"""Instrument and timeframe."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Record:
    """A position that becomes a record."""

    position: ClosedPosition
    name: str
    series: str
    start: int
    stop: int
    label_end_ns: int
    r: float
    r_from: str
    outcome: str


@dataclass(frozen=True, eq=False)
class PositionPlan:
    """Which positions are in which split; a plan as `aiopt.dataset.tasks.task_build` takes it."""

    config: TaskSetConfig
    records: dict[str, list[_Record]]
    weights: dict[str, float]
    bars: Mapping[str, BarArrays]
    readings: Mapping[str, Mapping[str, Any]]
    left_out: dict[str, int]
    bars_hashes: dict[str, str]

    @property
    def counts(self) -> dict[str, int]:
        """Charts of each split."""
        return {split: len(found) for split, found in self.records.items()}

    def charts(self, split: str) -> Iterator[PlacedChart]:
        """Yield the charts of a split, in the order of entry."""
        for one in self.records[split]:
            position, bars = one.position, self.bars[one.series].slice(one.start, one.stop)
            chart = Chart(bars=bars, outcome=(position.side, one.outcome))
            by_rules = chart.by_rules
            rules = {
                "reading_bias": by_rules.bias,
                "reading_confidence": by_rules.confidence,
                "reading_source": "rules",
                "reading_revision": by_rules.model_revision,
            }
            yield PlacedChart(
                sample=one.name,
                split=split,
                source=one.series,
                kind="",
                noise=0.0,
                chart=chart,
                ts_label_end_ns=one.label_end_ns,
                extra={
                    "weight": self.weights[one.name],
                    "r": one.r,
                    "r_from": one.r_from,
                    "position_part": position.part,
                    "position_origin": position.origin,
                    "account": position.account,
                    "strategy": position.strategy,
                    **self.readings.get(one.name, rules),
                },
            )


class PositionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which positions become records, and how they are divided.

    Attributes
    ----------
    part : {"in", "out"}
        Positions of this part alone; the others are left out and counted.
    flat_r : float
        Results smaller than this, in R, are flat.
    until_ns : int or None
        Positions that closed later are left out, UTC.
    window : int
        Bars of a chart.
    shares : ShareConfig
        Of train, validation and test, in the order of time.
    """

    part: Literal["in", "out"]
    flat_r: float = 0.1
    until_ns: int | None = None
    window: int = 120
    shares: ShareConfig = ShareConfig()


def build_from_positions(
    positions: Sequence[ClosedPosition],
    bars: Mapping[SeriesKey, BarSet],
    out: Path,
    settings: PositionSettings,
    *,
    readings: Sequence[WindowReading] | None = None,
    judged_on: Sequence[Path] = (),
    progress: Callable[[int], None] | None = None,
) -> TaskSetInfo:
    """Build a set of tasks from closed positions.

    Parameters
    ----------
    positions : sequence of ClosedPosition
        All of them.
    bars : mapping of (instrument, timeframe) to BarSet
        Of every series the positions are of.
    out : Path
        The set's folder: new or empty.
    settings : PositionSettings
        Which positions are taken.
    readings : sequence of WindowReading, optional
        Of a scan: each record gets the one known at its entry, instead of what the rules read there.
    judged_on : sequence of Path
        Sets of tasks that readers trained on this one will be judged on: a record that shows their time, or
        looks into it, is refused.
    progress : callable, optional
        Called with the charts done.

    Raises
    ------
    DataError
        If no position is left, bars are missing, or a record shows time of `judged_on`.
    ConfigError
        If a split is left empty.
    RunExistsError, StorageError
        As `build_tasks`.
    """
    source = PositionsSource(
        part=settings.part,
        flat_r=settings.flat_r,
        until_ns=settings.until_ns,
        accounts=tuple(sorted({one.account for one in positions})),
    )
    found, left_out = _records(positions, bars, source, settings.window)
    if not found:
        reasons = ", ".join(f"{name} {count}" for name, count in left_out.items() if count)
        msg = f"There must be positions to learn from, but none of {len(positions)} is left ({reasons})."
        raise DataError(f"{msg} Take the other part, or bars that reach further back.")
    series = {_name(key): one for key, one in bars.items()}
    refuse_records_of_judged(_spans(found, series), judged_on)
    split, purged = _split(found, series, settings.shares)
    left_out["purge"] = purged
    known = {} if readings is None else _readings_at_entries(found, series, readings)
    facts = [*(one.position for one in found), {one: bar.data_hash for one, bar in series.items()}, known]
    sides = {f"outcome_{one.position.side}" for records in split.values() for one in records}
    config = TaskSetConfig(
        sources=(source.with_hash(content_hash(facts)),),
        tasks=tuple(task for task in POSITION_TASKS if task in sides),
        shares=settings.shares,
        window=settings.window,
        across_gaps="keep",
    )
    plan = PositionPlan(
        config,
        split,
        {name: weight for one in split.values() for name, weight in _weights(one, series)},
        {name: one.bid for name, one in series.items()},
        known,
        left_out,
        {name: one.bid.data_hash for name, one in series.items()},
    )
    return build_tasks(config, out, plan=plan, progress=progress)


def _name(key: SeriesKey) -> str:
    return f"{key[0]}-{key[1]}"


def _records(
    positions: Sequence[ClosedPosition],
    bars: Mapping[SeriesKey, BarSet],
    source: PositionsSource,
    window: int,
) -> tuple[list[_Record], dict[str, int]]:
    """Return the positions that become records, in the order of entry, and why others do not."""
    lost: Counter[str] = Counter()
    found: list[_Record] = []
    used: Counter[str] = Counter()
    for position in sorted(positions, key=lambda one: (one.entry_ts_ns, one.account, one.strategy)):
        key = (position.instrument, position.timeframe)
        if position.part != source.part:
            lost["other_part"] += 1
            continue
        if key not in bars:
            msg = f"Positions must have their bars, but there are none of {_name(key)}. Add --bars with them."
            raise DataError(msg)
        one = bars[key].bid
        step = one.timeframe.ns
        exit_bar = int(np.searchsorted(one.ts_open_ns, position.exit_ts_ns, side="right")) - 1
        shown = window_before(one, position.entry_ts_ns, window)
        if shown is None or shown[1] - shown[0] < window:
            lost["too_few_bars_before"] += 1
            continue
        if exit_bar < 0 or position.exit_ts_ns >= int(one.ts_open_ns[-1]) + step:
            lost["exit_behind_the_bars"] += 1
            continue
        label_end = max(int(one.ts_open_ns[exit_bar]) + step, position.exit_ts_ns)
        if source.until_ns is not None and label_end > source.until_ns:
            lost["after_until"] += 1
            continue
        picture = one.slice(*shown)
        if without_range(picture):
            lost["no_range"] += 1
            continue
        r, r_from = position.r(float((picture.high - picture.low).mean()))
        outcome = "flat" if abs(r) < source.flat_r else "win" if r > 0 else "loss"
        name = f"{_name(key)}-{position.entry_ts_ns}-{position.side}"
        used[name] += 1
        found.append(
            _Record(
                position=position,
                name=f"{name}-{used[name]}",
                series=_name(key),
                start=shown[0],
                stop=shown[1],
                label_end_ns=label_end,
                r=r,
                r_from=r_from,
                outcome=outcome,
            )
        )
    return found, dict(sorted(lost.items()))


def _begin(one: _Record, series: Mapping[str, BarSet]) -> int:
    return int(series[one.series].bid.ts_open_ns[one.start])


def _split(
    found: Sequence[_Record], series: Mapping[str, BarSet], shares: ShareConfig
) -> tuple[dict[str, list[_Record]], int]:
    """Cut at two moments: whatever shows or looks across one is in no split."""
    entries = np.sort(np.array([one.position.entry_ts_ns for one in found]))
    first, second = (
        int(entries[min(entries.size - 1, round(share * entries.size))])
        for share in (shares.train, shares.train + shares.validation)
    )
    split: dict[str, list[_Record]] = {name: [] for name in SPLITS}
    for one in found:
        begin, end = _begin(one, series), one.label_end_ns
        if end <= first:
            split["train"].append(one)
        elif begin >= first and end <= second:
            split["validation"].append(one)
        elif begin >= second:
            split["test"].append(one)
    for name, records in split.items():
        if not records:
            msg = f"Every split must have positions, but {name} has none of {len(found)} left: a chart and "
            raise DataError(f"{msg}its position must lie in it whole. Give more positions, or other shares.")
    return split, len(found) - sum(map(len, split.values()))


def _weights(records: Sequence[_Record], series: Mapping[str, BarSet]) -> Iterator[tuple[str, float]]:
    """Yield the weight of each record among those of its split: unique within its market."""
    for market in sorted({one.position.instrument for one in records}):
        inside = [one for one in records if one.position.instrument == market]
        starts = np.array([one.position.entry_ts_ns for one in inside], np.int64)
        stops = np.array([one.label_end_ns for one in inside], np.int64)
        weights = average_uniqueness(starts, np.maximum(stops, starts + 1))
        yield from ((one.name, float(weight)) for one, weight in zip(inside, weights, strict=True))


def _spans(found: Sequence[_Record], series: Mapping[str, BarSet]) -> list[Span]:
    return [Span(first_ns=_begin(one, series), last_ns=one.label_end_ns) for one in found]


def _readings_at_entries(
    found: Sequence[_Record], series: Mapping[str, BarSet], readings: Sequence[WindowReading]
) -> dict[str, dict[str, Any]]:
    """Return by record what a scan's reading known at its entry says; nulls where none is known."""
    known: dict[str, dict[str, Any]] = {}
    for name, bars in series.items():
        mine = [one for one in readings if one.instrument == bars.instrument.symbol]
        at = readings_at(bars.bid, mine, at="open")
        for one in found:
            if one.series == name:
                # Bar `stop` is the one in which the position was entered.
                index = int(at[min(one.stop, len(bars) - 1)])
                reading = mine[index] if index >= 0 else None
                known[one.name] = {
                    "reading_bias": None if reading is None else reading.bias,
                    "reading_confidence": None if reading is None else reading.confidence,
                    "reading_source": None if reading is None else reading.reader,
                    "reading_revision": None if reading is None else reading.model_revision,
                }
    return known
