"""Scripts of versions 4 and 5 become version 6, saying the same; what needs a decision is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from aiopt.cli.pine import command
from aiopt.errors import ConfigError, InputError
from aiopt.pine.fixing.fixing import Fixed, Verdict, fix_script
from aiopt.pine.parsing.parser import parse_script

CORPUS = Path(__file__).parents[1] / "corpus" / "valid"


def body(text: str, version: int = 5) -> str:
    """Return a fixed script without its version line."""
    fixed = fix_script(f"//@version={version}\n{text}\n")
    assert not fixed.left, fixed.left
    first, rest = fixed.after.split("\n", 1)
    assert first == "//@version=6"
    return rest.rstrip("\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('study("x", resolution="D")', 'indicator("x", timeframe="D")'),
        ("plot(rsi(close, 14))", "plot(ta.rsi(close, 14))"),
        ("x = max(sma(close, 5), ema(close, 9))", "x = math.max(ta.sma(close, 5), ta.ema(close, 9))"),
        ('x = security(syminfo.tickerid, "D", close)', 'x = request.security(syminfo.tickerid, "D", close)'),
        ("n = input(14, type=input.integer, minval=1)", "n = input.int(14, minval=1)"),
        ("n = input(type=input.float, defval=1.5)", "n = input.float(defval=1.5)"),
        ("n = input(2.5, minval=1)", "n = input.float(2.5, minval=1)"),
        ("n = input(close)", "n = input(close)"),
        ("x = iff(close > open, 1, 2)", "x = ((close > open) ? (1) : (2))"),
        ("x = offset(close, 2)", "x = (close)[2]"),
        ("s = tostring(close)", "s = str.tostring(close)"),
        ('strategy.entry("L", long=true)', 'strategy.entry("L", direction=strategy.long)'),
        ("sma = 5\nx = sma + 1", "sma = 5\nx = sma + 1"),
        ("plot(close, color=color.red, transp=50)", "plot(close, color=color.new(color.red, 50))"),
    ],
)
def test_version_4(old: str, new: str) -> None:
    assert body(old, 4) == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('strategy.entry("L", strategy.long, when=a)', 'if a\n    strategy.entry("L", strategy.long)'),
        ('if b\n    strategy.close("L", when=(a))', 'if b\n    if a\n        strategy.close("L")'),
        (
            'strategy.exit("X", when=a, stop=ta.lowest(low, 5))',
            'argument2_1 = ta.lowest(low, 5)\nif a\n    strategy.exit("X", stop=argument2_1)',
        ),
        ("bgcolor(a ? color.red : na, transp=80)", "bgcolor(color.new(a ? color.red : na, 80))"),
        ("plot(x, transp=10, color=#ff0000)", "plot(x, color=color.new(#ff0000, 10))"),
        ("n = 5 / 2", "n = int(5 / 2)"),
        ("n = 6 / 2", "n = 6 / 2"),
        ("n = 5.0 / 2", "n = 5.0 / 2"),
        ("k = 7\nn = k / 2", "k = 7\nn = int(k / 2)"),
        ("k = 7\nk := 8\nn = k / 2", "k = 7\nk := 8\nn = k / 2"),
        ("if ta.change(x)\n    y = 1", "if bool(ta.change(x))\n    y = 1"),
        ("x = volume ? 1 : 0", "x = bool(volume) ? 1 : 0"),
        (
            "x = a and ta.crossover(b, c)",
            "value2_1 = ta.crossover(b, c)\nx = a and value2_1",
        ),
        ("x = ta.crossover(b, c) and a", "x = ta.crossover(b, c) and a"),
        ("x = a and b[1]", "x = a and b[1]"),
        ("if a or arr.pop() > 1\n    y = 1", "value2_1 = arr.pop()\nif a or value2_1 > 1\n    y = 1"),
        ('strategy("S")', 'strategy("S", margin_long = 0, margin_short = 0)'),
        ('strategy("S", margin_long=50)', 'strategy("S", margin_long=50, margin_short = 0)'),
        ('x = timeframe.period == "D"', 'x = timeframe.period == "1D"'),
        (
            "for i = 0 to array.size(a)\n    array.push(a, i)",
            "end2 = array.size(a)\nfor i = 0 to end2\n    array.push(a, i)",
        ),
        ("for i = 0 to a.size() - 1\n    a.pop()", "end2 = a.size() - 1\nfor i = 0 to end2\n    a.pop()"),
        ("n = 3\nfor i = 0 to n\n    n := n - 1", "n = 3\nend3 = n\nfor i = 0 to end3\n    n := n - 1"),
        (
            "for i = 0 to a.size() - 1\n    b.push(a.get(i))",
            "for i = 0 to a.size() - 1\n    b.push(a.get(i))",
        ),
        ('strategy.entry(id="L", strategy.long)', 'strategy.entry(id="L", direction = strategy.long)'),
    ],
)
def test_version_5(old: str, new: str) -> None:
    assert body(old) == new


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("plot(close, transp=50)", "transp"),
        ("c = color.new(color.red, 10)\nplot(close, color=c, transp=50)", "transp"),
        ("f(x) => x > 0 and ta.rising(x, 2)", "lazy"),
        ("a = 1, b = a > 0 and ta.rising(close, a)", "lazy"),
        ('a = 1, strategy.close("L", when=true)', "when"),
        ("bool b = na", "na-bool"),
        ("up = close > open\nplot(na(up[1]) ? 1 : 0)\nplot(nz(up) ? 1 : 0)", "na-bool"),
        ("plot(6[1])", "history"),
        ("type T\n    float a\nt = T.new(close)\nplot(t.a[1])", "history"),
        ('strategy.exit("X", profit=10, limit=close + 1)', "exit"),
        ("f(a) => for i = 0 to a.size()\n    a.pop()", "loop"),
    ],
)
def test_a_conversion_is_made_whole_or_not_at_all(text: str, rule: str) -> None:
    script = f'//@version=5\nindicator("x")\nn = 5 / 2\n{text}\n'
    fixed = fix_script(script)
    assert [change.rule for change in fixed.left] == [rule]
    assert fixed.after == script
    assert fixed.applied == []


def test_a_script_without_a_version_line() -> None:
    assert fix_script('study("x")\nplot(sma(close, 3))').after == (
        '//@version=6\nindicator("x")\nplot(ta.sma(close, 3))'
    )
    with pytest.raises(InputError, match="--from 4, 5 or 6"):
        fix_script('indicator("x")\nplot(close)')
    assert fix_script('indicator("x")\nplot(close)', from_version=6).after.startswith("//@version=6\n")


def test_what_cannot_be_read_is_not_changed() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        fix_script("//@version=5\nx = (1")
    with pytest.raises(InputError, match="version 3"):
        fix_script("//@version=3\nstudy('x')")


def test_valid_scripts_of_version_6_stay_as_they_are() -> None:
    for path in sorted(CORPUS.glob("*_v6.pine")):
        text = path.read_bytes().decode().removeprefix("\ufeff").replace("\r\n", "\n")
        assert fix_script(text).after == text, path.name


def test_scripts_of_version_5_come_out_readable_and_settled() -> None:
    converted = 0
    for path in sorted(CORPUS.glob("*_v5.pine")):
        fixed = fix_script(path.read_bytes().decode())
        parsed = parse_script(fixed.after)
        assert not parsed.errors, path.name
        assert parsed.version == (5 if fixed.left else 6), path.name
        again = fix_script(fixed.after)
        assert again.after == fixed.after, path.name
        converted += not fixed.left
    assert converted > 150


def prover(*verdicts: bool | None) -> tuple[list[tuple[str, str]], object]:
    asked: list[tuple[str, str]] = []

    def prove(before: str, after: str) -> Verdict:
        asked.append((before, after))
        return Verdict(verdicts[min(len(asked), len(verdicts)) - 1], f"run {len(asked)}")

    return asked, prove


NA_BOOL = '//@version=5\nindicator("x")\nbool b = na\nplot(b ? 1 : 0)\n'
IN_BLOCK = (
    '//@version=6\nindicator("x")\nfloat x = 0.0\nif close > open\n    x := ta.sma(close, 5)\nplot(x)\n'
)


def test_a_run_can_show_what_no_rule_can() -> None:
    asked, prove = prover(True)
    fixed: Fixed = fix_script(NA_BOOL, prove=prove)  # type: ignore[arg-type]
    assert "bool b = false" in fixed.after
    assert fixed.proof == f"run {len(asked)}"
    assert asked[-1] == (NA_BOOL, fixed.after)


def test_a_run_is_held_against_the_text_that_engines_know() -> None:
    asked, prove = prover(True)
    fixed = fix_script('//@version=5\nstrategy.close("L", when=a)\nn = 5 / 2\n', prove=prove)  # type: ignore[arg-type]
    assert asked == [('//@version=5\nif a\n    strategy.close("L")\nn = 5 / 2\n', fixed.after)]


def test_a_run_that_differs_stops_the_change() -> None:
    for text in (NA_BOOL, IN_BLOCK):
        _, prove = prover(False)
        fixed = fix_script(text, prove=prove)  # type: ignore[arg-type]
        assert fixed.after == text
        assert fixed.left


def test_history_calls_leave_their_block_where_a_run_shows_no_change() -> None:
    _, prove = prover(True)
    fixed = fix_script(IN_BLOCK, prove=prove)  # type: ignore[arg-type]
    assert "value5_1 = ta.sma(close, 5)\nif close > open\n    x := value5_1\n" in fixed.after
    assert fix_script(IN_BLOCK).after == IN_BLOCK
    orders = '//@version=6\nstrategy("x")\nif close > open\n    strategy.entry("L", strategy.long)\n'
    assert fix_script(orders, prove=prove).after == orders  # type: ignore[arg-type]


def test_the_command_shows_a_diff_and_writes_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "old.pine"
    old = '//@version=5\r\nindicator("x")\r\nn = 5 / 2\r\nplot(n)\r\n'
    path.write_bytes(old.encode())
    shown = CliRunner().invoke(command, ["fix", str(path)], catch_exceptions=False)
    assert "+n = int(5 / 2)" in shown.stdout
    assert "nothing written" in shown.stdout
    assert path.read_bytes().decode() == old
    done = CliRunner().invoke(command, ["fix", str(path), "--write", "--json"], catch_exceptions=False)
    document = json.loads(done.stdout)
    assert document["written"] is True
    assert [one["rule"] for one in document["applied"]] == ["division", "version"]
    assert path.read_bytes().decode() == '//@version=6\r\nindicator("x")\r\nn = int(5 / 2)\r\nplot(n)\r\n'


def test_the_command_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no file"):
        CliRunner().invoke(command, ["fix", str(tmp_path / "no.pine")], catch_exceptions=False)


def test_the_command_names_the_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "broken.pine"
    path.write_text('//@version=4\nstudy("x")\nplot(close', encoding="utf-8")
    with pytest.raises(InputError, match=r"broken\.pine: The script cannot be read.*line 3"):
        CliRunner().invoke(command, ["fix", str(path), "--write"], catch_exceptions=False)
    assert path.read_text(encoding="utf-8").startswith("//@version=4")
