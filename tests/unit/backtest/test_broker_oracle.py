"""The oracle's own rules, on bars one can follow by hand.  Prices in units of 0.001 above 1."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aiopt.bars.schema import BarArrays, BarSet
from aiopt.market.instrument import instrument
from aiopt.strategy.signals import SignalArrays
from aiopt.testing.broker import simulate
from aiopt.timeframe import parse_timeframe

NAN = math.nan
FLAT = (50, 50, 50, 50)


def bar_set(rows):
    prices = np.round(1 + np.array(rows, dtype=np.float64) / 1000, 5)
    timeframe = parse_timeframe("1m")
    ts = np.arange(len(rows), dtype=np.int64) * timeframe.ns
    bid = BarArrays(
        "EURUSD", timeframe, "bid", ts, *prices.T.copy(), volume=np.ones(len(rows)), data_hash="hand"
    )
    return BarSet(instrument("EURUSD"), timeframe, bid, bid, True, "hand")


def signals(n, *, long=(), short=(), exit_long=(), exit_short=(), stop=NAN, target=NAN):
    def flags(bars):
        values = np.zeros(n, dtype=bool)
        values[list(bars)] = True
        return values

    def price(value):
        return np.full(n, NAN if math.isnan(value) else round(1 + value / 1000, 5))

    return SignalArrays(
        entry_long=flags(long),
        entry_short=flags(short),
        exit_long=flags(exit_long),
        exit_short=flags(exit_short),
        stop_long=price(stop),
        target_long=price(target),
        stop_short=price(stop),
        target_short=price(target),
        units=np.full(n, 1000.0),
        ready=np.ones(n, dtype=bool),
        indicators={},
    )


def run(rows, *, pine=True, **kwargs):
    options = {name: kwargs.pop(name) for name in ("may_enter", "flatten_bars") if name in kwargs}
    found = simulate(signals(len(rows), **kwargs), bar_set(rows), pine_entry_bar=pine, **options)
    return [
        (
            t.side,
            t.entry_bar,
            round((t.entry_price - 1) * 1000),
            t.exit_bar,
            None if t.exit_price is None else round((t.exit_price - 1) * 1000),
            t.exit_reason,
        )
        for t in found
    ]


CASES = {
    "a market order fills at the next open": (
        [FLAT, (52, 55, 51, 53), (54, 54, 54, 54)],
        {"long": [0], "exit_long": [1]},
        [("long", 1, 52, 2, 54, "exit_signal")],
    ),
    "a stop inside the entry bar fills at its price": (
        [FLAT, (50, 52, 44, 51)],
        {"long": [0], "stop": 45},
        [("long", 1, 50, 1, 45, "stop_loss")],
    ),
    "a stop the bar opens beyond fills at the open": (
        [FLAT, FLAT, (40, 60, 40, 50)],
        {"long": [0], "stop": 45},
        [("long", 1, 50, 2, 40, "stop_loss")],
    ),
    "a target the bar opens beyond fills at the better open": (
        [FLAT, FLAT, (60, 60, 40, 50)],
        {"long": [0], "target": 55},
        [("long", 1, 50, 2, 60, "take_profit")],
    ),
    "both in one bar, high nearer: target first": (
        [FLAT, (50, 55, 44, 50)],
        {"long": [0], "stop": 45, "target": 55},
        [("long", 1, 50, 1, 55, "take_profit")],
    ),
    "both in one bar, low nearer: stop first": (
        [FLAT, (50, 56, 45, 50)],
        {"long": [0], "stop": 45, "target": 55},
        [("long", 1, 50, 1, 45, "stop_loss")],
    ),
    "both in one bar, as far: high first": (
        [FLAT, (50, 55, 45, 50)],
        {"long": [0], "stop": 45, "target": 55},
        [("long", 1, 50, 1, 55, "take_profit")],
    ),
    "a long that opens beyond its stop leaves at that open": (
        [FLAT, (44, 60, 44, 60)],
        {"long": [0], "stop": 45},
        [("long", 1, 44, 1, 44, "stop_loss")],
    ),
    "a short that opens beyond its stop is spared on that bar": (
        [FLAT, (57, 58, 50, 50), (50, 56, 50, 50)],
        {"short": [0], "stop": 55},
        [("short", 1, 57, 2, 55, "stop_loss")],
    ),
    "a spared short is stopped at the next open if that lies beyond": (
        [FLAT, (57, 58, 50, 50), (59, 60, 50, 50)],
        {"short": [0], "stop": 55},
        [("short", 1, 57, 2, 59, "stop_loss")],
    ),
    "a spared short may still reach its target": (
        [FLAT, (57, 58, 40, 50)],
        {"short": [0], "stop": 55, "target": 45},
        [("short", 1, 57, 1, 45, "take_profit")],
    ),
    "an opposite entry reverses in one go": (
        [FLAT, (51, 51, 51, 51), (52, 52, 52, 52), (53, 53, 53, 53)],
        {"long": [0], "short": [1], "exit_short": [2]},
        [("long", 1, 51, 2, 52, "reverse"), ("short", 2, 52, 3, 53, "exit_signal")],
    ),
    "an order of the close acts before a stop gapped at the same open": (
        [FLAT, FLAT, (40, 40, 40, 40)],
        {"long": [0], "exit_long": [1], "stop": 45},
        [("long", 1, 50, 2, 40, "exit_signal")],
    ),
    "a signal on the last bar opens nothing; an open position is reported": (
        [FLAT, FLAT, FLAT],
        {"long": [0], "exit_long": [2]},
        [("long", 1, 50, None, None, None)],
    ),
    "a position is closed at its segment's last close": (
        [FLAT, (50, 51, 49, 51), FLAT, FLAT],
        {"long": [0, 1], "flatten_bars": {1}, "may_enter": {0}},
        [("long", 1, 50, 1, 51, "segment_end")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rule(name):
    rows, arguments, expected = CASES[name]
    assert run(rows, **arguments) == expected


def test_without_pines_exception_a_short_beyond_its_stop_leaves_at_that_open():
    rows = [FLAT, (57, 58, 50, 50)]
    assert run(rows, pine=False, short=[0], stop=55) == [("short", 1, 57, 1, 57, "stop_loss")]
