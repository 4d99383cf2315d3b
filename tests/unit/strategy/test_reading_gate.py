"""What readings decide on each bar: by hand, by brute force, bar by bar, and of readings that do not fit."""

from __future__ import annotations

import pickle
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from aiopt.bars.reading_log import MarketReading, ReadingLog, SeenPattern
from aiopt.errors import DataError, SpecError
from aiopt.strategy.reading_gate import ReadingsOnBars, ReadingStream, arrivals, gate_plan
from aiopt.strategy.signals import compute_signals, signals_equal, stream_signals
from aiopt.strategy.sizes import units_on_bars
from aiopt.strategy.spec import StrategySpec, spec_from_mapping
from aiopt.testing.bars import random_walk_bars
from aiopt.testing.random_specs import random_spec
from aiopt.testing.readings import ORIGIN, random_readings

BARS = random_walk_bars(400, seed=3, timeframe="5m")
CLOSES = BARS.ts_open_ns + BARS.timeframe.ns
SIZES = {"tick_size": 1e-5, "pip_size": 1e-4, "initial_balance": 100_000.0}


def spec_of(readings: dict, **fields: object) -> StrategySpec:
    base = {"name": "gated", "entry_long": "close > 0", "entry_short": "close < 0", "readings": readings}
    return spec_from_mapping(base | fields, where="test")


def reading(bar: int, late_bars: float = 0.0, **fields: object) -> MarketReading:
    """A reading of the chart that ends with a bar."""
    end = int(CLOSES[bar])
    known = {
        "ts_end_ns": end,
        "known_ns": end + round(late_bars * BARS.timeframe.ns),
        "bias": "long",
        "trend": "up",
        "volatility": "low",
        "figures": {"confidence": 0.7},
    }
    return MarketReading(**{**known, **fields})


def log_of(*readings: MarketReading) -> ReadingLog:
    return ReadingLog("EURUSD", ORIGIN, readings, CLOSES, int(BARS.ts_open_ns[0]))


def bars_of(allowed: np.ndarray) -> list[int]:
    return np.flatnonzero(allowed).tolist()


LONG = {"without": "refuse", "max_age_bars": 3, "long": {"bias": ["long"]}}


def test_it_counts_from_the_next_close_for_so_many_bars() -> None:
    gate = ReadingsOnBars(log_of(reading(10), reading(50, 0.5), reading(90, 2.0)), BARS).gate(spec_of(LONG))
    assert bars_of(gate.long) == [11, 12, 13, 51, 52, 53, 93]
    assert gate.short.all(), "nothing is asked of shorts"
    assert gate.factor is None


def test_a_late_answer_about_an_earlier_chart_replaces_nothing() -> None:
    log = log_of(reading(10, 3.5, bias="short"), reading(12))
    assert bars_of(ReadingsOnBars(log, BARS).gate(spec_of(LONG)).long) == [13, 14, 15]


def test_the_newer_chart_decides_even_against() -> None:
    log = log_of(reading(10), reading(11, bias="neutral"))
    assert bars_of(ReadingsOnBars(log, BARS).gate(spec_of(LONG)).long) == [11]


@pytest.mark.parametrize(
    ("asked", "said", "holds"),
    [
        ({"bias": ["long", "neutral"]}, {"bias": "neutral"}, True),
        ({"bias": ["long"], "trend": ["down"]}, {"trend": "up"}, False),
        ({"volatility": ["high"]}, {"volatility": "high"}, True),
        ({"patterns": ["hammer"]}, {}, False),
        ({"patterns": ["hammer", "doji"]}, {"patterns": (SeenPattern("doji", 60),)}, True),
        ({"patterns": ["doji"], "within_bars": 5}, {"patterns": (SeenPattern("doji", 4),)}, True),
        ({"patterns": ["doji"], "within_bars": 5}, {"patterns": (SeenPattern("doji", 5),)}, False),
        ({"no_patterns": ["doji"]}, {"patterns": (SeenPattern("doji", 5),)}, False),
        ({"no_patterns": ["doji"], "within_bars": 5}, {"patterns": (SeenPattern("doji", 5),)}, True),
    ],
)
def test_what_a_side_asks_for(asked: dict, said: dict, holds: bool) -> None:
    spec = spec_of({"without": "refuse", "max_age_bars": 1, "long": asked})
    gate = ReadingsOnBars(log_of(reading(20, **said)), BARS).gate(spec)
    assert bars_of(gate.long) == ([21] if holds else [])


def test_confidence_is_asked_of_both_sides_and_a_missing_figure_is_no_reading() -> None:
    asked = {"max_age_bars": 1, "min_confidence": 0.7, "confidence": "calibrated"}
    figures = ({"calibrated": 0.7}, {"calibrated": 0.69}, {"confidence": 0.9})
    log = log_of(*(reading(20 + 10 * i, figures=one) for i, one in enumerate(figures)))
    strict = ReadingsOnBars(log, BARS).gate(spec_of({"without": "refuse"} | asked))
    assert (bars_of(strict.long), bars_of(strict.short)) == ([21], [21])
    loose = ReadingsOnBars(log, BARS).gate(spec_of({"without": "allow"} | asked))
    assert bars_of(~loose.long) == bars_of(~loose.short) == [31]


