"""Lines of a script: nothing computed twice, nothing changed that differs, no line too long."""

from __future__ import annotations

import pytest

from aiopt.pine.layout import MAX_WIDTH, without_repeats, wrapped


def test_a_repeat_is_replaced_everywhere_but_in_strings_and_comments() -> None:
    lines = [
        "float a = ta.tr(true)",
        "float b = ta.tr(true)",
        "float c = ta.rma(b, 14)",
        'plot(b, "b")  // b',
        "plot(x.b)",
    ]
    assert without_repeats(lines) == [
        "float a = ta.tr(true)",
        "float c = ta.rma(a, 14)",
        'plot(a, "b")  // b',
        "plot(x.b)",
    ]


def test_repeats_of_repeats_and_tuples_are_found() -> None:
    lines = [
        "[m, s, h] = ta.macd(close, 12, 26, 9)",
        "[n, t, i] = ta.macd(close, 12, 26, 9)",
        "float p = h * 2.0",
        "float q = i * 2.0",
        "plot(q)",
    ]
    assert without_repeats(lines) == [lines[0], "float p = h * 2.0", "plot(p)"]


@pytest.mark.parametrize(
    "lines",
    [
        ["var int n = 0", "float a = n * 2", "n := n + 1", "float b = n * 2"],
        ["float a = close", "float b = close", "b := high"],
        ['int a = input.int(1, "x")', 'int b = input.int(1, "x")'],
        ["float a = close", "int b = close"],
        ["if close > open", "    float a = ta.tr(true)", "    float b = ta.tr(true)"],
    ],
    ids=["reads what changes", "changes itself", "inputs", "other type", "in a block"],
)
def test_what_may_differ_stays(lines: list[str]) -> None:
    assert without_repeats(lines) == lines


def test_a_long_line_is_broken_outside_of_strings_and_never_at_a_multiple_of_four() -> None:
    quoted = "'a, b and c + d, " + "x" * 60 + "'"
    for indent in ("", "    "):
        line = f"{indent}strategy.entry({quoted}, one={quoted}, two=close + open, three={'y' * 40})"
        parts = wrapped(line)
        assert len(parts) > 1
        assert all(len(part) <= MAX_WIDTH for part in parts)
        assert " ".join(part.strip() for part in parts) == line.strip()
        assert sum(quoted in part for part in parts) == 2
        assert parts[0].startswith(f"{indent}strategy")
        for part in parts[1:]:
            spaces = len(part) - len(part.lstrip())
            assert spaces % 4
            assert spaces > len(indent)


def test_short_lines_comments_and_what_cannot_be_broken_stay() -> None:
    for line in ("plot(close)", "// " + "word, " * 60, "x" * (MAX_WIDTH + 5)):
        assert wrapped(line) == [line]
