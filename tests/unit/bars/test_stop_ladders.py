"""Stop ladders: every look-up is the first quote at or beyond the stop, whatever the cuts of the ticks."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.building.build import build
from aiopt.bars.files import load_bar_set
from aiopt.bars.reducing.partial_bars import empty_partial, merge_partials
from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules, time_rules
from aiopt.bars.stops.stop_files import STOPS_NAME, StopMeta, StopTable, read_stop_table, write_stop_table
from aiopt.bars.stops.stop_ladders import RECORD_COLUMNS, StopLadder, make_ladder
from aiopt.bars.stops.stop_slippage import measure_slippage
from aiopt.catalog.discovery import recognise
from aiopt.catalog.verification import verify
from aiopt.errors import ConfigError, DataError
from aiopt.market.instrument import instrument
from aiopt.testing.tick_stores import write_tick_store
from aiopt.timeframe import parse_timeframe

MINUTE = parse_timeframe("1m")
SCALE = 100_000
META = StopMeta(
    instrument="EURUSD", timeframe="1m", data_hash="made", synthetic=False, session="", price_scale=SCALE
)


def made_ticks(steps: np.ndarray, spreads: np.ndarray, waits_s: np.ndarray) -> dict[str, np.ndarray]:
    ts = 1_700_000_000_000_000_000 // MINUTE.ns * MINUTE.ns + np.cumsum(waits_s).astype(np.int64) * 10**9
    ones = np.ones(ts.size)
    return {
        "ts_event_ns": ts,
        "bid": steps / SCALE,
        "ask": (steps + spreads) / SCALE,
        "bid_size": ones,
        "ask_size": ones,
    }


@st.composite
def tick_series(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Ticks that jump by a few steps, some at one stamp, over a few minutes."""
    n = draw(st.integers(1, 60))
    moves = draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n))
    spreads = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    waits = draw(st.lists(st.sampled_from([0, 1, 7, 31, 140]), min_size=n, max_size=n))
    return made_ticks(110_000 + np.cumsum(moves), np.array(spreads), np.array(waits))


def reduced(ticks: dict[str, np.ndarray], cuts: list[int], timeframe: str, base: str = "1m") -> StopLadder:
    reducer = TimeReducer(request(rules=parse_bar_rules("time", base)), instrument("EURUSD"))
    edges = [0, *sorted(cuts), ticks["bid"].size]
    parts = [
        reducer.reduce({name: values[a:b] for name, values in ticks.items()})
        for a, b in itertools.pairwise(edges)
    ]
    merged = merge_partials(parts, parse_timeframe(base))
    kept = {name: merged[name] for name in ("ts_open_ns", "ticks", *RECORD_COLUMNS)}
    ladder = make_ladder(merge_partials([kept], parse_timeframe(timeframe)), SCALE)
    assert ladder is not None
    return ladder


def first_quote(quotes: np.ndarray, stop: float, *, sells: bool) -> float | None:
    """Look at one quote after the other."""
    for quote in quotes:
        if (quote <= stop) if sells else (quote >= stop):
            return float(quote)
    return None


@settings(max_examples=150, deadline=None)
@given(tick_series(), st.data())
def test_every_stop_fills_at_the_first_quote_beyond_whatever_the_cuts(
    ticks: dict[str, np.ndarray], data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, ticks["bid"].size), max_size=5))
    timeframe = data.draw(st.sampled_from(["1m", "3m", "1h"]))
    ladder = reduced(ticks, cuts, timeframe)
    bars = ticks["ts_event_ns"] // parse_timeframe(timeframe).ns
    assert len(ladder) == np.unique(bars).size
    for number, bar in enumerate(np.unique(bars)):
        bid, ask = ticks["bid"][bars == bar], ticks["ask"][bars == bar]
        low, high = round(bid.min() * SCALE), round(ask.max() * SCALE)
        for step in range(low - 2, high + 3):
            stop = step / SCALE
            assert ladder.fill_price(number, stop, sells=True) == first_quote(bid, stop, sells=True)
            assert ladder.fill_price(number, stop, sells=False) == first_quote(ask, stop, sells=False)
            between = (step + 0.4) / SCALE
            assert ladder.fill_price(number, between, sells=True) == first_quote(bid, between, sells=True)
            assert ladder.fill_price(number, between, sells=False) == first_quote(ask, between, sells=False)


@settings(max_examples=60, deadline=None)
@given(tick_series(), st.data())
def test_the_records_do_not_depend_on_cuts_or_the_base(
    ticks: dict[str, np.ndarray], data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, ticks["bid"].size), max_size=5))
    whole = reduced(ticks, [], "1h", base="1h")
    for ladder in (reduced(ticks, cuts, "1h"), reduced(ticks, cuts, "1h", base="5m")):
        for field in dataclasses.fields(whole):
            assert np.array_equal(getattr(ladder, field.name), getattr(whole, field.name)), field.name


