"""Bars cut from quotes as they come are those that are built from the same ticks, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aiopt.backtest.growing_bars import BarRow
from aiopt.errors import ConfigError, DataError
from aiopt.live.feeds.bar_cutter import BarCutter
from aiopt.live.feeds.store_feed import StoreFeed
from aiopt.live.feeds.warm_up import bars_of_store, rows_of
from aiopt.testing.tick_stores import write_tick_store
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.sample import generate_ticks
from aiopt.timeframe import parse_timeframe

MINUTE = 60_000_000_000
DAY = 1440 * MINUTE
SHARED = Path(__file__).parents[4].parent / "shared" / "data" / "dukascopy" / "EURUSD"
LABELS = ("7s", "1m", "5m", "15m", "1h", "4h", "1d")


def cut(folder: Path, labels: tuple[str, ...]) -> dict[str, list[BarRow]]:
    """Return what a cutter makes of a store, the bars still being formed left out."""
    cutter = BarCutter(map(parse_timeframe, labels))
    bars: dict[str, list[BarRow]] = {label: [] for label in labels}
    for chunk in StoreFeed(folder).chunks():
        for quote in zip(*chunk[1:], strict=True):
            for timeframe, row in cutter.push(*quote):
                bars[timeframe.label].append(row)
    return bars


def assert_same(bars: dict[str, list[BarRow]], folder: Path) -> int:
    compared = 0
    for label, rows in bars.items():
        built = list(rows_of(bars_of_store(folder, parse_timeframe(label))))
        # The last bar has no quote behind it that shows it to be over.
        assert [row[:11] for row in rows] == [row[:11] for row in built[:-1]], label
        compared += len(rows)
    return compared


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "EURUSD"
    generate_ticks(out, seed=3, start="2024-03-07", days=4, ticks_per_day=6_000)
    return out


@pytest.mark.parametrize("labels", [LABELS, ("5m",), ("5m", "7m"), ("1h", "1m")])
def test_cut_bars_equal_built_ones(sample: Path, labels: tuple[str, ...]) -> None:
    assert assert_same(cut(sample, labels), sample) > 10


def test_ties_gaps_and_quotes_on_the_edge(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    # Half of the stamps lie on whole minutes, many of them twice.
    minutes, offsets = random.integers(0, 4_320, 4_000), random.choice([0, 0, 1, MINUTE - 1], 4_000)
    stamps = np.sort(minutes * MINUTE + offsets)
    bid = np.round(1.1 + random.integers(-40, 40, 4_000) / 1e5, 5)
    ticks = pl.DataFrame(
        {
            "ts_event_ns": stamps + 19_000 * DAY,
            "bid": bid,
            "ask": np.round(bid + random.integers(0, 4, 4_000) / 1e5, 5),
            "bid_size": random.integers(0, 9, 4_000) * 250_000.0,
            "ask_size": random.integers(0, 9, 4_000) * 250_000.0,
        }
    )
    write_tick_store(tmp_path / "EURUSD", ticks)
    assert assert_same(cut(tmp_path / "EURUSD", LABELS), tmp_path / "EURUSD") > 1_000


@pytest.mark.skipif(not SHARED.exists(), reason="needs real Dukascopy hours in ../shared/data")
def test_a_real_day(tmp_path: Path) -> None:
    days = sorted(path for path in SHARED.glob("*/*/*") if path.is_dir())
    import_ticks(days[len(days) // 2], tmp_path / "EURUSD", instrument="EURUSD")
    assert assert_same(cut(tmp_path / "EURUSD", ("1m", "5m", "1h")), tmp_path / "EURUSD") > 100


def test_a_saved_cutter_goes_on_as_if_nothing_had_happened(sample: Path) -> None:
    quotes = [quote for chunk in StoreFeed(sample).chunks() for quote in zip(*chunk[1:], strict=True)]
    frames = [parse_timeframe(label) for label in LABELS]
    whole, cutter = BarCutter(frames), BarCutter(frames)
    for number, quote in enumerate(quotes[:9_000]):
        if number % 501 == 0:
            state = json.loads(json.dumps(cutter.save()))
            cutter = BarCutter(frames)
            cutter.restore(state)
        assert cutter.push(*quote) == whole.push(*quote)
        assert cutter.opened == whole.opened


def test_the_bar_a_feed_begins_in_is_left_out() -> None:
    cutter = BarCutter([parse_timeframe("1m"), parse_timeframe("5m")], complete_from_ns=2 * MINUTE + 1)
    ended = []
    for minute in (2, 3, 4, 5, 6, 10, 11):
        ended += cutter.push(minute * MINUTE + 30, 1.0, 1.1, 1.0, 1.0)
    assert [(bar.label, row.ts_open_ns // MINUTE) for bar, row in ended] == [
        ("1m", 3),
        ("1m", 4),
        ("1m", 5),
        ("1m", 6),
        ("5m", 5),
        ("1m", 10),
    ]


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ConfigError, match="at least one timeframe"):
        BarCutter([])
    cutter = BarCutter([parse_timeframe("1m")])
    cutter.push(10, 1.0, 1.1, 0.0, 0.0)
    before = cutter.save()
    with pytest.raises(DataError, match="9 ns follows 10 ns"):
        cutter.push(9, 1.0, 1.1, 0.0, 0.0)
    assert cutter.save() == before
    with pytest.raises(ConfigError, match="are of lengths"):
        BarCutter([parse_timeframe("5m")]).restore(before)
