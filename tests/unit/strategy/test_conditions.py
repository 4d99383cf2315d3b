"""The condition language: what is accepted, what is refused and where, canonical text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.errors import SpecError
from aiopt.strategy.conditions import (
    And,
    Arithmetic,
    Call,
    Compare,
    History,
    Name,
    Negate,
    Not,
    Number,
    Or,
    Output,
    Series,
    children,
    format_condition,
    parse_condition,
    parse_value,
    walk,
)
from tests.unit.strategy.condition_trees import conditions


@settings(max_examples=500, deadline=None)
@given(tree=conditions)
def test_formatting_and_parsing_are_inverse(tree):
    text = format_condition(tree)
    assert parse_condition(text) == tree
    assert format_condition(parse_condition(text)) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("crossover( rsi,oversold )", "crossover(rsi, oversold)"),
        ("rsi>50", "rsi > 50"),
        ("((rsi > 50))", "rsi > 50"),
        ("rsi > 50 and\n  close<open", "rsi > 50 and close < open"),
        ("not (rsi > 50 or close < open)", "not (rsi > 50 or close < open)"),
        ("not(rsi > 50) or close < open", "not rsi > 50 or close < open"),
        ("(a > 1 or b > 2) and c > 3", "(a > 1 or b > 2) and c > 3"),
        ("a > 1 or (b > 2 and c > 3)", "a > 1 or b > 2 and c > 3"),
        ("a > 1 and (b > 2 and c > 3)", "a > 1 and (b > 2 and c > 3)"),
        ("a - (b - c) > -(a+b)*2", "a - (b - c) > -(a + b) * 2"),
        ("a - b - c > 0", "a - b - c > 0"),
        ("a * (b / c) > 0", "a * (b / c) > 0"),
        ("- - a > 0", "--a > 0"),
        ("close[ 1 ] > macd . signal [2]", "close[1] > macd.signal[2]"),
        ("rsi > 1_000", "rsi > 1000"),
        ("rsi > 0.00001", "rsi > 1e-05"),
        ("rsi > 30.0", "rsi > 30.0"),
    ],
)
def test_canonical_text(text, canonical):
    assert format_condition(parse_condition(text)) == canonical


def test_tree_of_every_kind_of_node():
    assert parse_condition("not a > -1 and crossover(x.y, close[2]) or 1 + 2 * b != 3") == Or(
        (
            And(
                (
                    Not(Compare(">", Name("a"), Negate(Number(1)))),
                    Call("crossover", (Output("x", "y"), History(Series("close"), 2))),
                )
            ),
            Compare(
                "!=",
                Arithmetic("+", Number(1), Arithmetic("*", Number(2), Name("b"))),
                Number(3),
            ),
        )
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "A condition is a text"),
        ("   ", "A condition is a text"),
        ("rsi >", "column 6: it cannot be read"),
        ("rsi > 50 and", "it cannot be read"),
        ("rsi", "'rsi' is a number, not true or false"),
        ("rsi + 1", "is a number, not true or false"),
        ("1 < rsi < 50", r"column 1: comparisons must not be chained"),
        ("rsi > 50 and close", r"column 14: and, or, not need conditions, but this is a number"),
        ("not rsi", "column 5: and, or, not need conditions"),
        ("(rsi > 1) + 1 > 2", "column 2: a number is needed, but this is true or false"),
        ("crossover(rsi > 1, 2)", "column 11: a number is needed"),
        ("crosover(rsi, 50)", r"column 1: unknown function 'crosover'. Did you mean 'crossover'\?$"),
        ("rsi.update(3) > 1", "unknown function 'rsi.update'"),
        ("ta.highest(high, 3) > 1", r"unknown function 'ta.highest'. Write highest\(...\)\.$"),
        ("ta.vwma(close, 3) > 1", r"'ta.vwma'. It is an indicator: .* kind: vwma, and write that id\.$"),
        ("crossover(rsi)", r"crossover takes 2 argument\(s\), but got 1"),
        ("crossover(a=rsi, b=50)", "takes its arguments by position"),
        ("crossover(*rsi, 5)", "are allowed; not the expression"),
        ("highest(close, 0) > 1", "highest needs a whole number from 1 to 500"),
        ("rising(close, 2.0)", "rising needs a whole number from 1 to 500"),
        ("rising(close, length + 1)", "rising needs a whole number from 1 to 500"),
        ("close[0] > 1", r"x\[n\] needs a whole number n from 1 to 500"),
        ("close[n] > 1", r"x\[n\] needs a whole number n from 1 to 500"),
        ("close[501] > 1", r"x\[n\] needs a whole number n from 1 to 500"),
        ("close[1:2] > 1", r"x\[n\] needs a whole number n"),
        ("close[1][1] > 1", r"x\[n\] needs a series or an indicator before the bracket"),
        ("(a + b)[1] > 1", r"x\[n\] needs a series or an indicator before the bracket"),
        ("rsi > True", "a number is needed"),
        ("rsi > 'fifty'", "a number is needed"),
        ("rsi > 1j", "a number is needed"),
        ("rsi > 1e999", "a number must be finite"),
        ("rsi is 1", "a comparison must be one of"),
        ("rsi in close", "a comparison must be one of"),
        ("rsi ** 2 > 1", "are allowed; not the expression"),
        ("rsi % 2 > 1", "are allowed; not the expression"),
        ("rsi // 2 > 1", "are allowed; not the expression"),
        ("+rsi > 1", "are allowed; not the expression"),
        ("~rsi > 1", "are allowed; not the expression"),
        ("[rsi] > 1", "are allowed; not the expression"),
        ("(lambda: 1)() > 1", "unknown function"),
        ("rsi if close else open", "are allowed; not the expression"),
        ("(x := 1) > 0", "are allowed; not the expression"),
        ("__import__('os').system('true') > 0", "unknown function"),
        ("__class__ > 0", "a name must be a letter"),
        ("rsi.__class__ > 0", "a name must be a letter"),
        ("a.b.c > 0", "an indicator's output is written indicator.output"),
        ("abs > 0", "the function abs needs its arguments in parentheses"),
        ("rsi > 5é", "column 8: only ASCII characters are allowed"),
        ("rsi > 1\x00", "it cannot be read"),
        ("rsi > " + "9" * 1000, "has 1006 characters, and 1000 are allowed"),
        ("(" * 300 + "rsi > 1" + ")" * 300, "it cannot be read|nested"),
        ("-" * 40 + "rsi > 1", "nested at most 24 deep"),
        (" and ".join(["a>1"] * 90), "at most 200 parts"),
        ("not " * 200 + "rsi > 1", "nested at most 24 deep|cannot be read"),
    ],
)
def test_refused_text_says_where_and_why(text, message):
    with pytest.raises(SpecError, match=message):
        parse_condition(text)


@settings(max_examples=400, deadline=None)
@given(text=st.text(alphabet="rsiclose()[]<>=!+-*/., 0123456789andorntx_'\n", max_size=60))
def test_any_text_parses_or_is_refused_with_a_reason(text):
    try:
        tree = parse_condition(text)
    except SpecError:
        return
    assert parse_condition(format_condition(tree)) == tree


def test_a_value_is_a_number():
    assert parse_value("2 * a") == Arithmetic("*", Number(2), Name("a"))
    with pytest.raises(SpecError, match="'a > 1' is true or false, not a number"):
        parse_value("a > 1")


def test_numbers_are_never_negative():
    with pytest.raises(SpecError, match=r"between 0 and 2\*\*53, but got -1"):
        Number(-1)


def test_walk_visits_every_node():
    tree = parse_condition("not a > close[1] and rising(b, 2)")
    names = [type(node).__name__ for node in walk(tree)]
    assert names == ["And", "Not", "Compare", "Name", "History", "Series", "Call", "Name", "Number"]
    assert children(Number(1)) == ()
