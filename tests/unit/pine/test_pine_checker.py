# ruff: noqa: E501  (one row per broken script; Pine lines do not wrap)
"""Every kind of broken script must be caught, and no good one."""

from __future__ import annotations

import pytest

from aiopt.errors import PineError
from aiopt.pine.checking.check import check_generated, require_valid

GOOD = """//@version=6
// A comment, "with quotes" and an @version of its own.
strategy("good", overlay=true, pyramiding=0, default_qty_type=strategy.fixed, default_qty_value=1000, initial_capital=100000.0, commission_value=0.0, slippage=0, margin_long=0.0, margin_short=0.0)

int lengthInput = input.int(14, "length", minval=1, maxval=500, step=1)
float levelInput = input.float(30.0, "level", step=0.5)
float rsiValue = ta.rsi(close, lengthInput)
float atrValue = ta.atr(14)
[macdMacd, macdSignal, macdHistogram] = ta.macd(close, 12, 26, 9)
bool ready = not na(rsiValue) and not na(macdSignal)
bool crossover1 = ta.crossover(rsiValue, levelInput)
bool crossunder1 = ta.crossunder(rsiValue, 70.0)
var int runBars = 0
runBars := close > close[1] ? runBars + 1 : 0
int sessionMinute = hour(time, "UTC") * 60 + minute(time, "UTC")
bool enterLong = ready and crossover1 and runBars >= 2 and strategy.position_size <= 0
bool enterShort = ready and crossunder1 and (sessionMinute < 600 or macdHistogram < 0.0)
var float longStop = na
if enterLong
    longStop := math.round_to_mintick(close - 2.0 * atrValue)
    strategy.entry("Long", strategy.long, qty=1000)
if enterShort
    strategy.entry("Short", strategy.short, qty=1000)
strategy.exit("Long exit", from_entry="Long", stop=longStop, comment_loss="Stop")
if strategy.position_size > 0 and enterShort
    strategy.cancel("Long exit")
if strategy.position_size < 0 and rsiValue < 40.0
    strategy.close("Short", comment="Exit signal")
plot(rsiValue, "rsi", display=display.data_window)
plot(strategy.position_size > 0 ? longStop : na, "Long stop", color=color.red, style=plot.style_linebr)
"""