def test_a_figure_no_reading_has_is_refused() -> None:
    spec = spec_of({"without": "allow", "max_age_bars": 1, "min_confidence": 0.5, "confidence": "calibrated"})
    with pytest.raises(DataError, match="asks for the figure 'calibrated', but no reading by drawn revision"):
        ReadingsOnBars(log_of(reading(20)), BARS).gate(spec)


SIZED = {
    "without": "allow",
    "max_age_bars": 1,
    "size": {"low": 0.5, "high": 0.9, "least": 0.5, "most": 1.5},
}


def test_units_and_risk_are_scaled_between_two_bounds() -> None:
    figures = (0.2, 0.5, 0.7, 0.9, 1.0)
    log = log_of(*(reading(20 + 10 * i, figures={"confidence": one}) for i, one in enumerate(figures)))
    fixed = spec_of(SIZED, size={"kind": "fixed", "units": 7_001})
    gate = ReadingsOnBars(log, BARS).gate(fixed)
    units = units_on_bars(fixed, np.full(len(BARS), np.nan), 1e5, gate.factor)
    assert units[[21, 31, 41, 51, 61]].tolist() == [3500.0, 3500.0, 7001.0, 10501.0, 10501.0]
    assert set(np.delete(units, [21, 31, 41, 51, 61]).tolist()) == {7001.0}, "without a reading as it is"
    size = {"kind": "risk", "risk_pct": 1.0, "step": 1000}
    risk = spec_of(SIZED, size=size, stop_loss={"unit": "pips", "value": 20})
    units = units_on_bars(risk, np.full(len(BARS), 0.002), 1e5, gate.factor)
    assert units[[20, 21, 41, 51]].tolist() == [500_000.0, 250_000.0, 500_000.0, 750_000.0]


def test_less_than_a_unit_is_no_entry() -> None:
    tiny = SIZED | {"size": {"low": 0.5, "high": 0.9, "least": 0.05, "most": 1.0}}
    spec = spec_of(tiny, size={"kind": "fixed", "units": 10})
    log = log_of(reading(20, figures={"confidence": 0.1}))
    signals = compute_signals(spec, BARS, **SIZES, readings=ReadingsOnBars(log, BARS))
    assert bars_of(~signals.entry_long) == [21]


def brute(spec: StrategySpec, log: ReadingLog) -> list[tuple[bool, bool, float]]:
    """Look at every reading at every close, without any order or index."""
    plan, found = gate_plan(spec), []
    for bar, close in enumerate(CLOSES.tolist()):
        known = [one for one in log.readings if one.known_ns < close]
        best = max(known, key=lambda one: (one.ts_end_ns, one.known_ns), default=None)
        if best is not None:
            age = sum(best.ts_end_ns <= opened <= BARS.ts_open_ns[bar] for opened in BARS.ts_open_ns.tolist())
            if age > plan.max_age_bars or any(name not in best.figures for name in plan.figures):
                best = None
        row = []
        for number, side in enumerate(("long", "short")):
            asked = getattr(spec.readings, side)
            if not plan.figures and asked is None:
                row.append(True)
            elif best is None:
                row.append(plan.allows_without)
            else:
                held = not plan.confidence or best.figures[plan.confidence] >= plan.min_confidence
                if asked is not None:
                    within = plan.within_bars[number] or 10**6
                    kinds = {one.kind for one in best.patterns if one.bars_ago < within}
                    held &= not asked.bias or best.bias in asked.bias
                    held &= not asked.trend or best.trend in asked.trend
                    held &= not asked.volatility or best.volatility in asked.volatility
                    held &= not asked.patterns or bool(kinds & set(asked.patterns))
                    held &= not kinds & set(asked.no_patterns)
                row.append(bool(held))
        factor = 1.0
        if plan.size is not None and best is not None:
            size = plan.size
            share = (best.figures[size.by] - size.low) / (size.high - size.low)
            factor = size.least + (size.most - size.least) * min(1.0, max(0.0, share))
        found.append((*row, round(factor, 9)))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_arrays_stream_and_brute_force_agree(seed: int) -> None:
    log = random_readings(BARS, seed, every=1 + seed % 4)
    spec = random_spec(seed, readings=True)
    gate = ReadingsOnBars(log, BARS).gate(spec)
    factor = np.ones(len(BARS)) if gate.factor is None else gate.factor
    arrays = list(zip(gate.long.tolist(), gate.short.tolist(), factor.tolist(), strict=True))
    assert arrays == brute(spec, log)
    stream, known, streamed = ReadingStream(gate_plan(spec)), arrivals(log), []
    for opened, close in zip(BARS.ts_open_ns.tolist(), CLOSES.tolist(), strict=True):
        for one in known(close):
            stream.add(one)
        streamed.append(tuple(stream.update(opened)))
    assert streamed == arrays
    assert len(set(arrays)) > 1


