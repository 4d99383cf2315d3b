"""Readings that hold entries back and size them: every view trades alike, and none looks ahead."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest

import aiopt as ao
from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.session import BacktestSession
from aiopt.bars.reading_log import MarketReading, ReadingLog
from aiopt.errors import DataError, SpecError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.screen.session import ScreenSession
from aiopt.strategy.dimensions import FloatRange
from aiopt.strategy.space import SearchSpace
from aiopt.strategy.spec import FixedSize, StrategySpec, spec_from_mapping
from aiopt.testing.bars import random_walk_bar_set
from aiopt.testing.random_specs import random_spec
from aiopt.testing.readings import ORIGIN, random_readings
from tests.engine.later_prices import with_other_prices
from tests.engine.test_screen import N_BARS, both, events_of, random_case

pytestmark = pytest.mark.slow

CHUNKS, SPECS = 4, 12


def gated(seed: int, **parts: bool) -> StrategySpec:
    return random_spec(seed, readings=True, **parts)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_screen_and_engine_agree_under_random_assumptions(chunk: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(chunk * SPECS, (chunk + 1) * SPECS):
        made = random_walk_bar_set(N_BARS, seed=seed, timeframe=("1m", "5m", "15m", "1h")[seed % 4])
        bars, config, drawn, segments = random_case(seed, made)
        bars = replace(bars, readings=random_readings(bars.bid, seed, every=1 + seed % 5))
        parts = ({}, {"exits": True}, {"limits": True}, {"targets": True}, {"adds": True})[seed % 5]
        spec = gated(seed, **parts)
        if drawn.stop_loss is not None and spec.stop_loss is not None and not parts:
            spec = msgspec.structs.replace(spec, size=drawn.size)
        found = both(bars, config, spec, segments)
        assert found.readings == bars.readings.identity()
        with BacktestSession(bars, config) as session:
            free = session.run(spec.without_readings(), segments=segments)
        assert free.readings is None
        seen += events_of(found)
        seen["fewer"] += len(found.trades) < len(free.trades)
        seen["sizes"] += len({trade.size for trade in found.trades}) > len({t.size for t in free.trades})
    assert seen["fewer"] >= SPECS // 2, seen
    assert seen["sizes"] >= 2, seen
    assert all(seen[name] > 0 for name in ("stop_loss", "take_profit", "reverse")), seen


@pytest.mark.parametrize("mode", ["research", "parity"])
def test_bar_by_bar_with_readings_as_they_arrive_it_is_the_same(mode: str) -> None:
    bars = random_walk_bar_set(500, seed=4, timeframe="5m")
    log = random_readings(bars.bid, 4, every=3)
    traded = 0
    for seed in range(10):
        spec = gated(seed)
        found = []
        for signals in ("arrays", "streaming"):
            config = BacktestConfig(mode=mode, signals=signals)
            with BacktestSession(bars, config, readings=log) as session:
                found.append(session.run(spec))
        assert found[0].trades == found[1].trades, spec.to_json()
        assert found[0].open_trades == found[1].open_trades
        assert found[0].readings == found[1].readings
        np.testing.assert_array_equal(found[0].equity, found[1].equity)
        traded += len(found[0].trades)
    assert traded > 20


# --- no look-ahead ----------------------------------------------------------------------------------------


def other_readings(log: ReadingLog, from_ns: int) -> ReadingLog:
    """Return the log with everything turned over that is known from a moment on."""
    biases, trends = {"long": "short", "short": "long"}, {"up": "down", "down": "up"}

    def turned(one: MarketReading) -> MarketReading:
        if one.known_ns < from_ns:
            return one
        return msgspec.structs.replace(
            one,
            bias=biases.get(one.bias, one.bias),
            trend=trends.get(one.trend, one.trend),
            volatility="high",
            figures={name: round(1.0 - value, 3) for name, value in one.figures.items()},
            patterns=(),
        )

    return log.at_other_times([turned(one) for one in log.readings])


def test_readings_and_prices_to_come_change_no_earlier_trade() -> None:
    bars = random_walk_bar_set(N_BARS, seed=5)
    log, cut = random_readings(bars.bid, 5, every=2), len(bars) // 2
    later = with_other_prices(bars, cut)
    # What is known from the close before the cut on is not yet known at that close.
    close = int(bars.bid.ts_open_ns[cut - 1]) + bars.timeframe.ns
    sessions = [
        ScreenSession(one, BacktestConfig(), readings=known)
        for one, known in ((bars, log), (later, other_readings(log, close)))
    ]
    changed = kept_in_all = 0
    for seed in range(30):
        spec = msgspec.structs.replace(gated(seed), size=FixedSize())
        found = [session.run(spec).trades for session in sessions]
        kept, other = ([trade for trade in trades if trade.exit_bar < cut] for trades in found)
        assert kept == other, spec.to_json()
        # An entry decided at the close before the cut fills at the cut's open.
        entered, others = (
            {(trade.entry_bar, trade.side, trade.size) for trade in trades if trade.entry_bar <= cut}
            for trades in found
        )
        assert entered == others, spec.to_json()
        kept_in_all += len(kept)
        changed += found[0] != found[1]
    assert changed > 5
    assert kept_in_all > 100


def test_a_reading_decides_from_the_close_of_the_bar_behind_its_chart_on() -> None:
    """The chart ends with bar 19; without any latency bar 20's close is the first that may act on it."""
    bars = random_walk_bar_set(40, seed=1)
    spec = spec_from_mapping(
        {
            "name": "always",
            "entry_long": "close > 0",
            "readings": {"without": "refuse", "max_age_bars": 3, "long": {"bias": ["long"]}},
        },
        where="test",
    )

    def entry_bars(late_s: float) -> list[int]:
        end = int(bars.bid.ts_open_ns[19]) + bars.timeframe.ns
        one = MarketReading(
            ts_end_ns=end,
            known_ns=end + round(late_s * 1e9),
            bias="long",
            trend="up",
            volatility="low",
            figures={},
        )
        ends = bars.bid.ts_open_ns + bars.timeframe.ns
        log = ReadingLog("EURUSD", ORIGIN, (one,), ends, int(bars.bid.ts_open_ns[0]))
        return [trade.entry_bar for trade in both(replace(bars, readings=log), BacktestConfig(), spec).trades]

    step = bars.timeframe.seconds
    assert entry_bars(0.0) == [21], "decided at the close of bar 20, filled at the next open"
    assert entry_bars(step - 0.001) == [21]
    assert entry_bars(step) == [22], "known at the close of bar 20, not before it"
    assert entry_bars(2 * step) == [23], "three bars old"
    assert entry_bars(3 * step) == [], "four bars old: it counts no more"


