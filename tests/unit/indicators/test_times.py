"""Clock, trading day and session ranges by hand, through week-ends, clock changes and missing bars."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from aiopt.errors import SpecError
from aiopt.indicators import INDICATORS
from aiopt.indicators.times import calendar, previous_day, previous_week, session_range, today, vwap
from aiopt.indicators.wall_clock import trading_days

NAN = float("nan")
LONDON = "Europe/London"


def ns(*texts: str) -> np.ndarray:
    return np.array([np.datetime64(text, "ns").astype(np.int64) for text in texts])


@pytest.mark.parametrize("zone", ["UTC", LONDON, "America/New_York", "Asia/Kolkata"])
def test_the_calendar_is_that_of_the_zone(zone: str) -> None:
    times = ns("2018-03-24T00:00")[0] + np.arange(0, 500, dtype=np.int64) * 37 * 60 * 10**9
    fields = calendar(times, zone)
    for i, instant in enumerate(times.tolist()):
        local = dt.datetime.fromtimestamp(instant / 1e9, dt.UTC).astimezone(ZoneInfo(zone))
        expected = (local.hour * 60 + local.minute, local.hour, local.minute)
        expected += (local.isoweekday(), local.day, local.month)
        assert tuple(float(field[i]) for field in fields) == expected


def test_the_trading_day_rolls_at_five_in_new_york_whatever_its_clocks_do() -> None:
    # Winter: 22:00 UTC; from 11 March 2018 on 21:00 UTC.
    times = ns("2018-03-09T21:59", "2018-03-11T21:00", "2018-03-12T20:59", "2018-03-12T21:00")
    assert np.diff(trading_days(times)).tolist() == [3, 0, 1]
    before = ns("2018-03-08T21:59", "2018-03-08T22:00")
    assert np.diff(trading_days(before)).tolist() == [1]


def test_days_and_weeks_before_over_a_week_end() -> None:
    # Thursday, Friday, Sunday evening (Monday's day), Tuesday; no Wednesday; Thursday of the next week.
    times = ns(
        "2018-01-04T12:00",
        "2018-01-05T12:00",
        "2018-01-05T13:00",
        "2018-01-07T23:00",
        "2018-01-09T12:00",
        "2018-01-18T12:00",
    )
    open_ = np.array([10.0, 20.0, 21.0, 30.0, 40.0, 50.0])
    high, low, close = open_ + 3, open_ - 2, open_ + 1
    before = previous_day(times, open_, high, low, close)
    np.testing.assert_array_equal(before.open, [NAN, 10, 10, 20, 30, 40])
    np.testing.assert_array_equal(before.high, [NAN, 13, 13, 24, 33, 43])
    np.testing.assert_array_equal(before.low, [NAN, 8, 8, 18, 28, 38])
    np.testing.assert_array_equal(before.close, [NAN, 11, 11, 22, 31, 41])
    week = previous_week(times, open_, high, low, close)
    np.testing.assert_array_equal(week.high, [NAN, NAN, NAN, 24, 24, 43])
    np.testing.assert_array_equal(week.open, [NAN, NAN, NAN, 10, 10, 30])
    so_far = today(times, open_, high, low, close)
    np.testing.assert_array_equal(so_far.open, [10, 20, 20, 30, 40, 50])
    np.testing.assert_array_equal(so_far.high, [13, 23, 24, 33, 43, 53])


def test_a_session_range_is_known_after_the_session() -> None:
    times = ns(
        "2018-01-04T06:59",
        "2018-01-04T07:00",
        "2018-01-04T07:59",
        "2018-01-04T08:00",
        "2018-01-05T07:30",
        "2018-01-08T07:10",  # straight from one session into the next: Friday's is over
        "2018-01-08T08:00",
    )
    high = np.arange(7.0) + 10
    lines = session_range(times, high, high - 1, 7 * 60, 8 * 60, LONDON)
    np.testing.assert_array_equal(lines.high, [NAN, NAN, NAN, 12, 12, 14, 15])
    np.testing.assert_array_equal(lines.low, [NAN, NAN, NAN, 10, 10, 13, 14])


def test_a_session_follows_daylight_saving() -> None:
    # British Summer Time begins on 25 March 2018: 07:00 in London is 06:00 UTC from then on.
    times = ns("2018-03-23T07:00", "2018-03-23T08:00", "2018-03-26T06:00", "2018-03-26T07:00")
    high = np.array([1.0, 9.0, 2.0, 9.0])
    lines = session_range(times, high, high, 7 * 60, 8 * 60, LONDON)
    np.testing.assert_array_equal(lines.high, [NAN, 1, 1, 2])


def test_a_session_over_midnight_is_one() -> None:
    times = ns(
        "2018-01-04T22:00", "2018-01-04T23:30", "2018-01-05T01:00", "2018-01-05T02:00", "2018-01-05T22:00"
    )
    high = np.array([1.0, 5.0, 3.0, 9.0, 9.0])
    lines = session_range(times, high, high, 22 * 60, 2 * 60, "UTC")
    np.testing.assert_array_equal(lines.high, [NAN, NAN, NAN, 5, 5])


def test_vwap_begins_anew_with_the_trading_day() -> None:
    times = ns("2018-01-04T20:00", "2018-01-04T21:00", "2018-01-04T22:00", "2018-01-04T23:00")
    found = vwap(np.array([1.0, 4.0, 7.0, 9.0]), np.array([1.0, 2.0, 0.0, 3.0]), times)
    np.testing.assert_array_equal(found, [1.0, 3.0, NAN, 9.0])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"timezone": "Europe/Londn"}, "there is no timezone 'Europe/Londn'.*Did you mean 'Europe/London'"),
        ({"timezone": 3}, "timezone must be a time zone, but got 3. Write e.g. UTC"),
    ],
)
def test_a_wrong_zone_is_refused(args: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        INDICATORS["calendar"].check_args(args, where="indicator 'c'")
