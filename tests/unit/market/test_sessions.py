"""Trading sessions: local days through clock changes, weeks from Sunday, and what is none."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from aiopt.errors import ConfigError
from aiopt.market.sessions import check_session_timeframe, parse_session
from aiopt.timeframe import parse_timeframe

NEW_YORK = parse_session("17:00", "America/New_York")


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


@pytest.mark.parametrize(
    ("text", "zone", "rule"),
    [
        ("25:00", "UTC", "must be HH:MM"),
        ("8-17", "UTC", "must be HH:MM"),
        ("08:00-08:00", "UTC", "ends when it starts"),
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
