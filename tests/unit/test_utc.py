"""How a time in UTC is written."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.utc import DAY_NS, HOUR_NS, day_number, day_text, hour_number, hour_text, stamp_text, time_text

NOON_NS = 1_398_945_600_123_456_789


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("m", "2014-05-01 12:00"),
        ("s", "2014-05-01 12:00:00"),
        ("ms", "2014-05-01 12:00:00.123"),
        ("us", "2014-05-01 12:00:00.123456"),
        ("ns", "2014-05-01 12:00:00.123456789"),
    ],
)
def test_a_time_is_cut_to_its_unit_never_rounded(unit: str, text: str) -> None:
    assert time_text(NOON_NS, unit) == text
    assert stamp_text(NOON_NS, unit) == text.replace(" ", "T") + "Z"
    assert time_text(-1, "s") == "1969-12-31 23:59:59"


@given(st.integers(-5_000_000_000, 8_000_000_000), st.integers(0, 999_999_999))
def test_seconds_are_those_of_the_standard_library(seconds: int, rest_ns: int) -> None:
    moment = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)
    assert time_text(seconds * 10**9 + rest_ns) == moment.strftime("%Y-%m-%d %H:%M:%S")


@given(st.integers(-100_000, 2_000_000))
def test_days_and_hours_come_back(number: int) -> None:
    assert hour_number(hour_text(number)) == number
    assert day_number(day_text(number // 24)) == number // 24
    assert time_text(number * HOUR_NS, "m") == hour_text(number).replace("T", " ") + ":00"
    assert time_text(number // 24 * DAY_NS, "m") == day_text(number // 24) + " 00:00"
