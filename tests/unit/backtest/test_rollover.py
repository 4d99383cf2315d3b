"""Rollovers at 17:00 New York, and what a night costs."""

from __future__ import annotations

import datetime as dt

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.money import to_float
from aiopt.backtest.rollover import rollovers
from aiopt.backtest.swap import InterestRate, Nights, Rollovers, SwapConfig, SwapPoints
from aiopt.errors import ConfigError
from aiopt.evaluation.rollover import held_over, held_over_text
from aiopt.market.calendar import NEW_YORK, is_open
from aiopt.market.instrument import instrument

HOUR = 3_600 * 10**9
POINTS = SwapConfig(points={"EURUSD": SwapPoints(long=-0.7, short=0.2)})


def ns(text):
    return int(np.datetime64(text, "ns").astype(np.int64))


def utc(ts_ns):
    return dt.datetime.fromtimestamp(ts_ns // 10**9, dt.UTC).strftime("%a %d %b %H:%M")


def nights(config=None, symbol="EURUSD", start="2018-03-05T00:00", hours=24 * 21):
    times = ns(start) + np.arange(hours, dtype=np.int64) * HOUR
    return Nights(config, instrument(symbol), times, HOUR, np.full(hours, 1.2), 6)


def test_the_rollover_follows_new_yorks_clock_over_its_change():
    # New York's clocks went forward on Sunday 11 March 2018.
    ts, counts = rollovers(ns("2018-03-08"), ns("2018-03-15"), triple_day="wednesday")
    assert [utc(value) for value in ts] == [
        "Thu 08 Mar 22:00",
        "Fri 09 Mar 22:00",
        "Mon 12 Mar 21:00",
        "Tue 13 Mar 21:00",
        "Wed 14 Mar 21:00",
    ]
    assert counts.tolist() == [1, 1, 1, 1, 3]


@given(st.integers(0, 60 * 365), st.integers(0, 400), st.sampled_from(["monday", "wednesday", "friday"]))
def test_a_week_has_seven_nights_and_each_rollover_is_a_business_day_at_17(day, length, triple_day):
    start = day * 24 * HOUR
    ts, counts = rollovers(start, start + length * 24 * HOUR, triple_day=triple_day)
    local = [dt.datetime.fromtimestamp(value // 10**9, NEW_YORK) for value in ts.tolist()]
    assert all(moment.hour == 17 and moment.minute == 0 and moment.weekday() < 5 for moment in local)
    assert (np.diff(ts) > 0).all()
    assert is_open(ts - 1).all()
    if length >= 14:
        week = (ts >= ts[0]) & (ts < ts[0] + 7 * 24 * HOUR - 2 * HOUR)
        assert counts[week].sum() == 7


def test_what_trades_through_the_week_end_has_a_night_each_day():
    _, counts = rollovers(ns("2018-03-05"), ns("2018-03-19"), triple_day="wednesday", always_open=True)
    assert counts.tolist() == [1] * 14
    _, counts = rollovers(ns("2018-03-05"), ns("2018-03-12"), triple_day="none")
    assert counts.tolist() == [1] * 5


@pytest.mark.parametrize(
    ("entry", "leave", "expected"),
    [
        ("2018-03-06T10:00", "2018-03-06T21:59", 0),
        ("2018-03-06T10:00", "2018-03-06T22:00", 1),  # closed at the open that follows
        ("2018-03-06T22:00", "2018-03-07T21:59", 0),  # opened at the rollover: after it
        ("2018-03-07T10:00", "2018-03-08T10:00", 3),  # Wednesday
        ("2018-03-09T10:00", "2018-03-12T10:00", 1),  # the week-end was Wednesday's
        ("2018-03-05T10:00", "2018-03-19T10:00", 14),
    ],
)
def test_nights_between_two_fills(entry, leave, expected):
    # Fills at an open are stamped 2 ns behind it.
    assert nights().count(ns(entry) + 2, ns(leave) + 2) == expected


def test_a_stop_inside_the_bar_that_ends_with_the_rollover_is_not_charged():
    ends = ns("2018-03-06T22:00")
    assert nights().count(ns("2018-03-06T10:00") + 2, ends - 3) == 0


def test_points_are_per_unit_and_night():
    booked = nights(POINTS).bookings(1, 10_000.0, ns("2018-03-06T10:00"), ns("2018-03-08T10:00"))
    assert [(utc(ts), to_float(amount)) for ts, amount in booked] == [
        ("Tue 06 Mar 22:00", -0.7),
        ("Wed 07 Mar 22:00", -2.1),
    ]
    [(_, received)] = nights(POINTS).bookings(-1, 1.0, ns("2018-03-06T10:00"), ns("2018-03-07T10:00"))
    assert to_float(received) == 0.2e-4


def test_rates_follow_the_formula():
    rates = {
        "EUR": (InterestRate(date="2018-01-01", percent=-0.4),),
        "USD": (
            InterestRate(date="2017-12-14", percent=1.5),
            InterestRate(date="2018-03-07", percent=1.75),
        ),
    }
    config = SwapConfig(rates=rates, markup_percent=0.25, day_count=365)
    booked = nights(config).bookings(1, 1e6, ns("2018-03-06T10:00"), ns("2018-03-08T10:00"))
    expected = [1e6 * 1.2 * (-0.4 - 1.5 - 0.25) / 36_500, 3e6 * 1.2 * (-0.4 - 1.75 - 0.25) / 36_500]
    assert [to_float(amount) for _, amount in booked] == pytest.approx(expected, rel=1e-14)
    [(_, short)] = nights(config).bookings(-1, 1e6, ns("2018-03-06T10:00"), ns("2018-03-07T10:00"))
    assert to_float(short) == pytest.approx(1e6 * 1.2 * (0.4 + 1.5 - 0.25) / 36_500, rel=1e-14)


def test_swap_that_says_nothing_of_the_instrument_is_refused():
    with pytest.raises(ConfigError, match=r"has EURUSD and not USDJPY. Add USDJPY"):
        nights(POINTS, "USDJPY")
    rows = (InterestRate(date="2018-03-07", percent=1.0),)
    with pytest.raises(ConfigError, match=r"has EUR and not USD. Add USD"):
        nights(SwapConfig(rates={"EUR": (InterestRate(date="2018-01-01", percent=1.0),)}))
    with pytest.raises(ConfigError, match=r"begins 2018-03-07 and the first rollover is on 2018-03-05"):
        nights(SwapConfig(rates={"EUR": rows, "USD": rows}))


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({}, "either points or rates, but neither"),
        ({"points": POINTS.points, "rates": {"EUR": ()}}, "either points or rates, but both"),
        ({"rates": {"EUR": ()}}, "dates ascend"),
        ({"points": POINTS.points, "markup_percent": 1.0}, "goes with rates"),
        ({"points": POINTS.points, "triple_day": "sunday"}, "one of monday"),
        ({"points": POINTS.points, "day_count": 364}, "360 or 365"),
    ],
)
def test_a_wrong_swap_table_is_named(fields, rule):
    with pytest.raises(ConfigError, match=rule):
        SwapConfig(**fields)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: SwapPoints(long=float("nan"), short=0.0), "got long=nan"),
        (lambda: SwapPoints(long=0.0, short=0.0, unit="percent"), "pips or points"),
        (lambda: InterestRate(date="2018-3-7", percent=1.0), "dates YYYY-MM-DD"),
        (lambda: InterestRate(date="2018-03-07", percent=1.23456789), "at most six decimals"),
    ],
)
def test_a_wrong_row_is_named(make, rule):
    with pytest.raises(ConfigError, match=rule):
        make()


