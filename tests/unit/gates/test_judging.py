"""What a gate is worth: readings that know, readings that do not, and gates that only trade less."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.reading_log import MarketReading, ReadingLog
from aiopt.bars.schema import BarSet
from aiopt.errors import ConfigError, MetricInputError, SpecError
from aiopt.evaluation.bootstrap import Interval, PairedDifference
from aiopt.gates import Control, judge_gate, shuffled
from aiopt.gates.judging import chance_of_choice, verdict
from aiopt.screen.session import ScreenSession
from aiopt.strategy.spec import StrategySpec, spec_from_mapping
from aiopt.testing.bars import random_walk_bar_set
from aiopt.testing.readings import ORIGIN, random_readings

BARS = random_walk_bar_set(3000, seed=11, timeframe="15m")
CONFIG = BacktestConfig()


def spec_of(**readings: object) -> StrategySpec:
    gate = {"without": "refuse", "max_age_bars": 4, "long": {"bias": ["long"]}, "short": {"bias": ["short"]}}
    return spec_from_mapping(
        {
            "name": "turns",
            "entry_long": "close > open and close[1] < open[1]",
            "entry_short": "close < open and close[1] > open[1]",
            "time_stop": {"bars": 6},
            "readings": gate | readings,
        },
        where="test",
    )


def prophetic(bars: BarSet, ahead: int) -> ReadingLog:
    """Readings whose bias is what comes: what no honest reader has, to see that the judge finds it."""
    close = bars.bid.close
    ends = bars.bid.ts_open_ns + bars.timeframe.ns
    found = []
    for bar in range(len(bars) - ahead - 1):
        rises = close[bar + 1 + ahead] > close[bar + 1]
        found.append(
            MarketReading(
                ts_end_ns=int(ends[bar]),
                known_ns=int(ends[bar]),
                bias="long" if rises else "short",
                trend="up",
                volatility="low",
                figures={"confidence": 0.5},
            )
        )
    return ReadingLog("EURUSD", ORIGIN, tuple(found), ends, int(bars.bid.ts_open_ns[0]))


def test_readings_that_know_are_found() -> None:
    bars = replace(BARS, readings=prophetic(BARS, 6))
    told: list[float] = []
    found = judge_gate(spec_of(), bars, CONFIG, seed=1, draws=40, progress=told.append)
    assert found.verdict.endswith(
        "what was read said something of these bars. Judge it on others before it trades."
    )
    assert found.interval_low > 0
    assert found.control.p_value == pytest.approx(1 / 41)
    assert found.choice_p_value < 0.01
    assert found.control.low < found.control.mean < found.control.high < found.difference
    assert told == [float(done) for done in range(2, 43)]


def test_readings_that_know_nothing_are_not_found() -> None:
    """Of twelve logs drawn at random one in twenty would pass by luck alone."""
    said = [
        judge_gate(
            spec_of(), replace(BARS, readings=random_readings(BARS.bid, seed)), CONFIG, seed=seed, draws=19
        )
        for seed in range(12)
    ]
    assert sum("said something" in one.verdict for one in said) <= 1
    assert 0.2 < np.mean([one.control.p_value for one in said]) < 0.8
    assert 0.2 < np.mean([one.choice_p_value for one in said]) < 0.8


def test_its_counts_are_those_of_the_two_backtests() -> None:
    bars = replace(BARS, readings=random_readings(BARS.bid, 3))
    spec = spec_of(size={"low": 0.2, "high": 0.8, "least": 0.5, "most": 2.0})
    found = judge_gate(spec, bars, CONFIG, seed=1, draws=19)
    session = ScreenSession(bars, CONFIG)
    gated, free = session.run(spec), session.run(spec.without_readings())
    ours, theirs = ({(trade.entry_bar, trade.side): trade for trade in one.trades} for one in (gated, free))
    kept = ours.keys() & theirs.keys()
    assert (found.kept, found.removed, found.added) == (
        len(kept),
        len(theirs) - len(kept),
        len(ours) - len(kept),
    )
    assert found.resized == sum(ours[key].size != theirs[key].size for key in kept) > 0
    assert found.removed_profit == pytest.approx(sum(theirs[key].pnl for key in theirs.keys() - kept))
    assert found.kept_profit == pytest.approx(sum(theirs[key].pnl for key in kept))
    assert found.difference == pytest.approx(gated.metrics.net_profit - free.metrics.net_profit)
    assert (found.gated.trades, found.free.trades) == (len(ours), len(theirs))
    assert found.readings == bars.readings.identity()
    assert judge_gate(spec, bars, CONFIG, seed=1, draws=19) == found, "same seed, same judgement"


def test_what_the_screen_cannot_treat_runs_in_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    from aiopt.gates import judging
    from aiopt.screen.failures import BeyondScreenError

    bars = replace(BARS.slice(0, 600), readings=random_readings(BARS.bid.slice(0, 600), 3))
    screened = judge_gate(spec_of(), bars, CONFIG, seed=1, draws=19)

    def refuses(*args: object, **settings: object) -> None:
        raise BeyondScreenError("made up")

    monkeypatch.setattr(judging, "ScreenSession", refuses)
    assert judge_gate(spec_of(), bars, CONFIG, seed=1, draws=19) == screened


# --- the controls -----------------------------------------------------------------------------------------


def test_a_shuffle_moves_what_was_read_and_leaves_when() -> None:
    log = random_readings(BARS.bid, 5)
    other = shuffled(log, block=10, seed=1)
    assert sorted(one.ts_end_ns for one in other.readings) == sorted(one.ts_end_ns for one in log.readings)
    np.testing.assert_array_equal(np.sort(other.known_ns), np.sort(log.known_ns))
    said = [
        sorted(str(msgspec.structs.replace(one, ts_end_ns=0, known_ns=0)) for one in each.readings)
        for each in (log, other)
    ]
    assert said[0] == said[1]
    assert other.log_hash not in {log.log_hash, shuffled(log, block=10, seed=2).log_hash}
    assert other.log_hash == shuffled(log, block=10, seed=1).log_hash
    by_time = sorted(other.readings, key=lambda one: one.ts_end_ns)
    plain = {
        str(one.figures): place for place, one in enumerate(sorted(log.readings, key=lambda r: r.ts_end_ns))
    }
    steps = np.diff([plain[str(one.figures)] for one in by_time])
    assert (steps == 1).mean() > 0.85, "nine of ten neighbours stay neighbours"


@pytest.mark.parametrize("block", [0, 10**6])
def test_a_block_out_of_range_is_named(block: int) -> None:
    with pytest.raises(MetricInputError, match="`1 <= block <= readings / 2` must hold, but got block="):
        shuffled(random_readings(BARS.bid, 5), block=block, seed=1)


def test_chance_of_choice_is_the_share_of_choices() -> None:
    profits = np.array([3.0, -1.0, 2.0, -4.0])
    # Of six pairs those of 3 and 2 make most.
    best = chance_of_choice(profits, np.array([True, False, True, False]), seed=1)
    assert best == pytest.approx(1 / 6, abs=0.02)
    worst = chance_of_choice(profits, np.array([False, True, False, True]), seed=1)
    assert worst == 1.0
    for chosen in (True, False):
        assert math.isnan(chance_of_choice(profits, np.full(4, chosen), seed=1))


# --- the verdict ------------------------------------------------------------------------------------------


def said(*, trades=100, removed=40, low=1.0, high=9.0, p=0.01, choice=0.01, total=5.0) -> str:
    paired = PairedDifference(total, Interval(low, high), 0.5, 100, 4.0)
    control = Control(draws=99, block=5, seed=1, mean=0.0, low=-1.0, high=1.0, p_value=p, trades=60.0)
    return verdict(trades, removed, paired, control, choice)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({}, "what was read said something of these bars"),
        ({"trades": 29}, "Not judged: 29 trades without the gate are too few, 30 are needed"),
        ({"removed": 0, "total": 0.0}, "The gate changed nothing"),
        ({"low": math.nan, "high": math.nan}, "Not judged: the difference has no interval"),
        ({"low": -1.0}, "No difference that these bars can tell"),
        ({"low": -9.0, "high": -1.0}, "The gate cost money"),
        ({"p": 0.2}, "comes from trading otherwise, not from what was read"),
        ({"choice": 0.2}, "comes from trading less, not from choosing well"),
        ({"choice": math.nan, "removed": 0}, "what was read said something of these bars"),
    ],
)
def test_each_outcome_has_its_words(case: dict, expected: str) -> None:
    assert expected in said(**case)


# --- what is refused --------------------------------------------------------------------------------------


def test_bad_input_is_named() -> None:
    bars = replace(BARS, readings=random_readings(BARS.bid, 3))
    with pytest.raises(ConfigError, match=r"turns asks for no readings. Add `readings:` to it"):
        judge_gate(spec_of().without_readings(), bars, CONFIG, seed=1)
    with pytest.raises(ConfigError, match="`19 <= draws <= 10000` must hold, but got draws=18"):
        judge_gate(spec_of(), bars, CONFIG, seed=1, draws=18)
    with pytest.raises(SpecError, match=r"none were given. Add --readings"):
        judge_gate(spec_of(), BARS, CONFIG, seed=1)
