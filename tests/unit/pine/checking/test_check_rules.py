"""Rules that need more than one broken line: versions, warnings, limits, functions as templates."""

from __future__ import annotations

import pytest

from aiopt.pine.checking.check import CheckResult, check_script
from aiopt.pine.checking.rules import RULES


def check(body: str, version: int = 6, kind: str = "indicator") -> CheckResult:
    return check_script(f'//@version={version}\n{kind}("t")\n{body}\n')


def rules(result: CheckResult, severity: str = "error") -> list[str]:
    return [one.rule for one in result.diagnostics if one.severity == severity]


@pytest.mark.parametrize(
    ("body", "version_5", "version_6"),
    [
        ("plot(volume ? 1 : 0)", [], ["bool"]),
        ("bool up = na\nplot(close)", [], ["bool"]),
        ("plot(close, color=color.red, transp=50)", [], ["arguments"]),
        ("plot(close, offset=bar_index)", [], ["qualifier"]),
        ("int half = 5 / 2\nplot(half)", [], ["type"]),
        ("plot(5[1])", [], ["history"]),
        ("plot(close == na ? 1 : 0)", [], ["comparison"]),
        ("plot(bid)", ["version"], []),
        ("plot(close, linestyle=plot.linestyle_dashed)", ["arguments", "version"], []),
    ],
)
def test_versions_differ(body: str, version_5: list[str], version_6: list[str]) -> None:
    assert sorted(rules(check(body, 5))) == version_5
    assert sorted(rules(check(body, 6))) == version_6


def test_the_version_can_be_forced() -> None:
    text = '//@version=5\nindicator("t")\nplot(volume ? 1 : 0)\n'
    assert check_script(text).errors == []
    assert [one.rule for one in check_script(text, version=6).errors] == ["bool"]
    assert check_script("indicator('t')\nplot(close)\n", version=6).errors == []


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("", "does not say its version"),
        ("//@version=4\n", "of version 4"),
        ("//@version=7\n", "of version 7"),
    ],
)
def test_a_version_that_is_not_covered_is_said(first: str, words: str) -> None:
    found = check_script(f'{first}indicator("t")\nplot(close)\n').errors
    assert [one.rule for one in found] == ["version"]
    assert words in found[0].message
    assert found[0].fix


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("if close > open\n    x = ta.ema(close, 5)\n    label.new(bar_index, x)", "every bar"),
        ("up = close > open and ta.rsi(close, 14) > 50\nplotshape(up)", "every bar"),
        ("x = close > open ? ta.sma(close, 5) : 0\nplot(x)", "every bar"),
        ("smooth(x) => ta.ema(x, 5)\ny = close > open ? smooth(close) : 0\nplot(y)", "every bar"),
        ("plot(request.security('X', 'D', close, lookahead=barmerge.lookahead_on))", "lookahead"),
        ("plot(request.security('X', 'D', close))", "developing bar"),
        ("plot(barstate.isrealtime ? close : open)", "realtime"),
        ("varip int n = 0\nn += 1\nplot(n)", "realtime"),
        ("time = close\nplot(time)", "hidden name"),
        ("x = 1\nif close > open\n    x = 2\nplot(x)", "hidden name"),
        ("plot(close / 0)", "division"),
        ("var x = 0\nif close > open\n    x == 1\n    label.new(bar_index, high)\nplot(x)", "no effect"),
        ("x = close", "no output"),
    ],
)
def test_warnings_are_no_errors(body: str, rule: str) -> None:
    found = check(body)
    assert found.errors == []
    assert rule in rules(found, "warning")


@pytest.mark.parametrize(
    "body",
    [
        "plot(request.security('X', 'D', close[1], lookahead=barmerge.lookahead_on))",
        "plot(request.security('X', timeframe.period, close))",
        "smooth(x) => ta.ema(x, 5)\nplot(smooth(close))",
    ],
)
def test_what_is_right_is_not_warned_of(body: str) -> None:
    assert check(body).diagnostics == ()


def test_version_5_evaluates_both_sides_of_and() -> None:
    body = "up = close > open and ta.rsi(close, 14) > 50\nplotshape(up)"
    assert "every bar" in rules(check(body, 6), "warning")
    assert "every bar" not in rules(check(body, 5), "warning")


