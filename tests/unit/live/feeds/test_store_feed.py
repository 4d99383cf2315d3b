"""A replay gives every quote once, from any place; history before it must fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aiopt.backtest.growing_bars import BarRow
from aiopt.errors import ConfigError, DataError
from aiopt.live.feeds import store_feed
from aiopt.live.feeds.store_feed import Pace, StoreFeed
from aiopt.live.feeds.warm_up import bars_of_store, gap_after, rows_of
from aiopt.market.instrument import instrument
from aiopt.ticks.sample import generate_ticks
from aiopt.timeframe import parse_timeframe
from aiopt.utc import DAY_NS, HOUR_NS, MINUTE_NS

EURUSD = instrument("EURUSD")
FIVE = parse_timeframe("5m")
THURSDAY = int(np.datetime64("2024-03-07", "ns").astype(np.int64))


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "EURUSD"
    generate_ticks(out, seed=3, start="2024-03-07", days=2, ticks_per_day=2_000)
    return out


def quotes(feed: StoreFeed, position: int = 0) -> list[tuple]:
    return [quote for chunk in feed.chunks(position) for quote in zip(*chunk[1:], strict=True)]


def test_any_place_gives_the_rest(sample: Path, monkeypatch) -> None:
    monkeypatch.setattr(store_feed, "_BATCH", 300)
    feed = StoreFeed(sample)
    whole = quotes(feed)
    assert len(whole) == len(feed) == feed.manifest.rows
    for position in (0, 1, 299, 300, 301, len(whole) // 2, len(whole) - 1, len(whole)):
        assert quotes(feed, position) == whole[position:], position
        places = [chunk.position for chunk in feed.chunks(position)]
        assert not places or places[0] == position


def test_a_span_is_half_open(sample: Path) -> None:
    whole = quotes(StoreFeed(sample))
    start, stop = whole[300][0], whole[-200][0]
    feed = StoreFeed(sample, start_ns=start, stop_ns=stop)
    assert quotes(feed) == [quote for quote in whole if start <= quote[0] < stop]
    assert quotes(feed, 500) == quotes(feed)[500:]
    assert feed.identity != StoreFeed(sample).identity


def test_what_cannot_be_replayed_is_said(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must begin before it ends"):
        StoreFeed(sample, start_ns=THURSDAY + 10, stop_ns=THURSDAY)
    with pytest.raises(DataError, match="the store has none from 2024-03-17"):
        StoreFeed(sample, start_ns=THURSDAY + 10 * DAY_NS, stop_ns=THURSDAY + 11 * DAY_NS)
    with pytest.raises(DataError):
        StoreFeed(tmp_path)
    with pytest.raises(ConfigError, match="0 <= speed"):
        Pace(-1.0)


def test_a_pace_counts_from_the_first_quote(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(store_feed.time, "monotonic", lambda: now)
    pace = Pace(60.0)
    assert pace.wait_s(THURSDAY) == 0.0
    assert pace.wait_s(THURSDAY + 60 * MINUTE_NS) == pytest.approx(60.0)
    now = 170.0
    assert pace.wait_s(THURSDAY + 60 * MINUTE_NS) == pytest.approx(-10.0)
    assert Pace(0.0).wait_s(THURSDAY) == 0.0


def test_a_gap_between_history_and_feed_is_found(sample: Path) -> None:
    history = list(rows_of(bars_of_store(sample, FIVE, stop_ns=THURSDAY + 10 * HOUR_NS)))
    last = history[-1]
    end = last.ts_open_ns + FIVE.ns
    assert gap_after(last, FIVE, end, EURUSD) == ""
    assert gap_after(None, FIVE, end, EURUSD) == ""
    assert "150 open minutes of EURUSD are missing" in gap_after(last, FIVE, end + 150 * MINUTE_NS, EURUSD)
    with pytest.raises(ConfigError, match="History must end before the feed begins"):
        gap_after(last, FIVE, end - 1, EURUSD)


def test_a_weekend_is_no_gap() -> None:
    friday = THURSDAY + DAY_NS + 21 * HOUR_NS + 55 * MINUTE_NS  # the week ends at 22:00 UTC in winter
    last = BarRow(friday, *[1.0] * 10, 1)
    monday_ns = friday + 5 * MINUTE_NS + 2 * DAY_NS - HOUR_NS  # clocks change on that Sunday
    assert gap_after(last, FIVE, monday_ns, EURUSD) == ""
