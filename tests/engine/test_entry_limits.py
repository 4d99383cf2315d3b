"""Entry limits: screen, engine and Pine Script hold the same entries back, and none of them looks ahead."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.market.instrument import instrument
from aiopt.pine.emitter import emit
from aiopt.pine.provenance import Provenance
from aiopt.screen.session import ScreenSession
from aiopt.strategy.signals import compute_signals
from aiopt.strategy.spec import FixedSize, StrategySpec, spec_from_mapping
from aiopt.strategy.spec_limits import EntryLimits
from aiopt.testing.bars import random_walk_bar_set, random_walk_bars
from aiopt.testing.random_specs import random_spec
from aiopt.timeframe import parse_timeframe
from aiopt.trades import Trade
from aiopt.verification.pine_runs import PineJob, PineRun
from tests.engine.later_prices import trades_that_stay
from tests.engine.test_exits import pine_rows
from tests.engine.test_screen import N_BARS, both, events_of, random_case

pytestmark = pytest.mark.slow

EURUSD = instrument("EURUSD")
NEW_YORK = ZoneInfo("America/New_York")
CHUNKS, SPECS = 2, 8
PINE_SEEDS, PINE_BARS = range(6), 700
HOUR_NS = 3_600_000_000_000


def limited(seed: int) -> StrategySpec:
    return random_spec(seed, exits=seed % 2 == 1, limits=True, targets=seed % 3 == 2)


def free(seed: int, size: object = None, **limits: object) -> StrategySpec:
    """Return the same strategy without limits, or with others."""
    spec = random_spec(seed, exits=seed % 2 == 1, targets=seed % 3 == 2)
    spec = spec if size is None else msgspec.structs.replace(spec, size=size)
    return spec_from_mapping(msgspec.to_builtins(spec) | ({"limits": limits} if limits else {}), where="test")


def one_price(bars: BarArrays) -> BarSet:
    return BarSet(EURUSD, bars.timeframe, bars, bars, True, bars.data_hash)


def pine_bars(seed: int) -> BarArrays:
    return random_walk_bars(PINE_BARS, seed=seed, timeframe=("5m", "15m", "1h")[seed % 3])


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_screen_and_engine_agree_under_random_assumptions(chunk: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(chunk * SPECS, (chunk + 1) * SPECS):
        made = random_walk_bar_set(N_BARS, seed=seed, timeframe=("1m", "5m", "15m", "1h")[seed % 4])
        bars, config, drawn, segments = random_case(seed, made)
        spec = limited(seed)
        if drawn.stop_loss is not None:
            spec = msgspec.structs.replace(spec, size=drawn.size)
        result = both(bars, config, spec, segments)
        seen += events_of(result)
        unlimited = ScreenSession(bars, config).run(free(seed, spec.size), segments=segments)
        seen["differs"] += result.trades != unlimited.trades
    assert seen["differs"] >= 3, seen
    assert seen["stop_loss"] > 0, seen


@pytest.mark.parametrize("mode", ["research", "parity"])
def test_bar_by_bar_it_is_the_same(mode: str) -> None:
    bars = random_walk_bar_set(500, seed=4, timeframe="15m")
    fewer = 0
    for seed in range(1, 6):
        spec = msgspec.structs.replace(limited(seed), size=FixedSize())
        found = []
        for signals in ("arrays", "streaming"):
            with BacktestSession(bars, BacktestConfig(mode=mode, signals=signals)) as session:
                found.append(session.run(spec))
        assert found[0].trades == found[1].trades
        np.testing.assert_array_equal(found[0].equity, found[1].equity)
        unlimited = ScreenSession(bars, BacktestConfig(mode=mode)).run(free(seed, FixedSize()))
        fewer += len(found[0].trades) < len(unlimited.trades)
    assert fewer >= 3


def test_prices_to_come_change_no_earlier_trade() -> None:
    bars = random_walk_bar_set(N_BARS, seed=5)
    specs = (msgspec.structs.replace(limited(seed), size=FixedSize()) for seed in range(20))
    assert sum(map(len, trades_that_stay(bars, specs))) > 50


# --- the rules, written a second time from the trades alone -----------------------------------------------


def day_of(ts_ns: int) -> dt.date:
    """Return the trading day of an instant, by the wall clock of New York."""
    local = dt.datetime.fromtimestamp(ts_ns // 10**9, tz=NEW_YORK)
    return local.date() + dt.timedelta(days=local.hour >= 17)


def is_held_back(
    limits: EntryLimits, spec: StrategySpec, bar: int, trades: Sequence[Trade], days: list
) -> bool:
    """Say from all trades of a run whether an entry signal at the close of a bar counts for nothing."""
    closed = [trade for trade in trades if trade.exit_bar is not None and trade.exit_bar <= bar]
    still = {trade.entry_bar for trade in trades if trade.exit_bar is None or trade.exit_bar > bar}
    ends = [trade.exit_bar for trade in closed if trade.entry_bar not in still]
    if limits.pause_bars and ends and bar - max(ends) < spec.value_of(limits.pause_bars):
        return True
    entered = {trade.entry_bar for trade in trades if trade.entry_bar <= bar}  # several trades may be one
    today = [entry_bar for entry_bar in entered if days[entry_bar] == days[bar]]
    if limits.trades_per_day and len(today) >= spec.value_of(limits.trades_per_day):
        return True
    if limits.daily_loss is None:
        return False
    lost = -sum(trade.pnl for trade in closed if days[trade.exit_bar] == days[bar])
    before = 100_000.0 + sum(trade.pnl for trade in closed if days[trade.exit_bar] != days[bar])
    allowed = spec.value_of(limits.daily_loss.money or 0)
    if limits.daily_loss.percent:
        allowed = before * spec.value_of(limits.daily_loss.percent) / 100
    return lost > 1e-6 and lost >= allowed - 1e-6


def test_every_signal_is_taken_or_held_back_by_the_rules() -> None:
    counts: Counter[bool] = Counter()
    for seed in range(16):
        bars = one_price(pine_bars(seed))
        days = [day_of(ts_ns) for ts_ns in bars.bid.ts_open_ns.tolist()]
        spec = msgspec.structs.replace(limited(seed), size=FixedSize(units=30_000))
        result = ScreenSession(bars, BacktestConfig(mode="parity")).run(spec)
        trades = [*result.trades, *([] if result.open_trade is None else [result.open_trade])]
        trades = [trade if hasattr(trade, "exit_bar") else _Open(trade) for trade in trades]
        by_entry = {trade.entry_bar: trade for trade in trades}
        signals = compute_signals(spec, bars.bid, tick_size=1e-5, pip_size=1e-4, initial_balance=1e5)
        for bar in np.flatnonzero(signals.entry_long | signals.entry_short).tolist():
            if bar >= len(bars) - 1:
                continue
            side = "long" if signals.entry_long[bar] else "short"
            held = [t for t in trades if t.entry_bar <= bar and (t.exit_bar is None or t.exit_bar > bar)]
            if held and held[0].side == side:
                continue
            back = is_held_back(spec.limits, spec, bar, trades, days)
            assert (bar + 1 in by_entry) is not back, (seed, bar, spec.limits)
            counts[back] += 1
    assert min(counts.values()) > 200, counts


class _Open:
    """An open trade that says so."""

    exit_bar = None
    pnl = 0.0

    def __init__(self, trade: object) -> None:
        self.entry_bar, self.side = trade.entry_bar, trade.side


# --- Pine -------------------------------------------------------------------------------------------------


def rows_of(trades: Sequence[Trade]) -> list[tuple]:
    return [
        (
            *(trade.entry_bar, trade.exit_bar, trade.side),
            *(round(trade.entry_price, 5), round(trade.exit_price, 5), round(float(trade.size), 6)),
            trade.exit_reason,
        )
        for trade in trades
    ]


def job(spec: StrategySpec, bars: BarArrays, version: int) -> PineJob:
    return PineJob(emit(spec, provenance=Provenance(), instrument=EURUSD, version=version), bars)


@pytest.fixture(scope="module")
def runs(pine) -> list[PineRun]:
    """Every random spec as v5 and v6, in one process of the engine."""
    bars = {seed: pine_bars(seed) for seed in PINE_SEEDS}
    return pine.run_many(
        [job(limited(seed), bars[seed], version) for seed in PINE_SEEDS for version in (5, 6)]
    )


@pytest.mark.parametrize("number", range(2 * len(PINE_SEEDS)))
def test_pine_trades_the_same(runs: list[PineRun], number: int) -> None:
    seed = PINE_SEEDS[number // 2]
    spec = limited(seed)
    result = ScreenSession(one_price(pine_bars(seed)), BacktestConfig(mode="parity")).run(spec)
    assert rows_of(result.trades) == pine_rows(runs[number].closed), spec.to_json()
    assert len(runs[number].open) == (result.open_trade is not None)


def test_the_specs_given_to_pine_are_held_back_in_every_way() -> None:
    held: Counter[str] = Counter()
    for seed in PINE_SEEDS:
        session = ScreenSession(one_price(pine_bars(seed)), BacktestConfig(mode="parity"))
        spec, unlimited = limited(seed), session.run(free(seed)).trades
        limits, loss = spec.limits, spec.limits.daily_loss
        alone = {
            "pause_bars": limits.pause_bars and spec.value_of(limits.pause_bars),
            "trades_per_day": limits.trades_per_day and spec.value_of(limits.trades_per_day),
            "percent": loss and loss.percent,
            "money": loss and loss.money and spec.value_of(loss.money),
        }
        for name, value in alone.items():
            if value is not None:
                given = (
                    {name: value}
                    if name in {"pause_bars", "trades_per_day"}
                    else {"daily_loss": {name: value}}
                )
                held[name] += session.run(free(seed, **given)).trades != unlimited
    assert len(held) == 4, held
    assert min(held.values()) >= 1, held


# --- cases that go wrong easily ---------------------------------------------------------------------------


def bars_of(prices: Sequence[tuple[int, int, int, int]], first: str, *, timeframe: str = "1h") -> BarArrays:
    """Return bars whose open, high, low and close are given in pips from 1.1; `first` is New York time."""
    start = int(dt.datetime.fromisoformat(first).replace(tzinfo=NEW_YORK).timestamp()) * 10**9
    columns = [np.round(1.1 + np.array(column) / 10_000, 5) for column in zip(*prices, strict=True)]
    length = parse_timeframe(timeframe)
    return BarArrays(
        "EURUSD",
        length,
        "bid",
        start + np.arange(len(prices), dtype=np.int64) * length.ns,
        *columns,
        np.full(len(prices), 100.0),
        "made",
        synthetic=True,
    )


FLAT = (0, 0, 0, 0)
UP, DOWN = (0, 1, 0, 1), (1, 1, 0, 0)


def always(**fields: object) -> StrategySpec:
    """Return a strategy that wants to be long on every bar; ten pips of 10,000 units are 10."""
    base = {"name": "always", "entry_long": "close > 0", "stop_loss": {"unit": "pips", "value": 10}}
    return spec_from_mapping(base | fields, where="test")


LOSS_ON_ENTRY = (0, 0, -20, 0)
REVERSAL = {
    "name": "turns",
    "entry_long": "close > open",
    "entry_short": "close < open",
    "stop_loss": {"unit": "pips", "value": 10},
}

CASES: dict[str, tuple[dict, BarArrays, list[tuple[int, int, str]]]] = {
    # The stop of bar 1 is hit on the entry bar, the loss known at its close; the next day begins on bar 4.
    "the daily loss is reached on an entry bar": (
        {"limits": {"daily_loss": {"money": 10}}},
        bars_of([FLAT, LOSS_ON_ENTRY, FLAT, FLAT, FLAT, FLAT, FLAT], "2024-05-06T13:00"),
        [(1, 1, "stop_loss")],
    ),
    # Twice 10.0 are 20 exactly, whatever sums of floats say.
    "a loss that just reaches its limit": (
        {"limits": {"daily_loss": {"money": 20}}},
        bars_of([FLAT, LOSS_ON_ENTRY, LOSS_ON_ENTRY, FLAT, FLAT], "2024-05-06T09:00"),
        [(1, 1, "stop_loss"), (2, 2, "stop_loss")],
    ),
    "a loss one tick short of its limit": (
        {"limits": {"daily_loss": {"money": 20.1}}},
        bars_of([FLAT, LOSS_ON_ENTRY, LOSS_ON_ENTRY, LOSS_ON_ENTRY, FLAT, FLAT], "2024-05-06T09:00"),
        [(1, 1, "stop_loss"), (2, 2, "stop_loss"), (3, 3, "stop_loss")],
    ),
    "per cent of the balance the day began with": (
        # 0.02 % of 100,000 is 20; on the next day, bar 4 on, of 99,980: less than 20.
        {"limits": {"daily_loss": {"percent": 0.02}}},
        bars_of(
            [FLAT, LOSS_ON_ENTRY, LOSS_ON_ENTRY, FLAT, FLAT, LOSS_ON_ENTRY, LOSS_ON_ENTRY, FLAT, FLAT],
            "2024-05-06T13:00",
        ),
        [(1, 1, "stop_loss"), (2, 2, "stop_loss"), (5, 5, "stop_loss"), (6, 6, "stop_loss")],
    ),
    "two exits in one bar are both of its day": (
        # Long from bar 1; the short signal of bar 2 reverses at bar 3's open at a loss of 5, is stopped
        # inside bar 3 at a loss of 10, and the two together forbid what bar 3's close would enter.
        REVERSAL | {"limits": {"daily_loss": {"money": 15}}},
        bars_of([UP, (1, 1, 1, 1), (1, 1, -4, -4), (-4, 9, -4, 9), UP, FLAT, FLAT], "2024-05-06T09:00"),
        [(1, 3, "reverse"), (3, 3, "stop_loss")],
    ),
    "two exits in one bar, the first alone would not do": (
        REVERSAL | {"limits": {"daily_loss": {"money": 16}}},
        bars_of(
            [UP, (1, 1, 1, 1), (1, 1, -4, -4), (-4, 9, -4, 9), FLAT, (0, 0, -9, -9), FLAT], "2024-05-06T09:00"
        ),
        [(1, 3, "reverse"), (3, 3, "stop_loss"), (4, 5, "stop_loss")],
    ),
    "a position over the roll loses on the day it is left": (
        # Bar 4 opens at 17:00. Entered on bar 1, stopped on bar 5: the new day's loss.
        {"limits": {"daily_loss": {"money": 10}}},
        bars_of([FLAT, FLAT, FLAT, FLAT, FLAT, LOSS_ON_ENTRY, FLAT, FLAT], "2024-05-06T13:00"),
        [(1, 5, "stop_loss")],
    ),
    "an entry ordered at a day's last close counts on the next day": (
        {"time_stop": {"bars": 1}, "limits": {"trades_per_day": 1}},
        bars_of([FLAT] * 30, "2024-05-06T16:00"),
        [(1, 2, "time"), (26, 27, "time")],
    ),
    "a pause of one bar skips the bar of the exit": (
        {"time_stop": {"bars": 1}, "limits": {"pause_bars": 1}},
        bars_of([FLAT] * 9, "2024-05-06T09:00"),
        [(1, 2, "time"), (4, 5, "time"), (7, 8, "time")],
    ),
    "a signal held back reverses nothing and leaves the exit its say": (
        REVERSAL | {"exit_long": "close < open", "limits": {"trades_per_day": 1}},
        bars_of([UP, FLAT, DOWN, FLAT, UP, FLAT], "2024-05-06T09:00"),
        [(1, 3, "exit_signal")],
    ),
    "a signal held back does not come later": (
        {
            "entry_long": "close > open",
            "exit_long": "close < open",
            "limits": {"pause_bars": 2},
        },
        bars_of([UP, DOWN, UP, UP, FLAT, FLAT, UP, FLAT, FLAT], "2024-05-06T09:00"),
        [(1, 2, "exit_signal")],
    ),
    "a part that leaves begins no pause, the last one does": (
        # A part at 1 pip inside bar 1; short from bar 3 as nothing rests, back at bar 4: it is held back.
        REVERSAL
        | {
            "targets": [{"share": 50, "unit": "pips", "value": 1}],
            "limits": {"pause_bars": 2},
            "exit_short": "close > open",
        },
        bars_of([UP, (1, 2, 1, 2), (2, 2, 1, 1), (1, 1, 1, 1), (1, 2, 1, 2), FLAT, FLAT], "2024-05-06T09:00"),
        [(1, 1, "take_profit"), (1, 3, "reverse"), (3, 5, "exit_signal")],
    ),
    "the loss of a part counts as soon as it has left": (
        # Two parts are stopped inside bar 1, 5 and 5: together they end the day.
        {
            "targets": [{"share": 50, "unit": "pips", "value": 30}],
            "limits": {"daily_loss": {"money": 10}},
        },
        bars_of([FLAT, LOSS_ON_ENTRY, FLAT, FLAT, FLAT], "2024-05-06T09:00"),
        [(1, 1, "stop_loss"), (1, 1, "stop_loss")],
    ),
    "an entry in parts is one entry of its day": (
        {
            "targets": [{"share": 50, "unit": "pips", "value": 1}],
            "take_profit": {"unit": "pips", "value": 2},
            "limits": {"trades_per_day": 2},
        },
        bars_of([FLAT, (0, 2, 0, 0), (0, 2, 0, 0), (0, 2, 0, 0), FLAT], "2024-05-06T09:00"),
        [(1, 1, "take_profit")] * 2 + [(2, 2, "take_profit")] * 2,
    ),
    "clocks go forward while a position is held": (
        {"time_stop": {"bars": 1}, "limits": {"trades_per_day": 1}},
        # 17:00 New York is 22:00 UTC up to Saturday, 21:00 UTC from Sunday, 10 March 2024.
        bars_of([FLAT] * 60, "2024-03-08T21:00"),
        [(1, 2, "time"), (21, 22, "time"), (44, 45, "time")],
    ),
    "clocks go back": (
        {"time_stop": {"bars": 1}, "limits": {"trades_per_day": 1}},
        bars_of([FLAT] * 60, "2024-11-01T21:00"),
        [(1, 2, "time"), (21, 22, "time"), (46, 47, "time")],
    ),
}


def case_spec(fields: dict) -> StrategySpec:
    return spec_from_mapping(fields, where="test") if "name" in fields else always(**fields)


@pytest.fixture(scope="module")
def case_runs(pine) -> dict[tuple[str, int], PineRun]:
    keys = [(name, version) for name in CASES for version in (5, 6)]
    jobs = [job(case_spec(CASES[name][0]), CASES[name][1], version) for name, version in keys]
    return dict(zip(keys, pine.run_many(jobs), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_by_hand(case_runs: dict[tuple[str, int], PineRun], name: str) -> None:
    fields, bars, expected = CASES[name]
    result = both(one_price(bars), BacktestConfig(mode="parity"), case_spec(fields))
    told = [(trade.entry_bar, trade.exit_bar, trade.exit_reason) for trade in result.trades]
    assert told[: len(expected)] == expected
    for version in (5, 6):
        assert pine_rows(case_runs[name, version].closed) == rows_of(result.trades)
    # What is not listed is entered on the next day alone.
    later = {day_of(int(bars.ts_open_ns[entry])) for entry, _, _ in told[len(expected) :]}
    assert not later & {day_of(int(bars.ts_open_ns[entry])) for entry, _, _ in expected}