def test_swap_is_an_assumption_and_off_by_default():
    config = BacktestConfig()
    assert config.swap is None
    charged = BacktestConfig(swap=POINTS)
    assert charged.config_hash != config.config_hash
    assert msgspec.convert(msgspec.to_builtins(charged), BacktestConfig) == charged


def test_what_was_held_over_is_said_in_one_sentence():
    held = held_over([(0, 10_000.0), (1, 10_000.0), (4, 20_000.0)], pip_size=1e-4)
    assert held_over_text(held, currency="USD", charged=None) == (
        "2 of 3 trades were held over 17:00 New York, 5 nights; swap is not charged: at 0.7 pip a night they "
        "would have cost 6.30 USD"
    )
    assert held_over_text(held, currency="USD", charged=-4.2).endswith("swap booked on them: -4.20 USD")


@pytest.mark.parametrize(
    "config",
    [
        None,
        POINTS,
        SwapConfig(
            rates={name: (InterestRate(date="2018-01-01", percent=2.0),) for name in ("EUR", "USD")},
            markup_percent=0.5,
        ),
    ],
    ids=["uncharged", "points", "rates"],
)
def test_rollovers_known_one_by_one_cost_what_those_of_bars_cost(config):
    of_bars = nights(config)
    ts, counts = rollovers(
        ns("2018-03-05"), ns("2018-03-05") + 21 * 24 * HOUR, triple_day="wednesday", always_open=False
    )
    known = Rollovers(ts.tolist(), counts.tolist(), [1_200_000] * ts.size)
    one_by_one = Nights.of(config, instrument("EURUSD"), known, 6)
    for entry, leave in ((1, 500), (30, 31), (200, 480)):
        span = ns("2018-03-05") + entry * HOUR, ns("2018-03-05") + leave * HOUR
        assert one_by_one.count(*span) == of_bars.count(*span)
        for side in (1, -1):
            assert one_by_one.bookings(side, 1_000.0, *span) == of_bars.bookings(side, 1_000.0, *span)


def test_rollovers_known_one_by_one_need_the_instrument_in_the_table():
    with pytest.raises(ConfigError, match="must name the instrument traded, but has EURUSD and not GBPUSD"):
        Nights.of(POINTS, instrument("GBPUSD"), Rollovers([], [], []), 6)
