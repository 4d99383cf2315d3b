"""Sessions: wall clock, clock changes, and bars that begin with them, against brute force over zoneinfo."""

from __future__ import annotations

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.reducing.partial_bars import merge_partials
from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import time_rules
from aiopt.bars.schema import PRICES
from aiopt.errors import ConfigError
from aiopt.market.instrument import instrument
from aiopt.market.sessions import TradingSession, check_session_timeframe, parse_session
from aiopt.ticks.schema import nearest_decimal
from aiopt.timeframe import parse_timeframe

NEW_YORK = parse_session("17:00", "America/New_York")
HOUR_NS = 3_600_000_000_000


def utc(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("tick", "opens", "closes"),
    [
        ("2024-01-10 12:00", "2024-01-09 22:00", "2024-01-10 22:00"),  # winter: UTC-5
        ("2024-07-10 21:30", "2024-07-10 21:00", "2024-07-11 21:00"),  # summer: UTC-4
        ("2024-03-10 12:00", "2024-03-09 22:00", "2024-03-10 21:00"),  # 23 hours
        ("2024-11-03 21:59", "2024-11-02 21:00", "2024-11-03 22:00"),  # 25 hours
    ],
)
def test_new_york_days_follow_the_clock(tick: str, opens: str, closes: str) -> None:
    stamp = np.array([utc(tick)])
    spans = NEW_YORK.spans(int(stamp[0]), int(stamp[0]))
    day = parse_timeframe("1d")
    assert spans.opening(stamp, day).tolist() == [utc(opens)]
    assert spans.closing(np.array([utc(opens)]), day).tolist() == [utc(closes)]


def test_a_week_begins_on_sunday() -> None:
    stamp = np.array([utc("2024-03-13 12:00")])
    week = parse_timeframe("7d")
    spans = NEW_YORK.spans(int(stamp[0]), int(stamp[0]), week)
    # Sunday 17:00 in New York, on the day the clocks went forward.
    assert spans.opening(stamp, week).tolist() == [utc("2024-03-10 21:00")]
    assert spans.closing(np.array([utc("2024-03-10 21:00")]), week).tolist() == [utc("2024-03-17 21:00")]


def session_by_hand(session: TradingSession, stamp: int) -> tuple[int, int] | None:
    """Return begin and end of the session a stamp lies in, day by day with zoneinfo."""
    zone = ZoneInfo(session.timezone)
    around = dt.datetime.fromtimestamp(stamp // 1_000_000_000, dt.UTC).date()
    for shift in (-2, -1, 0, 1):
        day = around + dt.timedelta(days=shift)
        start = dt.datetime.combine(day, dt.time.fromisoformat(session.start), tzinfo=zone)
        if session.end is None:
            next_day = day + dt.timedelta(days=1)
            stop = dt.datetime.combine(next_day, dt.time.fromisoformat(session.start), tzinfo=zone)
        else:
            last = day if session.end > session.start else day + dt.timedelta(days=1)
            stop = dt.datetime.combine(last, dt.time.fromisoformat(session.end), tzinfo=zone)
        begin, end = (round(moment.timestamp()) * 1_000_000_000 for moment in (start, stop))
        if begin <= stamp < end:
            return begin, end
    return None


@given(
    seed=st.integers(0, 10_000),
    session=st.sampled_from(
        [
            NEW_YORK,
            parse_session("08:00-16:30", "Europe/London"),
            parse_session("22:00-06:00", "Asia/Tokyo"),
            parse_session("01:30", "Europe/Berlin"),
        ]
    ),
    labels=st.sampled_from([("5m",), ("1h", "4h"), ("7h", "1d"), ("1d",), ("45m", "1d", "7d")]),
    cuts=st.lists(st.integers(0, 300), max_size=5),
)
@settings(max_examples=40, deadline=None)
def test_session_bars_equal_brute_force_for_any_cut(
    seed: int, session: TradingSession, labels: tuple[str, ...], cuts: list[int]
) -> None:
    random = np.random.default_rng(seed)
    first = utc("2024-03-08 00:00") if seed % 2 else utc("2024-10-25 00:00")
    ts = np.sort(random.integers(0, 20 * 24 * 3_600, 300)) * 1_000_000_000 + first
    bid = (110_000 + np.cumsum(random.integers(-3, 4, 300))) / 1e5
    sizes = random.integers(0, 30, (2, 300)) * 10_000.0
    ticks = {
        "ts_event_ns": ts,
        "bid": bid,
        "ask": bid + 2e-5,
        "bid_size": sizes[0],
        "ask_size": sizes[1],
    }
    wanted = [parse_timeframe(label) for label in labels]
    reducer = TimeReducer(BarRequest(time_rules(wanted), PRICES, session), instrument("EURUSD"))
    edges = [0, *sorted(cuts), 300]
    parts = [
        reducer.reduce({name: values[start:stop] for name, values in ticks.items()})
        for start, stop in itertools.pairwise(edges)
    ]
    merged = reducer.merge(parts)
    for timeframe in wanted:
        bars = merge_partials([merged], timeframe, session)
        expected: dict[int, list[int]] = {}
        for row, stamp in enumerate(ts.tolist()):
            inside = session_by_hand(session, stamp)
            if inside is not None:
                expected.setdefault(opening_by_hand(session, inside[0], stamp, timeframe.ns), []).append(row)
        assert bars["ts_open_ns"].tolist() == list(expected)
        assert bars["ticks"].tolist() == [len(rows) for rows in expected.values()]
        firsts = [rows[0] for rows in expected.values()]
        assert bars["mid_open"].tolist() == nearest_decimal((bid[firsts] + ticks["ask"][firsts]) / 2).tolist()
        assert bars["bid_high"].tolist() == [bid[rows].max() for rows in expected.values()]
        assert bars["ask_volume"].tolist() == [sizes[1][rows].sum() for rows in expected.values()]


def opening_by_hand(session: TradingSession, begin: int, stamp: int, length_ns: int) -> int:
    if length_ns < 24 * HOUR_NS:
        return begin + (stamp - begin) // length_ns * length_ns
    zone = ZoneInfo(session.timezone)
    day = dt.datetime.fromtimestamp(begin // 10**9, zone).date()
    since_sunday = (day - dt.date(1970, 1, 4)).days % (length_ns // (24 * HOUR_NS))
    first = day - dt.timedelta(days=since_sunday)
    local = dt.datetime.combine(first, dt.time.fromisoformat(session.start), tzinfo=zone)
    return round(local.timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("text", "zone", "rule"),
    [
        ("25:00", "UTC", "must be HH:MM"),
        ("8-17", "UTC", "must be HH:MM"),
        ("08:00-08:00", "UTC", "end at another time"),
        ("17:00", "America/NewYork", "America/New_York"),
    ],
)
def test_bad_sessions_are_refused(text: str, zone: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        parse_session(text, zone)


def test_a_bar_of_a_day_and_a_half_is_refused() -> None:
    check_session_timeframe(parse_timeframe("7d"))
    with pytest.raises(ConfigError, match="whole days"):
        check_session_timeframe(parse_timeframe("36h"))
