"""Session filter: wall clocks, daylight saving, midnight."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.indicators.wall_clock import utc_offsets_ns
from aiopt.strategy.session_filter import SessionClock, session_mask
from aiopt.strategy.spec import SessionFilter


def ns(text):
    return int(np.datetime64(text, "ns").astype(np.int64))


def allowed(session, *texts):
    mask = session_mask(session, [ns(text) for text in texts])
    clock = SessionClock(session)
    assert [clock.contains(ns(text)) for text in texts] == mask.tolist()
    return "".join("x" if value else "." for value in mask)


def test_start_is_inside_and_end_outside():
    session = SessionFilter(start="07:00", end="20:00")
    times = ["2024-01-03T06:59:59", "2024-01-03T07:00", "2024-01-03T19:59:59", "2024-01-03T20:00"]
    assert allowed(session, *times) == ".xx."


def test_weekend_is_closed_by_default():
    days = [f"2024-01-{day:02}T12:00" for day in range(1, 8)]  # 1 January 2024 was a Monday
    assert allowed(SessionFilter(start="07:00", end="20:00"), *days) == "xxxxx.."
    assert allowed(SessionFilter(start="07:00", end="20:00", weekdays=(7, 3)), *days) == "..x...x"


def test_over_midnight_the_weekday_is_the_bars_own():
    session = SessionFilter(start="22:00", end="02:00", weekdays=(5,))
    times = [
        "2024-01-05T01:59",
        "2024-01-05T02:00",
        "2024-01-05T21:59",
        "2024-01-05T22:00",
        "2024-01-06T01:00",
    ]
    assert allowed(session, *times) == "x..x."


def test_london_summer_time():
    session = SessionFilter(start="07:00", end="08:00", timezone="Europe/London", weekdays=tuple(range(1, 8)))
    # clocks went forward on 31 March 2024 at 01:00 UTC
    assert allowed(session, "2024-03-30T07:00", "2024-03-30T06:00") == "x."
    assert allowed(session, "2024-04-01T07:00", "2024-04-01T06:00") == ".x"


def test_the_hour_that_does_not_exist_and_the_one_that_comes_twice():
    session = SessionFilter(start="01:00", end="02:00", timezone="Europe/London", weekdays=tuple(range(1, 8)))
    spring = [f"2024-03-31T0{hour}:30" for hour in range(3)]
    autumn = [f"2024-10-27T0{hour}:30" for hour in range(3)]
    assert allowed(session, *spring) == "..."
    assert allowed(session, *autumn) == "xx."


def test_times_before_1970():
    session = SessionFilter(start="07:00", end="08:00")
    assert allowed(session, "1969-12-31T07:30", "1969-12-31T08:30") == "x."


ZONES = ["UTC", "Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Asia/Kathmandu"]


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    start=st.datetimes(dt.datetime(2010, 1, 1), dt.datetime(2026, 1, 1)),
    step=st.sampled_from([60, 300, 3600, 86_399]),
    minutes=st.lists(st.integers(0, 1439), min_size=2, max_size=2, unique=True),
    days=st.lists(st.integers(1, 7), min_size=1),
)
def test_equals_the_standard_library_bar_for_bar(zone, start, step, minutes, days):
    first = int(start.replace(tzinfo=dt.UTC, microsecond=0).timestamp())
    seconds = [first + step * bar for bar in range(60)]
    opening, closing = (f"{minute // 60:02}:{minute % 60:02}" for minute in minutes)
    session = SessionFilter(start=opening, end=closing, timezone=zone, weekdays=tuple(days))
    local = [dt.datetime.fromtimestamp(second, tz=zoneinfo.ZoneInfo(zone)) for second in seconds]
    ts = np.array(seconds, dtype=np.int64) * 1_000_000_000
    expected = [session.contains(time) for time in local]
    clock = SessionClock(session)
    assert session_mask(session, ts).tolist() == expected
    assert [clock.contains(int(value)) for value in ts] == expected
    offsets = [round(time.utcoffset().total_seconds()) * 1_000_000_000 for time in local]
    assert utc_offsets_ns(zone, ts).tolist() == offsets


@pytest.mark.parametrize("zone", ZONES)
def test_no_bars(zone):
    assert session_mask(SessionFilter(start="07:00", end="08:00", timezone=zone), []).tolist() == []