# --- what is refused --------------------------------------------------------------------------------------


def test_readings_that_do_not_fit_are_refused_before_anything_is_traded() -> None:
    bars = random_walk_bar_set(300, seed=2)
    spec, log = gated(1), random_readings(bars.bid, 2)
    for session_of in (ScreenSession, BacktestSession):
        with pytest.raises(SpecError, match="readings: it asks for readings of a model, but none were given"):
            session_of(bars, BacktestConfig()).run(spec)
        with pytest.raises(DataError, match="Readings must cover the bars, but the charts go from"):
            session_of(bars, BacktestConfig(), readings=random_readings(bars.bid.slice(0, 200), 2)).run(spec)
        with pytest.raises(DataError, match="must be of the bars' instrument EURUSD, but they are of GBPUSD"):
            session_of(bars, BacktestConfig(), readings=replace(log, instrument="GBPUSD")).run(spec)
        assert session_of(bars, BacktestConfig()).run(spec.without_readings()).readings is None


# --- in Python --------------------------------------------------------------------------------------------


def test_the_face_takes_readings_with_the_bars(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOPT_LEDGER_DIR", str(tmp_path / "ledger"))
    bars = random_walk_bar_set(2_000, seed=2, timeframe="15m")
    read = replace(bars, readings=random_readings(bars.bid, 2))
    fields = {
        "name": "turns",
        "params": {"least": 0.3},
        "entry_long": "close > open and close[1] < open[1]",
        "time_stop": {"bars": 4},
        "readings": {"without": "refuse", "max_age_bars": 6, "min_confidence": "least"},
    }
    spec = spec_from_mapping(fields, where="test")
    assert ao.backtest(spec, read).result.readings == read.readings.identity()
    space = SearchSpace(spec, {"least": FloatRange(low=0.0, high=0.9)})
    settings = {
        "trials": 6,
        "walk_forward": WalkForwardConfig(folds=2, train_segments=2),
        "show_progress": False,
    }
    rows = {screen: ao.sweep(space, read, screen=screen, **settings).rows for screen in (True, False)}
    assert [msgspec.json.encode(row) for row in rows[True]] == [
        msgspec.json.encode(row) for row in rows[False]
    ]
    assert len({sum(row.segment_trades) for row in rows[True]}) > 3, "the least confidence decides"
    with pytest.raises(SpecError, match="asks for readings of a model, but none were given"):
        ao.sweep(space, bars, **settings)