# (what is replaced, by what, the rule that must notice, words of the message, line)
BROKEN = {
    "no version": ("//@version=6\n", "", "version", "first line must be", 1),
    "version after a comment": ("//@version=6\n", "// hello\n//@version=6\n", "version", "first line must be", 1),
    "old version": ("//@version=6", "//@version=4", "version", "//@version=6", 1),
    "version twice": ("float atrValue", "//@version=6\nfloat atrValue", "version", "stated once", 8),
    "open parenthesis": ("ta.atr(14)", "ta.atr(14", "bracket", "never closed", 8),
    "open string": ('"level"', '"level', "string", "not ended", 6),
    "no body": ("if enterShort\n    strategy.entry(", "if enterShort\nstrategy.entry(", "block", "needs a block", 22),
    "stray operator": ("rsiValue < 40.0", "rsiValue < * 40.0", "syntax", "A value is due", 27),
    "name starts with digit": ("float atrValue", "float 1atrValue", "syntax", "The end of the line is due", 8),
    "no strategy call": ('strategy("good"', 'plot(close, "good"', "strategy", "first statement", 3),
    "strategy twice": ("int lengthInput", 'strategy("again")\nint lengthInput', "strategy", "called once", 5),
    "strategy without title": ('strategy("good", ', "strategy(", "arguments", "needs title", 3),
    "empty title": ('strategy("good"', 'strategy(""', "strategy", "must not be empty", 3),
    "misspelt setting": ("pyramiding=0", "pyramidding=0", "arguments", "Did you mean 'pyramiding'", 3),
    "setting twice": ("slippage=0", "slippage=0, slippage=1", "arguments", "given twice", 3),
    "setting by position": ('"good", overlay=true', '"good", "short"', "arguments", "by position", 3),
    "string for a number": ("pyramiding=0", 'pyramiding="0"', "type", "pyramiding must be int", 3),
    "fraction for a whole": ("slippage=0", "slippage=0.5", "type", "slippage must be int", 3),
    "unknown constant": ("strategy.fixed", "strategy.fixd", "undeclared", "Did you mean 'strategy.fixed'", 3),
    "wrong enumeration": ("strategy.fixed", "strategy.long", "type", "default_qty_type must be string", 3),
    "negative margin": ("margin_long=0.0", "margin_long=-1.0", "range", "must not be negative", 3),
    "no capital": ("initial_capital=100000.0", "initial_capital=0.0", "range", "must be positive", 3),
    "series as setting": ("initial_capital=100000.0", "initial_capital=close", "qualifier", "known as const", 3),
    "unknown function": ("ta.rsi(close", "ta.rsx(close", "unknown function", "Did you mean 'ta.rsi'", 7),
    "function of another library": ("ta.atr(14)", "request.security(close)", "arguments", "needs timeframe, expression", 8),
    "missing argument": ("ta.rsi(close, lengthInput)", "ta.rsi(close)", "arguments", "needs length", 7),
    "too many arguments": ("ta.atr(14)", "ta.atr(14, 3)", "arguments", "by position", 8),
    "unknown argument": ("step=0.5", "stepp=0.5", "arguments", "Did you mean 'step'", 6),
    "position after name": ('minval=1, maxval=500, step=1', 'minval=1, 500', "arguments", "follows a named", 5),
    "series length": ("ta.rsi(close, lengthInput)", "ta.rsi(close, bar_index)", "qualifier", "simple", 7),
    "fractional length": ("ta.atr(14)", "ta.atr(14.5)", "type", "length must be int", 8),
    "length zero": ("ta.atr(14)", "ta.atr(0)", "range", "1 <= length", 8),
    "bool for a price": ("ta.rsi(close,", "ta.rsi(close > open,", "type", "source must be float", 7),
    "unknown name": ("ta.rsi(close,", "ta.rsi(clsoe,", "undeclared", "Did you mean 'close'", 7),
    "used before declared": ("ta.rsi(close, lengthInput)", "ta.rsi(longStop, lengthInput)", "undeclared", "longStop", 7),
    "declared twice": ("var int runBars = 0", "var int runBars = 0\nint runBars = 0", "duplicate", "already", 14),
    "input declared twice": ("float levelInput", "int lengthInput = 3\nfloat levelInput", "duplicate", "already", 6),
    "hides a built-in": ("float atrValue", "float close", "name", "built-in", 8),
    "hides a namespace": ("float atrValue", "float ta", "name", "built-in", 8),
    "reserved word": ("var int runBars = 0", "var int runBars = 0\nint catch = 0", "name", "word of the language", 14),
    "fraction in an int": ("var int runBars = 0", "var int runBars = 0.5", "type", "declared as int", 13),
    "bool in a float": ("float atrValue = ta.atr(14)", "float atrValue = true", "type", "declared as float", 8),
    "untyped na": ("var float longStop = na", "var longStop = na", "type", "must have a type", 18),
    "na bool": ("bool ready = not", "bool unset = na\nbool ready = not", "type", "cannot be na", 10),
    "unknown type": ("float atrValue", "double atrValue", "type", "double", 8),
    "tuple too short": ("[macdMacd, macdSignal, macdHistogram]", "[macdMacd, macdSignal]", "tuple", "3 values", 9),
    "tuple too long": ("macdHistogram]", "macdHistogram, more]", "tuple", "3 values", 9),
    "tuple as a value": ("float atrValue = ta.atr(14)", "float atrValue = ta.macd(close, 12, 26, 9)", "tuple", "3", 8),
    "tuple of one value": ("[macdMacd, macdSignal, macdHistogram] = ta.macd(close, 12, 26, 9)",
                           "[macdMacd, macdSignal, macdHistogram] = ta.atr(9)", "tuple", "returns 1", 9),
    "assignment for reassignment": ("runBars := close", "runBars = close", "duplicate", "already", 14),
    "comparison for reassignment": ("    longStop := math", "    longStop == math", "no effect", "did you mean", 20),
    "reassign undeclared": ("runBars := close", "runBar := close", "undeclared", "Did you mean 'runBars'", 14),
    "reassign another type": ("runBars + 1 : 0", "runBars + 0.5 : 0", "type", "declared as int", 14),
    "reassign an input": ("runBars := close", "lengthInput := 3\nrunBars := close", "assignment", "cannot change", 14),
    "local used outside": ("    strategy.entry(\"Short\"", "    int local = 1\n    strategy.entry(\"Short\"", None, None, None),
    "ta in a condition": ("ready and crossover1", "ready and ta.crossover(close, open)", "every bar", "every bar", 16),
    "ta under if": ("if enterShort\n", "if enterShort\n    float x = ta.atr(5)\n", "every bar", "every bar", 23),
    "ta in a ternary": ("? runBars + 1 : 0", "? math.floor(ta.sma(close, 5)) : 0", "every bar", "every bar", 14),
    "ta in arithmetic": ("float atrValue = ta.atr(14)", "float atrValue = 2.0 * ta.atr(14)", "every bar", "every bar", 8),
    "history of a literal": ("close > close[1]", "close > 3[1]", "history", "follow a variable", 14),
    "history of an input": ("close > close[1]", "close > levelInput[1]", "history", "no history", 14),
    "history of the future": ("close > close[1]", "close > close[-1]", "history", "future", 14),
    "too much history": ("close > close[1]", "close > close[5001]", "history", "5000", 14),
    "fractional history": ("close > close[1]", "close > close[1.5]", "type", "must be int", 14),
    "history of an expression": ("close > close[1]", "close > (close + open)[1]", "history", "follow a variable", 14),
    "chained comparison": ("sessionMinute < 600", "0 < sessionMinute < 600", "comparison", "chained", 17),
    "comparison with na": ("not na(rsiValue)", "rsiValue != na", "comparison", "Write na(x)", 10),
    "bool compared": ("runBars >= 2", "crossover1 >= 2", "type", "cannot be compared", 16),
    "number as condition": ("if enterShort\n", "if runBars\n", "type", "must be bool", 22),
    "number in and": ("ready and crossover1", "ready and rsiValue", "type", "must be bool", 16),
    "not of a number": ("not na(rsiValue)", "not rsiValue", "type", "must be bool", 10),
    "number as ternary test": ("close > close[1] ?", "close ?", "type", "must be bool", 14),
    "ternary of two types": ("runBars + 1 : 0", "runBars + 1 : true", "type", "one type", 14),
    "string arithmetic": ("2.0 * atrValue", '"2.0" * atrValue', "type", "needs numbers", 20),
    "sign of a bool": ("levelInput)", "-ready)", "type", "must be float", 11),
    "division by zero": ("2.0 * atrValue", "atrValue / 0", "division", "zero", 20),
    "no effect": ("runBars := close > close[1] ? runBars + 1 : 0", "close > close[1]", "no effect", "no effect", 14),
    "result unused": ("float atrValue = ta.atr(14)", "math.abs(close)\nfloat atrValue = ta.atr(14)", "no effect", "not used", 8),
    "order used as value": ("float atrValue = ta.atr(14)", 'float atrValue = strategy.close("Long")', "type", "returns nothing", 8),
    "loop": ("plot(rsiValue", "for i = 0 to 3\n    runBars := i\nplot(rsiValue", "construct", "not", None),
    "function": ("float atrValue", "f(x) => x\nfloat atrValue", "construct", "A function", 8),
    "entry on every bar": ('if enterShort\n    strategy.entry("Short", strategy.short, qty=1000)',
                           'strategy.entry("Short", strategy.short, qty=1000)', "order", "under a condition", 22),
    "exit under if": ('strategy.exit("Long exit"', 'if enterLong\n    strategy.exit("Long exit"', "every bar", "every bar", 25),
    "exit without prices": ("stop=longStop, ", "", "arguments", "does nothing", 24),
    "exit without entry": (', from_entry="Long"', "", "arguments", "needs from_entry", 24),
    "exit of unknown entry": ('from_entry="Long"', 'from_entry="Lang"', "order id", "Did you mean 'Long'", 24),
    "close of unknown entry": ('strategy.close("Short"', 'strategy.close("Shrt"', "order id", "Did you mean 'Short'", 28),
    "cancel of unknown order": ('strategy.cancel("Long exit"', 'strategy.cancel("Lng exit"', "order id", "Did you mean", 26),
    "wrong direction": ("strategy.long,", '"long",', "type", "direction must be strategy_direction", 21),
    "no quantity": ("strategy.long, qty=1000", "strategy.long, qty=0", "range", "qty must be positive", 21),
    "plot title twice": ('"rsi", display', '"Long stop", display', "unique", "used twice", 30),
    "plot title empty": ('"rsi", display', '"", display', "unique", "must not be empty", 29),
    "plot without title": ('plot(rsiValue, "rsi", display', "plot(rsiValue, display", "arguments", "needs title", 29),
    "plot under if": ('plot(rsiValue, "rsi"', 'if enterLong\n    plot(rsiValue, "rsi"', "every bar", "outside `if`", 30),
    "plot of a bool": ('plot(rsiValue,', "plot(enterLong,", "type", "series must be float", 29),
    "input title twice": ('"level"', '"length"', "unique", "used twice", 6),
    "input under if": ("if enterLong\n", 'if enterLong\n    int y = input.int(1, "y")\n', "every bar", "outside `if`", 20),
    "input not constant": ('input.float(30.0, "level"', 'input.float(close, "level"', "qualifier", "const", 6),
    "input fraction": ("input.int(14,", "input.int(14.5,", "type", "defval must be int", 5),
    "default below minimum": ("minval=1,", "minval=20,", "range", "minval <= defval", 5),
    "default above maximum": ("maxval=500,", "maxval=5,", "range", "minval <= defval", 5),
    "step zero": ("step=0.5", "step=0.0", "range", "step", 6),
    "function without call": ("ta.atr(14)", "ta.atr", "call", "Call it", 8),
    "unknown timezone type": ('hour(time, "UTC")', "hour(time, 0)", "type", "timezone must be string", 15),
    "import": ("float atrValue", "import a/b/1\nfloat atrValue", "construct", "An import", 8),
}  # fmt: skip
BROKEN.pop("local used outside")  # has a test of its own: it takes two changes