@pytest.mark.parametrize("seed", range(12))
def test_signals_are_the_same_over_arrays_and_bar_by_bar(seed: int) -> None:
    log, spec = random_readings(BARS, seed), random_spec(seed, readings=True)
    signals = compute_signals(spec, BARS, **SIZES, readings=ReadingsOnBars(log, BARS))
    assert signals_equal(signals, stream_signals(spec, BARS, **SIZES, readings=log))
    free = compute_signals(spec.without_readings(), BARS, **SIZES)
    assert (signals.entry_long <= free.entry_long).all()
    np.testing.assert_array_equal(signals.exit_long, free.exit_long)


def test_where_both_sides_signal_neither_enters_whatever_readings_refuse() -> None:
    only_long = {"without": "allow", "max_age_bars": 9, "short": {"bias": ["short"]}}
    spec = spec_of(only_long, entry_long="close > 0", entry_short="close > 0")
    log = log_of(reading(20))
    signals = compute_signals(spec, BARS, **SIZES, readings=ReadingsOnBars(log, BARS))
    assert not signals.entry_long.any()
    assert signals_equal(signals, stream_signals(spec, BARS, **SIZES, readings=log))


def test_a_delayed_entry_is_judged_at_the_close_it_is_ordered_at() -> None:
    spec = spec_of(LONG | {"max_age_bars": 1})
    readings = ReadingsOnBars(log_of(reading(20)), BARS)
    signals = compute_signals(spec, BARS, **SIZES, delay_bars=2, readings=readings)
    assert bars_of(signals.entry_long) == [21]


# --- what is refused --------------------------------------------------------------------------------------


def test_a_strategy_that_asks_and_gets_none_is_refused() -> None:
    for signals in (compute_signals, stream_signals):
        with pytest.raises(SpecError, match=r"strategy gated: readings: .* none were given. Add --readings"):
            signals(spec_of(LONG), BARS, **SIZES)


def cover(ends: np.ndarray, first: int = 0) -> ReadingLog:
    return ReadingLog("EURUSD", ORIGIN, (reading(30),), ends, int(BARS.ts_open_ns[first]))


def test_charts_must_cover_the_bars() -> None:
    every_tenth = CLOSES[19::10]
    assert ReadingsOnBars(cover(every_tenth), BARS).known.max() == 0
    assert ReadingsOnBars(cover(every_tenth[:-1], first=10), BARS)
    with pytest.raises(DataError, match="20 bars before and 0 behind them were not read"):
        ReadingsOnBars(cover(every_tenth, first=20), BARS)
    with pytest.raises(DataError, match=r"0 bars before and 40 behind them were not read. Scan these bars"):
        ReadingsOnBars(cover(every_tenth[:-4]), BARS)
    hole = np.delete(every_tenth, slice(10, 14))
    with pytest.raises(DataError, match=r"50 bars from .* on were not read, where 10 are usual"):
        ReadingsOnBars(cover(hole), BARS)


def test_another_instrument_is_refused() -> None:
    with pytest.raises(DataError, match=r"instrument EURUSD, but they are of GBPUSD. Give the readings of"):
        ReadingsOnBars(replace(log_of(reading(3)), instrument="GBPUSD"), BARS)


def test_a_log_keeps_its_rules() -> None:
    early = msgspec.structs.replace(reading(3), known_ns=5)
    with pytest.raises(DataError, match="must be known no sooner than its chart ends"):
        log_of(early)
    with pytest.raises(DataError, match=r"figure of a reading must be one of .* but got luck=0.5"):
        log_of(reading(3, figures={"luck": 0.5}))
    with pytest.raises(DataError, match="at least one chart, but there is none"):
        ReadingLog("EURUSD", ORIGIN, (), np.array([], dtype=np.int64), 0)


def test_the_hash_is_of_what_was_read_and_when_it_counts() -> None:
    one = log_of(reading(3), reading(9))
    assert one.log_hash == log_of(reading(9), reading(3)).log_hash
    others = [
        log_of(reading(3)),
        log_of(reading(3, 1.0), reading(9)),
        log_of(reading(3, bias="short"), reading(9)),
        replace(one, origin=msgspec.structs.replace(ORIGIN, model_revision="r2")),
    ]
    assert len({one.log_hash, *(other.log_hash for other in others)}) == 5
    assert pickle.loads(pickle.dumps(one)).log_hash == one.log_hash, "workers of a sweep get it so"
    assert one.identity() == {
        "hash": one.log_hash,
        "reader": "model",
        "model_id": "drawn",
        "model_revision": "r1",
        "prompt_version": "none/1",
        "readings": 2,
        "charts": 400,
        "latency_s": None,
    }