def test_too_many_plots() -> None:
    assert rules(check("\n".join(["plot(close)"] * 64))) == []
    assert rules(check("\n".join(["plot(close)"] * 65))) == ["plots"]
    assert rules(check("\n".join(["plotcandle(open, high, low, close)"] * 17))) == ["plots"]


def test_many_requests_are_warned_of() -> None:
    call = "plot(request.security('X', 'D', close[1]))"
    assert "requests" not in rules(check("\n".join([call] * 40)), "warning")
    assert "requests" in rules(check("\n".join([call] * 41)), "warning")


def test_a_large_script_is_warned_of() -> None:
    assert "size" in rules(check("plot(close)\n" + "// a long comment\n" * 20_000), "warning")


def test_functions_are_checked_for_the_types_of_each_call() -> None:
    body = "twice(x) => x + x\nplot(twice(close))\nlabel.new(bar_index, high, twice('a'))"
    assert rules(check(body)) == []
    wrong = check("minus(x) => x - x\nplot(minus(close))\nlabel.new(bar_index, high, minus('a'))")
    assert [(one.rule, one.line) for one in wrong.errors] == [("type", 3)]


def test_a_name_that_the_table_lacks_is_a_note() -> None:
    found = check("plot(syminfo.brand_new_field > 0 ? 1 : 0)")
    assert rules(found) == []
    assert rules(found, "note") == ["unknown"]


def test_an_imported_library_is_not_guessed_at() -> None:
    body = "import someone/tools/1 as tools\nx = tools.average(close, 5)\ny = x.more()\nplot(x)"
    assert check(body).diagnostics == ()


def test_one_mistake_is_reported_once_however_often_it_is_reached() -> None:
    body = "f(x) => ta.sma(x, 'a')\nplot(f(close))\nplot(f(open))\nplot(f(bar_index))"
    assert rules(check(body)) == ["type"]


def test_a_fault_of_the_text_hides_what_follows_from_it() -> None:
    found = check("average = ta.sma(close, \nplot(average)")
    assert found.errors
    assert "undeclared" not in rules(found)


def test_a_diagnostic_says_where_and_what_to_do() -> None:
    found = check("plot(averge)").errors[0]
    assert (found.line, found.column, found.end_line, found.end_column) == (3, 6, 3, 12)
    assert str(found).startswith("line 3, column 6: error: ")
    assert found.document()["rule"] == "undeclared"


def test_diagnostics_come_in_the_order_of_the_text() -> None:
    found = check("plot(b)\nplot(a)\nplot(close == na ? 1 : 0)").diagnostics
    assert [one.line for one in found] == [3, 4, 5]


@pytest.mark.parametrize(
    "text", ["", "\n", "//@version=6\n", "\x00\x01", "//@version=6\nindicator(", "🙂" * 50]
)
def test_what_is_no_script_is_refused_without_a_crash(text: str) -> None:
    assert check_script(text).errors


def test_rules_that_are_reported_are_listed() -> None:
    found = check("if close > open\n    plot(close)\nplot(x)\ny = close == na\nplot(ta.sma(close, 0))")
    assert {one.rule for one in found.diagnostics} <= set(RULES)


def test_declarations_in_a_block_are_refused() -> None:
    assert "name" in RULES
    found = check("if close > open\n    f(x) => x + 1\nplot(close)")
    assert found.errors


def test_deep_scripts_end_without_a_crash() -> None:
    chain = "\n".join(["f0(x) => x", *(f"f{n}(x) => f{n - 1}(x) + 1" for n in range(1, 300))])
    assert check(f"{chain}\nplot(f299(close))\nplot(f299(bar_index))").errors == []
    deep = "-(" * 150 + "close" + ")" * 150
    assert rules(check(f"g(x) => {deep}\nplot(g(1))")) in ([], ["nesting"])


def test_a_block_that_could_not_be_read_is_no_crash() -> None:
    assert check("if close > open\n    )\nplot(close)").errors


@pytest.mark.parametrize(
    ("text", "rule"), [("x = close + 1\n" * 360_000, "size"), ("\x00\x01" * 100, "binary")]
)
def test_what_is_not_even_read_has_one_fault(text: str, rule: str) -> None:
    assert [one.rule for one in check_script(text).diagnostics] == [rule]
