"""Trades of emitted scripts in an independent Pine engine, against those of the backtest: how many are equal.

*Families*: every ready family at so many random points of its search space, as Pine v6 and v5, over a month
of minute bars.  *Random specs* over the whole language, with and without further exits, entry limits, targets
of parts, levels in per cent and from the entry's price, added entries, a higher timeframe and the rarer kinds
of indicators (chart patterns, sessions, the clock), over shorter real bars of EURUSD and generated ones of
EURUSD, USDJPY and XAUUSD.  Points and specs that do not trade on their bars are passed over, and counted.
Each script is compared in three views (arrays, NautilusTrader, script) as `aiopt pine verify` does it.  Where
a difference is found, its first words are printed.

Real bars are used where `AIOPT_BENCH_PARITY_BARS` names a folder or file of minute bars (the last 33,120 of
them), generated ones otherwise.  `AIOPT_BENCH_PARITY_POINTS` (20) sets the points per family,
`AIOPT_BENCH_PARITY_SPECS` (500) the random specs.  It needs the Pine engine (`aiopt pine engine install`).

Families and random specs take turns, and what is compared is written to `.cache/benchmarks/parity` at once: a
second start at the same, unchanged commit goes on behind it, and one with fewer points or specs counts what
is there.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import msgspec

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import chart_price
from aiopt.bars.files import load_bar_set
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.screen.session import ScreenSession
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.spec import StrategySpec
from aiopt.testing.bars import random_walk_bars
from aiopt.testing.random_specs import random_spec
from aiopt.verification.engine_folder import find_engine
from aiopt.verification.pine_runs import PineRunError, PineRunner
from aiopt.verification.scripts import last_bars
from aiopt.verification.verification_file import Verified
from aiopt.verification.verifying import ScriptTask, verify_scripts
from benchmarks._harness import CACHE, Figure, commit

POINTS = int(os.environ.get("AIOPT_BENCH_PARITY_POINTS", "20"))
SPECS = int(os.environ.get("AIOPT_BENCH_PARITY_SPECS", "500"))
MONTH_BARS = 33_120
SHORT_BARS = 2_000
AT_ONCE = 10
"""Scripts of one process of the engine."""
SEED = 11
REAL = "eurusd_real"
SCALES = {"eurusd": 1.0, "usdjpy": 100.0, "xauusd": 1_500.0}
"""What generated EUR/USD prices are multiplied by, per instrument, and the account with them."""
BALANCE = 100_000.0


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """One script compared; `failed` holds the first words of a difference or of the engine's refusal."""

    group: str
    name: str
    trades: int = 0
    excused: int = 0
    failed: str = ""


Named = tuple[str, ScriptTask]
"""A group and a script of it."""