def test_good_script_keeps_every_rule() -> None:
    assert check_generated(GOOD) == []
    require_valid(GOOD, name="good")


def test_good_script_is_good_in_version_5_too() -> None:
    assert check_generated(GOOD.replace("//@version=6", "//@version=5")) == []


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_broken_script_is_caught(case: str) -> None:
    old, new, rule, words, line = BROKEN[case]
    assert GOOD.count(old) >= 1, "the mutation changes nothing"
    findings = check_generated(GOOD.replace(old, new, 1))
    assert findings, "the broken script passed"
    hits = [finding for finding in findings if finding.rule == rule]
    assert hits, f"expected a finding of rule {rule!r}, got {[str(f) for f in findings]}"
    if words is not None:
        assert any(words in finding.message for finding in hits), [str(f) for f in hits]
    if line is not None:
        assert line in {finding.line for finding in hits}, [str(f) for f in hits]


def test_there_are_enough_broken_scripts() -> None:
    assert len(BROKEN) >= 40


def test_local_variable_is_unknown_outside_its_block() -> None:
    text = GOOD.replace("if enterShort\n", "if enterShort\n    float local = close\n", 1)
    assert check_generated(text) == []
    findings = check_generated(text + 'plot(local, "local")\n')
    assert [finding.rule for finding in findings] == ["undeclared"]


