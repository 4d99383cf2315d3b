"""Bars of trading sessions: any cut of the ticks gives what walking them by hand gives."""

from __future__ import annotations

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.reducing.partial_bars import merge_partials
from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import time_rules
from aiopt.bars.schema import PRICES
from aiopt.market.instrument import instrument
from aiopt.market.sessions import TradingSession, parse_session
from aiopt.ticks.schema import nearest_decimal
from aiopt.timeframe import parse_timeframe

NEW_YORK = parse_session("17:00", "America/New_York")

HOUR_NS = 3_600_000_000_000


def utc(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 1_000_000_000


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
