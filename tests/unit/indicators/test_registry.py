"""The table of kinds and its checks."""

from __future__ import annotations

import pytest

from aiopt.errors import SpecError
from aiopt.indicators import INDICATORS, indicator_def


def test_the_table_is_complete():
    known = {"sma", "ema", "rma", "rsi", "macd", "bollinger", "stochastic", "atr", "dmi"}
    known |= {"wma", "hma", "linreg", "vwma", "keltner", "donchian", "ichimoku", "supertrend"}
    known |= {"williams_r", "cci", "stoch_rsi", "roc", "tsi", "cmo", "obv", "mfi", "heikin_ashi"}
    known |= {"calendar", "previous_day", "previous_week", "today", "session_range", "vwap"}
    known |= {"doji", "hammer", "shooting_star", "inside_bar", "outside_bar", "morning_star", "evening_star"}
    known |= {f"{side}_engulfing" for side in ("bullish", "bearish")}
    known |= {"double_top", "double_bottom", "head_and_shoulders", "inverse_head_and_shoulders"}
    known |= {"breakout_up", "breakout_down", "three_white_soldiers", "three_black_crows"}
    known |= {f"higher_{kind}" for kind in ("bar", "sma", "ema", "rsi", "atr", "donchian")}
    assert set(INDICATORS) == known
    assert all(kind == definition.kind for kind, definition in INDICATORS.items())


@pytest.mark.parametrize(
    ("kind", "meant"), [("stochastik", "stochastic"), ("bulish_engulfing", "bullish_engulfing")]
)
def test_unknown_kind_gets_a_hint(kind, meant):
    with pytest.raises(SpecError, match=rf"'{kind}'.*Did you mean '{meant}'\?"):
        indicator_def(kind)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "rsi needs the argument 'length'. Add length: 14"),
        ({"length": 14, "lenght": 2}, "rsi has no argument 'lenght'. Did you mean 'length'"),
        ({"length": 14.0}, r"length must be a whole number of bars, but got 14.0. Write 14"),
        ({"length": float("nan")}, "whole number of bars, but got nan"),
        ({"length": True}, "length must be a number, but got True"),
        ({"length": "14"}, "length must be a number, but got '14'"),
        ({"length": 0}, r"`1 <= length <= 5000` must hold, but got length=0"),
        ({"length": 5001}, r"`1 <= length <= 5000` must hold, but got length=5001"),
    ],
)
def test_bad_arguments(args, message):
    with pytest.raises(SpecError, match=message):
        INDICATORS["rsi"].check_args(args, where="indicator 'rsi'")


def test_arguments_come_in_order_and_type():
    args = INDICATORS["bollinger"].check_args({"multiplier": 2, "length": 20}, where="bands")
    assert list(args.items()) == [("length", 20), ("multiplier", 2.0)]
    assert type(args["multiplier"]) is float


@pytest.mark.parametrize("kind", INDICATORS)
def test_defaults_pass_their_own_check(kind):
    definition = INDICATORS[kind]
    assert definition.check_args(definition.defaults(), where=kind) == definition.defaults()