def test_script_without_entries_is_caught() -> None:
    text = '//@version=6\nstrategy("x")\nplot(close, "close")\n'
    assert [finding.rule for finding in check_generated(text)] == ["order id"]


def test_empty_script_is_caught() -> None:
    assert {finding.rule for finding in check_generated("")} == {"version", "strategy"}


def test_too_many_plots_are_caught() -> None:
    text = GOOD + "".join(f'plot(close, "p{i}")\n' for i in range(63))
    assert [finding.rule for finding in check_generated(text)] == ["plots"]


def test_one_mistake_is_reported_once() -> None:
    findings = check_generated(GOOD.replace("ta.rsi(close", "ta.rsx(close"))
    assert len(findings) == 1, [str(finding) for finding in findings]


def test_every_mistake_of_a_script_is_reported_in_order() -> None:
    text = GOOD.replace("ta.atr(14)", "ta.atr(0)").replace('"rsi", display', '"Long stop", display')
    findings = check_generated(text)
    assert [(finding.line, finding.rule) for finding in findings] == [(8, "range"), (30, "unique")]


def test_require_valid_names_script_line_and_rule() -> None:
    with pytest.raises(PineError, match=r"(?s)mine: .*breaks 1 rule.*line 8, .*ta\.atr\(\).*\[range\]"):
        require_valid(GOOD.replace("ta.atr(14)", "ta.atr(0)"), name="mine")