@settings(max_examples=60, deadline=None)
@given(tick_series())
def test_the_mean_slippage_is_that_of_every_stop_passed(ticks: dict[str, np.ndarray]) -> None:
    ladder = reduced(ticks, [], "1m")
    bars = ticks["ts_event_ns"] // MINUTE.ns
    slips = []
    for bar in np.unique(bars):
        for sells, quotes in ((True, ticks["bid"][bars == bar]), (False, ticks["ask"][bars == bar])):
            steps = np.rint(quotes * SCALE).astype(int)
            passed = range(steps.min(), steps[0]) if sells else range(steps[0] + 1, steps.max() + 1)
            for step in passed:
                filled = first_quote(quotes, step / SCALE, sells=sells)
                assert filled is not None
                slips.append(abs(round(filled * SCALE) - step))
    table = StopTable(np.unique(bars) * MINUTE.ns, ladder, META)
    if not slips:
        with pytest.raises(DataError, match=r"measured on quotes that move"):
            measure_slippage(table)
        return
    found = measure_slippage(table)
    assert found.n == len(slips)
    assert found.mean_ticks == pytest.approx(np.mean(slips), abs=1e-12)
    assert found.max_ticks == max(slips)
    assert found.p95_ticks == sorted(slips)[math.ceil(0.95 * len(slips)) - 1]
    assert found.mean_pips == pytest.approx(np.mean(slips) / 10)


@pytest.mark.parametrize("symbol", ["USDJPY", "XAUUSD", "BTCUSD"])
def test_other_instruments_have_their_own_steps(symbol: str) -> None:
    market = instrument(symbol)
    ticks = made_ticks(np.array([150_000, 149_990, 149_960]), np.full(3, 20), np.array([0, 1, 1]))
    for side in ("bid", "ask"):
        ticks[side] = np.rint(ticks[side] * SCALE) / market.price_scale
    reducer = TimeReducer(request(rules=time_rules([MINUTE])), market)
    ladder = make_ladder(reducer.reduce(ticks), market.price_scale)
    assert ladder is not None
    stop = 149_980 / market.price_scale
    assert ladder.fill_price(0, stop, sells=True) == 149_960 / market.price_scale
    meta = msgspec.structs.replace(META, instrument=symbol, price_scale=market.price_scale)
    found = measure_slippage(StopTable(np.zeros(1, dtype=np.int64), ladder, meta))
    # Gaps of 10 and 30 ticks: 40 stops, (45 + 435) ticks beyond in all, and no pip of another instrument.
    assert (found.n, found.mean_ticks, found.mean_pips) == (40, 12.0, 1.2)


def test_ticks_off_the_grid_have_no_ladder() -> None:
    ticks = made_ticks(np.array([110_000, 109_999]), np.full(2, 8), np.array([0, 1]))
    ticks["bid"][1] = 1.099987
    columns = TimeReducer(request(rules=time_rules([MINUTE])), instrument("EURUSD")).reduce(ticks)
    assert make_ladder(columns, SCALE) is None


def test_no_ticks_have_no_records() -> None:
    columns = merge_partials([empty_partial(("bid", "ask"), stops=True)], MINUTE)
    ladder = make_ladder(columns, SCALE)
    assert ladder is not None
    assert len(ladder) == 0


# --- files ------------------------------------------------------------------------------------------------


