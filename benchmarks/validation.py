"""Judging ticks: all rules of validation on one core, clean and dirty ticks, against what reading costs.

Generated ticks, a day at a time as an import judges them.  "Read" decodes the Parquet of a tick store, "bars"
reads it and reduces it to 1m bid, ask and mid bars as `aiopt bars build` does, "bars_judged" puts all rules
between the two: the ticks are judged as they are read.  The ways take turns, round after round; the median
counts.

`AIOPT_BENCH_VALIDATION_DAYS` sets the size (default 31), `AIOPT_BENCH_VALIDATION_ROUNDS` the rounds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.market.instrument import instrument
from aiopt.ticks.checks.tick_rules import DEFAULT_RULES, ValidationRules, parse_rules
from aiopt.ticks.checks.validation import SourcedTicks, Validator
from aiopt.ticks.manifest import Manifest
from aiopt.ticks.sample import generate_ticks
from aiopt.ticks.schema import TICK_COLUMNS, TickArrays
from benchmarks._harness import CACHE, Figure, interleaved, median

DAYS = int(os.environ.get("AIOPT_BENCH_VALIDATION_DAYS", "31"))
ROUNDS = int(os.environ.get("AIOPT_BENCH_VALIDATION_ROUNDS", "7"))
BATCH = 65_536
FIXES = parse_rules(
    [
        *("backward=fix", "crossed=fix", "zero_spread=fix", "spike=fix"),
        *("stale=drop", "same_stamp=drop", "out_of_session=drop"),
    ]
)


def run() -> list[Figure]:
    """Measure and return the figures."""
    store = CACHE / f"ticks-validation-{DAYS}-days"
    manifest = generate_ticks(store, days=DAYS, ticks_per_day=134_000, progress=_say)
    paths = [store / part.path for part in manifest.partitions]
    clean = [_sourced(_read(path)) for path in paths]
    dirty = [_spoilt(day, number) for number, day in enumerate(clean)]
    ways = {
        "rules_clean": lambda: _judge(clean, DEFAULT_RULES, manifest.rows),
        "rules_dirty": lambda: _judge(dirty, DEFAULT_RULES, None),
        "rules_dirty_fixed": lambda: _judge(dirty, FIXES, None),
        "read": lambda: [_read(path) for path in paths],
        "bars": lambda: _bars_unjudged(paths, manifest),
        "bars_judged": lambda: _bars_judged(paths, manifest),
    }
    times = {way: median(seconds) for way, seconds in interleaved(ways, ROUNDS).items()}
    figures = [Figure(name="ticks", value=manifest.rows, unit="ticks")]
    # Bars with validation on are to reach half of 15M ticks/s on two cores.
    targets = {"bars_judged": 3.75e6}
    figures += [
        Figure(
            name=f"{way}_rate",
            value=manifest.rows / seconds,
            unit="ticks/s/core",
            target=targets.get(way),
        )
        for way, seconds in times.items()
    ]
    ratio = times["bars"] / times["bars_judged"]
    return [*figures, Figure(name="bars_judged_over_bars", value=ratio, unit="x")]


def _read(path: Path) -> TickArrays:
    table = pq.read_table(path, use_threads=False, columns=list(TICK_COLUMNS), partitioning=None)
    return TickArrays(*(table.column(name).to_numpy() for name in TICK_COLUMNS))


def _sourced(ticks: TickArrays) -> SourcedTicks:
    count = len(ticks)
    return SourcedTicks(ticks, np.zeros(count, dtype=np.int32), np.arange(count, dtype=np.int64))


def _spoilt(day: SourcedTicks, seed: int) -> SourcedTicks:
    """Return a day as dirty as a bad feed: 10 % crossed, 12 % without spread, repeats, steps back, spikes."""
    rng = np.random.default_rng(seed)
    ticks = day.ticks
    ts, bid, ask = ticks.ts_event_ns.copy(), ticks.bid.copy(), ticks.ask.copy()
    kind = rng.random(len(ticks))
    crossed, zero = kind < 0.10, (kind >= 0.10) & (kind < 0.22)
    bid[crossed], ask[crossed] = ticks.ask[crossed], ticks.bid[crossed]
    ask[zero] = bid[zero]
    repeated = np.flatnonzero((kind >= 0.22) & (kind < 0.23))[1:]
    for column in (ts, bid, ask):
        column[repeated] = column[repeated - 1]
    ts[(kind >= 0.23) & (kind < 0.24)] -= 500_000_000
    spikes = (kind >= 0.24) & (kind < 0.241)
    bid[spikes] += 0.05
    ask[spikes] += 0.05
    return SourcedTicks(TickArrays(ts, bid, ask, ticks.bid_size, ticks.ask_size), day.file, day.row)


def _judge(days: list[SourcedTicks], rules: ValidationRules, expected: int | None) -> None:
    validator = Validator(instrument("EURUSD"), rules)
    kept = sum(len(_judge_day(validator, day)) for day in days)
    dropped = sum(count.dropped for count in validator.counts())
    total = sum(len(day) for day in days)
    if kept + dropped != total or (expected is not None and kept != expected):
        raise AssertionError(f"{kept} kept and {dropped} dropped are not the {total} ticks judged")
    if expected is None and not all(
        count.found for count in validator.counts() if count.rule in {"crossed", "spike", "backward"}
    ):
        raise AssertionError("the dirt was not found")


def _judge_day(validator: Validator, day: SourcedTicks) -> SourcedTicks:
    """Judge a day in batches that fit a core's cache, as a reader gives them, then as a whole."""
    given = [_part(day, start) for start in range(0, len(day), BATCH)]
    rows = [validator.check_rows(part) for part in given]
    if all(row is part for row, part in zip(rows, given, strict=True)):
        return validator.check_day(day)
    parts = [[getattr(row.ticks, name) for row in rows] for name in TICK_COLUMNS]
    whole = SourcedTicks(
        TickArrays(*(np.concatenate(part) for part in parts)),
        np.concatenate([row.file for row in rows]),
        np.concatenate([row.row for row in rows]),
    )
    stamps = whole.ticks.ts_event_ns
    if (stamps[1:] < stamps[:-1]).any():
        whole = whole.take(np.argsort(stamps, kind="stable"))
    return validator.check_day(whole)


def _part(day: SourcedTicks, start: int) -> SourcedTicks:
    cut = slice(start, start + BATCH)
    return SourcedTicks(day.ticks.take(cut), day.file[cut], day.row[cut])


def _bars(ticks: TickArrays) -> int:
    request = BarRequest(parse_bar_rules("time", "1m"), ("bid", "ask", "mid"))
    reducer = TimeReducer(request, instrument("EURUSD"))
    return int(reducer.reduce(dict(ticks.columns()))["ticks"].sum())


def _bars_unjudged(paths: list[Path], manifest: Manifest) -> None:
    counted = sum(_bars(_read(path)) for path in paths)
    if counted != manifest.rows:
        raise AssertionError(f"the bars hold {counted} ticks instead of {manifest.rows}")


def _bars_judged(paths: list[Path], manifest: Manifest) -> None:
    validator = Validator(instrument(manifest.instrument))
    kept = 0
    for path in paths:
        day = _judge_day(validator, _sourced(_read(path)))
        kept += _bars(day.ticks)
    if kept != manifest.rows:
        raise AssertionError(f"{manifest.rows - kept} clean ticks were dropped")


def _say(done: int, total: int) -> None:
    if done == total or done % 10 == 0:
        print(f"generating ticks: {done} of {total} days", file=sys.stderr)
