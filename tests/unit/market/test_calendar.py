"""The FX week: its edges in UTC through clock changes, open time between stamps, open hours."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.market.calendar import is_open, open_hours, open_time_ns
from aiopt.ticks.clocks.local_time import WallClock, parse_clock
from aiopt.utc import HOUR_NS


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def opened(*texts: str) -> list[bool]:
    return is_open(np.array([ns(text) for text in texts])).tolist()


@pytest.mark.parametrize(
    ("sunday", "friday", "hour"),
    [
        ("2024-03-03", "2024-03-08", "22"),  # New York winter: UTC-5
        ("2024-03-10", "2024-03-15", "21"),  # clocks changed in the night before the Sunday open
        ("2024-10-27", "2024-11-01", "21"),
        ("2024-11-03", "2024-11-08", "22"),
    ],
)
def test_the_week_opens_and_closes_at_17_new_york(sunday: str, friday: str, hour: str) -> None:
    before = f"{int(hour) - 1:02d}:59:59.999999999"
    assert opened(f"{sunday}T{before}", f"{sunday}T{hour}:00:00") == [False, True]
    assert opened(f"{friday}T{before}", f"{friday}T{hour}:00:00") == [True, False]


def test_a_week_is_120_hours_also_when_clocks_change_in_the_weekend() -> None:
    start = np.array([ns("2024-03-08T22:00")])
    assert open_time_ns(start, np.array([ns("2024-03-15T21:00")]))[0] == 120 * HOUR_NS


def test_a_weekend_has_no_open_time() -> None:
    friday, sunday = ns("2024-05-03T20:59"), ns("2024-05-05T21:01")
    assert open_time_ns(np.array([friday]), np.array([sunday]))[0] == 2 * 60 * 10**9


@given(
    st.integers(ns("1995-01-01") // 10**9, ns("2050-01-01") // 10**9),
    st.lists(st.integers(0, 20 * 86_400), min_size=1, max_size=5),
)
def test_open_time_adds_up_and_agrees_with_is_open(start_s: int, steps_s: list[int]) -> None:
    stamps = np.cumsum([start_s, *steps_s]) * 10**9
    parts = open_time_ns(stamps[:-1], stamps[1:])
    assert parts.sum() == open_time_ns(stamps[:1], stamps[-1:])[0]
    assert ((parts >= 0) & (parts <= np.diff(stamps))).all()
    # An instant is open exactly when the second after it adds open time (edges fall on whole seconds).
    after = open_time_ns(stamps, stamps + 10**9)
    assert np.array_equal(after > 0, is_open(stamps))


def test_open_hours_leave_the_weekend_out() -> None:
    first = ns("2024-05-03T00:00") // HOUR_NS
    hours = open_hours(first, first + 71)  # Friday to Sunday
    assert len(hours) == 21 + 3
    assert hours[20] - first == 20
    assert hours[21] - first == 48 + 21


def test_empty_arrays_stay_empty() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert is_open(nothing).shape == (0,)
    assert open_time_ns(nothing, nothing).shape == (0,)


@given(st.datetimes(dt.datetime(1995, 1, 1), dt.datetime(2040, 1, 1)))
def test_new_york_times_come_back_from_utc(moment: dt.datetime) -> None:
    from zoneinfo import ZoneInfo

    aware = moment.replace(microsecond=0, tzinfo=dt.UTC)
    wall = aware.astimezone(ZoneInfo("America/New_York"))
    local_ns = int(wall.replace(tzinfo=dt.UTC).timestamp()) * 10**9
    expected = int(aware.timestamp()) * 10**9
    found = int(WallClock(parse_clock("NY")).to_utc(np.array([local_ns]))[0])
    # The hour that occurs twice is read as its first occurrence.
    assert found == (expected - HOUR_NS if wall.fold else expected)