def store(folder: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    ticks = made_ticks(
        110_000 + np.cumsum(rng.integers(-4, 5, 3_000)), rng.integers(1, 9, 3_000), rng.integers(0, 9, 3_000)
    )
    write_tick_store(folder, pl.DataFrame(ticks), row_group_rows=700)
    return folder


def request(**changes: object) -> BarRequest:
    settings: dict[str, object] = {
        "rules": parse_bar_rules("time", "1m,5m"),
        "prices": ("bid", "ask"),
        **changes,
    }
    return BarRequest(**settings)  # type: ignore[arg-type]


def test_bars_carry_their_ladder_whatever_the_shards(tmp_path: Path) -> None:
    ticks = store(tmp_path / "ticks")
    build(ticks, tmp_path / "a", request())
    build(ticks, tmp_path / "b", request(), rows_per_shard=700)
    for label in ("1m", "5m"):
        one, other = ((tmp_path / name / "EURUSD" / label / STOPS_NAME) for name in "ab")
        assert one.read_bytes() == other.read_bytes()
        bars = load_bar_set(tmp_path / "a", timeframe=label)
        ladder = bars.stops
        assert isinstance(ladder, StopLadder)
        first, last = ladder.bid_offsets[:-1], ladder.bid_offsets[1:] - 1
        assert np.array_equal(ladder.bid_steps[first] / SCALE, bars.bid.open)
        assert np.array_equal(ladder.bid_steps[last] / SCALE, bars.bid.low)
        assert np.array_equal(ladder.ask_steps[ladder.ask_offsets[1:] - 1] / SCALE, bars.ask.high)
        part = bars.slice(3, 9)
        assert isinstance(part.stops, StopLadder)
        for bar in range(6):
            low = float(part.bid.low[bar])
            assert part.stops.fill_price(bar, low, sells=True) == low


def test_filled_bars_without_ticks_have_no_records(tmp_path: Path) -> None:
    ticks = made_ticks(np.array([110_000, 109_990, 110_010]), np.full(3, 8), np.array([0, 1, 200]))
    write_tick_store(tmp_path / "ticks", pl.DataFrame(ticks))
    build(tmp_path / "ticks", tmp_path / "bars", request(empty="flat", rules=time_rules([MINUTE])))
    bars = load_bar_set(tmp_path / "bars")
    assert isinstance(bars.stops, StopLadder)
    assert np.diff(bars.stops.bid_offsets).tolist() == [2, 0, 0, 1]
    assert bars.stops.fill_price(1, 1.2, sells=True) is None
    assert bars.stops.fill_price(3, 1.2, sells=True) == 1.1001


def test_one_side_has_no_ladder_and_other_ticks_take_it_away(tmp_path: Path) -> None:
    build(store(tmp_path / "a"), tmp_path / "bars", request())
    path = tmp_path / "bars" / "EURUSD" / "1m" / STOPS_NAME
    assert path.is_file()
    build(store(tmp_path / "b", seed=1), tmp_path / "bars", request(stops=False))
    assert not path.exists()
    assert load_bar_set(tmp_path / "bars", timeframe="1m").stops is None
    build(tmp_path / "a", tmp_path / "mid", request(prices=("mid",)))
    assert not list((tmp_path / "mid").rglob(STOPS_NAME))


def test_a_ladder_of_other_bars_or_a_changed_one_is_refused(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        build(store(tmp_path / f"ticks-{name}", seed), tmp_path / name, request())
    ours, theirs = ((tmp_path / name / "EURUSD" / "1m" / STOPS_NAME) for name in "ab")
    table = read_stop_table(ours)
    ours.write_bytes(theirs.read_bytes())
    with pytest.raises(DataError, match=r"must be of the bars beside it, but its data_hash is .* Build"):
        load_bar_set(tmp_path / "a", timeframe="1m")
    write_stop_table(ours, table)
    assert load_bar_set(tmp_path / "a", timeframe="1m").stops is not None
    moved = dataclasses.replace(table, ts_open_ns=table.ts_open_ns + MINUTE.ns)
    write_stop_table(ours, moved)
    with pytest.raises(DataError, match=r"has bars that they have not"):
        load_bar_set(tmp_path / "a", timeframe="1m")
    ours.write_bytes(b"no ladder")
    with pytest.raises(DataError, match=r"must be a stop ladder, but is not"):
        load_bar_set(tmp_path / "a", timeframe="1m")


def test_the_catalogue_knows_the_ladder_and_proves_it(tmp_path: Path) -> None:
    build(store(tmp_path / "ticks"), tmp_path / "bars", request(rules=time_rules([MINUTE])))
    folder = tmp_path / "bars" / "EURUSD" / "1m"
    entry, ticks = recognise(folder), recognise(tmp_path / "ticks")
    assert entry is not None
    assert ticks is not None
    assert (entry.kind, entry.problem, entry.detail) == ("bars", "", "1m ask/bid")
    assert entry.rows == 2 * len(load_bar_set(folder))
    assert not verify([entry, ticks], rebuild=True).faults
    table = read_stop_table(folder / STOPS_NAME)
    steps = table.ladder.bid_steps.copy()
    steps[1] += 1
    forged = dataclasses.replace(table, ladder=dataclasses.replace(table.ladder, bid_steps=steps))
    write_stop_table(folder / STOPS_NAME, forged)
    faults = verify([entry, ticks], rebuild=True).faults
    assert [(fault.file, "not the stop ladder" in fault.problem) for fault in faults] == [(STOPS_NAME, True)]


def test_a_request_without_both_sides_asks_for_no_ladder() -> None:
    assert request().with_stops
    assert not request(prices=("bid", "mid")).with_stops
    assert not request(stops=False).with_stops
    with pytest.raises(ConfigError, match="at least one price"):
        request(prices=())