def run() -> list[Figure]:
    """Measure and return the figures."""
    runner = PineRunner(find_engine(), time_limit_s=600)
    month = _month()
    passed_over = {"points": 0, "specs": 0}
    points, specs = _points(month, passed_over), _specs(month, passed_over)
    per_round = -(-SPECS // max(POINTS, 1))
    turns = (chain(islice(points, len(FAMILIES) * 2), islice(specs, per_round)) for _ in range(POINTS))
    tasks = chain(chain.from_iterable(turns), specs)
    rows = _compared(tasks, runner, CACHE / "parity" / f"{commit()}-{month.data_hash[:12]}.jsonl")
    figures = [Figure(name="bars", value=len(month), unit="bars")]
    for group in sorted({row.group for row in rows}):
        figures += _figures(group, [row for row in rows if row.group == group])
    for what, count in passed_over.items():
        figures.append(Figure(name=f"{what}_without_trades_passed_over", value=count, unit=what))
    if not sum(row.trades for row in rows):
        raise AssertionError("no trade was compared")
    return figures


def _month() -> BarSet:
    given = os.environ.get("AIOPT_BENCH_PARITY_BARS")
    if not given:
        return _single(random_walk_bars(MONTH_BARS, seed=SEED), "eurusd")
    return last_bars(load_bar_set(Path(given)), MONTH_BARS)


def _single(bars: BarArrays, name: str) -> BarSet:
    """Return one price of an instrument, on its tick grid, from generated EUR/USD bars."""
    market, scale = instrument(name.upper()), SCALES[name]
    prices = {
        column: (getattr(bars, column) * scale / market.tick_size).round() * market.tick_size
        for column in ("open", "high", "low", "close")
    }
    digits = len(f"{market.tick_size:.10f}".rstrip("0").partition(".")[2])
    moved = {column: values.round(digits) for column, values in prices.items()}
    bid = dataclasses.replace(bars, instrument=market.symbol, **moved)
    return BarSet(market, bid.timeframe, bid, bid, True, bid.data_hash)


def _task(name: str, spec: StrategySpec, bars: BarSet, version: int) -> ScriptTask:
    balance = BALANCE * SCALES[bars.instrument.symbol.lower()]
    script = emit(
        spec,
        provenance=Provenance(),
        instrument=bars.instrument,
        version=version,
        initial_balance=balance,
    )
    return ScriptTask(name, spec, script, bars, initial_balance=balance)


def _points(bars: BarSet, passed_over: dict[str, int]) -> Iterator[Named]:
    """Yield every family's next point that trades, as v6 and v5, family by family."""
    session = _session(bars)

    def trading(family: str) -> Iterator[StrategySpec]:
        space = FAMILIES[family]
        for point in space.sample(POINTS * 4, seed=SEED, method="random"):
            spec = space.spec.with_params(point)
            if session.run(spec).trades:
                yield spec
            else:
                passed_over["points"] += 1

    waiting = {family: trading(family) for family in FAMILIES}
    for number in range(POINTS):
        for family, specs in waiting.items():
            spec = next(specs)
            for version in (6, 5):
                yield f"families_v{version}", _task(f"{family}-{number}", spec, bars, version)


def _specs(month: BarSet, passed_over: dict[str, int]) -> Iterator[Named]:
    """Yield random specs that trade, market by market, on bars of their own."""
    groups = (REAL, *SCALES)
    seed = found = 0
    while found < SPECS:
        group = groups[found % len(groups)]
        bars = _short(month, seed) if group == REAL else _generated(seed, group)
        adds = seed % 8 == 4
        spec = random_spec(
            seed,
            exits=not adds and seed % 2 == 1,
            limits=not adds and seed % 5 < 2,
            targets=not adds and seed % 3 > 0,
            higher=seed % 7 == 0,
            levels=seed % 11 < 6,
            adds=adds,
            wide=seed % 13 < 8,
        )
        if _session(bars).run(spec).trades:
            found += 1
            yield f"random_{group}", _task(f"random-{seed}", spec, bars, 6 if seed % 4 < 2 else 5)
        else:
            passed_over["specs"] += 1
        seed += 1


def _short(month: BarSet, seed: int) -> BarSet:
    start = seed * 997 % (len(month) - SHORT_BARS)
    return month.slice(start, start + SHORT_BARS)


def _generated(seed: int, name: str) -> BarSet:
    return _single(random_walk_bars(SHORT_BARS, seed=seed), name)


def _session(bars: BarSet) -> ScreenSession:
    balance = BALANCE * SCALES[bars.instrument.symbol.lower()]
    return ScreenSession(chart_price(bars), BacktestConfig(mode="parity", initial_balance=balance))


def _compared(tasks: Iterator[Named], runner: PineRunner, journal: Path) -> list[_Row]:
    """Compare what the journal does not hold yet; return a row for each task."""
    known = _known(journal)
    journal.parent.mkdir(parents=True, exist_ok=True)
    total, begun, rows, fresh = POINTS * len(FAMILIES) * 2 + SPECS, time.monotonic(), [], 0
    while some := list(islice(tasks, AT_ONCE)):
        new = [(group, task) for group, task in some if (group, task.name) not in known]
        found = verify_scripts([task for _, task in new], runner) if new else []
        fresh += len(new)
        with journal.open("ab") as file:
            for (group, task), one in zip(new, found, strict=True):
                row = _row(group, task.name, one)
                known[group, task.name] = row
                file.write(msgspec.json.encode(row) + b"\n")
                if row.failed:
                    sys.stderr.write(f"{group} {task.name}: {row.failed}\n")
        rows += [known[group, task.name] for group, task in some]
        left = (total - len(rows)) * (time.monotonic() - begun) / max(fresh, 1) / 60
        equal, trades = sum(not row.failed for row in rows), sum(row.trades for row in rows)
        sys.stderr.write(
            f"{len(rows)} of {total} scripts, {equal} equal, {trades:,} trades; {left:.0f} minutes left\n"
        )
    return rows


def _known(journal: Path) -> dict[tuple[str, str], _Row]:
    """Return the rows of an earlier start; none of a commit that was not clean."""
    if "dirty" in journal.name or "unknown" in journal.name:
        journal.unlink(missing_ok=True)
    if not journal.exists():
        return {}
    # The last line may be torn: a row ends with a line end.
    lines = journal.read_bytes().split(b"\n")[:-1]
    rows = [msgspec.json.decode(line, type=_Row) for line in lines]
    journal.write_bytes(b"".join(line + b"\n" for line in lines))
    return {(row.group, row.name): row for row in rows}


def _row(group: str, name: str, found: Verified | PineRunError) -> _Row:
    if isinstance(found, PineRunError):
        return _Row(group=group, name=name, failed=str(found))
    failed = "" if found.difference is None else found.difference.what
    return _Row(group=group, name=name, trades=found.trades, excused=found.excused, failed=failed)


def _figures(name: str, rows: list[_Row]) -> list[Figure]:
    equal = [row for row in rows if not row.failed]
    trades_equal = sum(row.trades - row.excused for row in equal)
    return [
        Figure(name=f"{name}_scripts", value=len(rows), unit="scripts"),
        Figure(name=f"{name}_scripts_equal", value=len(equal), unit="scripts", target=len(rows)),
        Figure(name=f"{name}_trades", value=sum(row.trades for row in rows), unit="trades"),
        Figure(name=f"{name}_trades_equal", value=trades_equal, unit="trades"),
        Figure(name=f"{name}_exits_excused", value=sum(row.excused for row in rows), unit="trades"),
    ]
