"""Tick, volume, range and Renko bars: a reference walks tick by tick, and any cut of the ticks equals it."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.reducing.event_reducer import EventReducer
from aiopt.bars.reducing.event_state import after_amounts, initial_state, splice
from aiopt.bars.rules import EventRule
from aiopt.bars.schema import PRICES
from aiopt.errors import ConfigError, DataError
from aiopt.market.instrument import instrument
from aiopt.market.sessions import TradingSession, parse_session
from tests.unit.bars.jumping_ticks import T0, WINDOW, some_ticks

EURUSD = instrument("EURUSD")


DAY = parse_session("17:00", "America/New_York")


def reference(
    ticks: dict[str, np.ndarray], rule: EventRule, price: str, session: TradingSession | None
) -> tuple[list[dict[str, object]], int]:
    """Return the bars tick by tick, in exact arithmetic, and the ticks left over."""
    bars: list[dict[str, object]] = []
    bar: list[int] = []
    left_over = 0
    number: int | None = None
    total, before, level, direction = Fraction(0), Fraction(0), 0, 0
    size = Fraction(str(rule.size))
    units = size * 20  # half price steps
    spans = None
    if session is not None:
        spans = session.spans(int(ticks["ts_event_ns"][0]), int(ticks["ts_event_ns"][-1]))
    bid = np.rint(ticks["bid"] * 1e5).astype(int).tolist()
    ask = np.rint(ticks["ask"] * 1e5).astype(int).tolist()
    halves = {
        "bid": [2 * value for value in bid],
        "ask": [2 * value for value in ask],
        "mid": [one + other for one, other in zip(bid, ask, strict=True)],
    }[price]

    def close(opened: int | None = None, closed: int | None = None) -> None:
        nonlocal bar
        bars.append(finished(ticks, bar, price, halves, opened, closed))
        bar = []

    for i, half in enumerate(halves):
        stamp = int(ticks["ts_event_ns"][i])
        here = 0
        if spans is not None:
            inside = [s for s in range(spans.days.size) if spans.begins[s] <= stamp < spans.ends[s]]
            if not inside:
                continue
            here = int(spans.days[inside[0]])
        if here != number:
            if bar and rule.type == "renko":
                left_over += len(bar)
                bar = []
            elif bar:
                close()
            number, total, direction = here, Fraction(0), 0
            level = int(half // units * units)
        if rule.type in ("tick", "volume"):
            amounts = {"bid": ticks["bid_size"][i], "ask": ticks["ask_size"][i]}
            amounts["mid"] = amounts["bid"] + amounts["ask"]
            amount = Fraction(1) if rule.type == "tick" else Fraction(float(amounts[price]))
            if bar and total // size != before // size:
                close()
            bar.append(i)
            before = total
            total += amount
        elif rule.type == "range":
            bar.append(i)
            seen = [halves[k] for k in bar]
            if max(seen) - min(seen) >= units:
                close()
        else:
            bar.append(i)
            while True:
                up = level if direction >= 0 else level + units
                down = level if direction <= 0 else level - units
                if half >= up + units:
                    close(int(up), int(up + units))
                    level, direction = up + units, 1
                elif half <= down - units:
                    close(int(down), int(down - units))
                    level, direction = down - units, -1
                else:
                    break
    if bar and rule.type == "renko":
        left_over += len(bar)
    elif bar:
        close()
    return bars, left_over


def finished(
    ticks: dict[str, np.ndarray],
    bar: list[int],
    price: str,
    halves: list[int],
    opened: int | None,
    closed: int | None,
) -> dict[str, object]:
    sides = ["bid_size", "ask_size"] if price == "mid" else [f"{price}_size"]
    volume = float(sum(ticks[side][i] for side in sides for i in bar))
    seen = [halves[i] for i in bar] if opened is None else [opened, closed]
    spreads = [round((ticks["ask"][i] - ticks["bid"][i]) * 1e5) for i in bar]
    us = [int(ticks["ts_event_ns"][i]) // 1000 for i in bar]
    mean = float("nan") if not bar else sum(spreads) / len(bar) / 1e5
    timed = mean
    if bar and us[-1] > us[0]:
        steps = zip(spreads, itertools.pairwise(us), strict=False)
        timed = sum(spread * (b - a) for spread, (a, b) in steps) / (us[-1] - us[0]) / 1e5
    return {
        "open": seen[0] / 2e5,
        "high": max(seen) / 2e5,  # type: ignore[type-var,operator]
        "low": min(seen) / 2e5,  # type: ignore[type-var,operator]
        "close": seen[-1] / 2e5,  # type: ignore[operator]
        "volume": volume,
        "ticks": len(bar),
        "ts_open_ns": int(ticks["ts_event_ns"][bar[0]]) if bar else None,
        "ts_close_ns": int(ticks["ts_event_ns"][bar[-1]]) if bar else None,
        "spread_mean": mean,
        "spread_max": max(spreads) / 1e5 if bar else float("nan"),
        "spread_last": spreads[-1] / 1e5 if bar else float("nan"),
        "spread_time_mean": timed,
    }


def check_equal(bars: pl.DataFrame, expected: list[dict[str, object]]) -> None:
    assert bars.height == len(expected)
    for name in expected[0]:
        for found, value in zip(bars[name].to_list(), (bar[name] for bar in expected), strict=True):
            if value is None:
                continue  # a brick without ticks of its own: its stamps are tested apart
            if isinstance(value, float):
                assert found == pytest.approx(value, rel=1e-12, abs=1e-15, nan_ok=True), name
            else:
                assert found == value, name


RULES = st.one_of(
    st.builds(EventRule, st.just("tick"), st.integers(1, 40).map(float)),
    st.builds(EventRule, st.just("volume"), st.integers(1, 80).map(lambda n: n * 25_000.0)),
    st.builds(EventRule, st.just("range"), st.integers(1, 60).map(lambda n: n / 10)),
    st.builds(EventRule, st.just("renko"), st.integers(1, 40).map(lambda n: n / 10)),
)


@given(
    seed=st.integers(0, 10_000),
    rule=RULES,
    price=st.sampled_from(PRICES),
    session=st.sampled_from([None, WINDOW, DAY]),
    cuts=st.lists(st.integers(0, 250), max_size=8),
    batch=st.sampled_from([7, 40, 1_000]),
)
@settings(max_examples=60, deadline=None)
def test_bars_of_shards_cut_alone_equal_the_reference(
    seed: int, rule: EventRule, price: str, session: TradingSession | None, cuts: list[int], batch: int
) -> None:
    ticks = some_ticks(250, seed)
    edges = sorted({0, 250, *cuts})
    shards = [{name: v[a:b] for name, v in ticks.items()} for a, b in itertools.pairwise(edges)]

    def batches(shard: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        rows = shard["ts_event_ns"].size
        return [{name: v[a : a + batch] for name, v in shard.items()} for a in range(0, rows, batch)]

    def cutter(state: np.ndarray | None = None) -> EventReducer:
        return EventReducer(rule, price, EURUSD, session=session, spread=True, state=state)

    parts = []
    state = initial_state(rule)
    for shard in shards:
        alone = cutter()
        rows = [alone.reduce(part) for part in batches(shard)]
        if rule.type in ("tick", "volume"):
            measured = cutter()
            for part in batches(shard):
                measured.advance(part)
            true = cutter(state)
            parts += [true.reduce(part) for part in batches(shard)]
            state = after_amounts(state, measured.state, measured.first)
            assert np.array_equal(state, true.state)
            continue

        def again(start: np.ndarray, shard: dict[str, np.ndarray] = shard) -> object:
            fresh = cutter(start)
            for part in batches(shard):
                yield fresh.reduce(part), fresh.state.copy()

        below = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
        mended, after = splice(below, alone.state, state, again)  # type: ignore[arg-type]
        true = cutter(state)
        for part in batches(shard):
            true.reduce(part)
        assert np.array_equal(after, true.state)
        parts += mended
        state = after
    expected, expected_left = reference(ticks, rule, price, session)
    merged = cutter().merge(parts)
    if not expected or (rule.type == "volume" and not any(bar["volume"] for bar in expected)):
        with pytest.raises(DataError, match=r"never does|none does|tick sizes"):
            cutter().finish(merged)
        return
    (finished,) = cutter().finish(merged)
    check_equal(finished.frame, expected)
    assert finished.left_over == expected_left
    (at_once,) = cutter().finish(cutter().merge([cutter().reduce(ticks)]))
    assert at_once.frame.equals(finished.frame, null_equal=True)


def bars_of(points: list[int], rule: EventRule, sizes: list[float] | None = None) -> pl.DataFrame:
    price = np.array([110_000 + point for point in points]) / 1e5
    size = np.ones(len(points)) if sizes is None else np.array(sizes)
    ticks = {"ts_event_ns": np.arange(len(points)) * 1_000_000_000 + T0, "bid": price, "ask": price}
    ticks |= {"bid_size": size, "ask_size": size}
    reducer = EventReducer(rule, "bid", EURUSD)
    (finished,) = reducer.finish(reducer.merge([reducer.reduce(ticks)]))
    return finished.frame


def test_a_volume_bar_hands_its_excess_on() -> None:
    bars = bars_of([0, 1, 2, 3, 4], EventRule("volume", 10.0), [6, 6, 6, 25, 1])
    # Sums before the ticks: 0, 6, 12, 18, 43: bars 0, 0, 1, 1, 4.
    assert bars["ticks"].to_list() == [2, 2, 1]
    assert bars["volume"].to_list() == [12, 31, 1]


def test_a_range_bar_ends_with_the_tick_that_makes_its_range() -> None:
    bars = bars_of([0, 5, 10, 10, 14, 3, 0], EventRule("range", 1.0))
    assert bars["ticks"].to_list() == [3, 3, 1]
    assert (bars["high"] - bars["low"]).round(5).to_list() == [0.0001, 0.00011, 0.0]


def test_a_brick_turns_after_two_and_a_jump_makes_several() -> None:
    bars = bars_of([0, 9, 10, 31, 21, 11, 10, -25], EventRule("renko", 1.0))
    steps = ((bars["close"] - 1.1) * 1e5).round().to_list()
    # 10: first up; 31: two more at once; 11 is not two below 30, 10 is; -25 gives three more.
    assert steps == [10, 20, 30, 10, 0, -10, -20]
    assert ((bars["open"] - 1.1) * 1e5).round().to_list() == [0, 10, 20, 20, 10, 0, -10]
    assert bars["ticks"].to_list() == [3, 1, 0, 3, 1, 0, 0]
    seconds = ((bars["ts_close_ns"] - T0) // 10**9).to_list()
    assert seconds == [2, 3, 3, 6, 7, 7, 7]


def test_a_size_between_price_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"multiple of 0\.1 pips"):
        EventReducer(EventRule("range", 0.25), "bid", EURUSD)
