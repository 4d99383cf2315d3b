"""Spread statistics equal their formulas for any cut, and change no price."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.building.build import build
from aiopt.bars.files import bar_path, load_bar_set, read_bars
from aiopt.bars.reducing.partial_bars import finish_bars
from aiopt.bars.reducing.spread_columns import SPREAD_COLUMNS
from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules, time_rules
from aiopt.market.instrument import instrument
from aiopt.testing.reference_bars import build_bars
from aiopt.testing.tick_stores import write_tick_store
from aiopt.timeframe import parse_timeframe
from tests.unit.bars.quoted_ticks import some_ticks

EURUSD = instrument("EURUSD")


@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    labels=st.sampled_from([("1m",), ("7m", "21m"), ("1h",)]),
)
@settings(max_examples=40, deadline=None)
def test_spread_statistics_equal_the_formulas_for_any_cut(
    seed: int, cuts: list[int], labels: tuple[str, ...]
) -> None:
    ticks = some_ticks(200, seed)
    wanted = [parse_timeframe(label) for label in labels]
    request = BarRequest(time_rules(wanted), ("bid",), spread_stats=True)
    edges = [0, *sorted(cuts), 200]
    parts = [
        TimeReducer(request, EURUSD).reduce({k: v[a:b] for k, v in ticks.items()})
        for a, b in itertools.pairwise(edges)
    ]
    at_once = TimeReducer(request, EURUSD).reduce(ticks)
    for timeframe in wanted:
        bars = finish_bars(
            TimeReducer(request, EURUSD).merge(parts), "bid", timeframe, "omit", spread_scale=100_000
        )
        assert bars.equals(finish_bars(at_once, "bid", timeframe, "omit", spread_scale=100_000))
        spread = np.rint((ticks["ask"] - ticks["bid"]) * 1e5).astype(int)
        bucket = ticks["ts_event_ns"] // timeframe.ns
        for row, key in enumerate(np.unique(bucket)):
            mine = spread[bucket == key]
            us = ticks["ts_event_ns"][bucket == key] // 1000
            length = int(us[-1] - us[0])
            timed = int((mine[:-1] * np.diff(us)).sum()) / length if length else mine.mean()
            expected = (mine.mean(), mine.max(), mine[-1], timed)
            found = bars.select(SPREAD_COLUMNS).row(row)
            assert np.allclose(np.array(found) * 1e5, expected, rtol=1e-12, atol=1e-9)


def test_statistics_need_both_sides_and_change_no_price(tmp_path: Path) -> None:
    ticks = pl.DataFrame(some_ticks(500, 2))
    write_tick_store(tmp_path / "ticks", ticks, row_group_rows=60)
    request = BarRequest(parse_bar_rules("time", "5m"), ("ask",), spread_stats=True)
    build(tmp_path / "ticks", tmp_path / "bars", request)
    bars = read_bars(bar_path(tmp_path / "bars", "EURUSD", "5m", "ask")).frame
    assert bars.columns[7:] == list(SPREAD_COLUMNS)
    assert bars.drop(SPREAD_COLUMNS).equals(build_bars(ticks, "5m", "ask"))
    assert len(load_bar_set(tmp_path / "bars")) == bars.height
