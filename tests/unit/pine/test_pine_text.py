from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.errors import PineError
from aiopt.pine.text import COMMENT_WIDTH, Names, camel_case, comment, float_number, number, string_literal


@given(st.text())
def test_string_literal_is_one_closed_string(text: str) -> None:
    literal = string_literal(text)
    assert literal.startswith('"')
    assert literal.endswith('"')
    assert len(literal.splitlines()) == 1
    inner = literal[1:-1].replace("\\\\", "").replace('\\"', "")
    assert '"' not in inner
    assert "\\" not in inner


def test_a_comment_is_never_an_instruction_to_the_compiler() -> None:
    for width in range(60, 110):
        for line in comment("x" * width + " @version=5 //@version=5"):
            assert "@version" not in line


def test_string_literal_escapes() -> None:
    assert string_literal('say "a\\b"\nnow') == '"say \\"a\\\\b\\" now"'


@given(st.text())
def test_every_comment_line_is_a_comment(text: str) -> None:
    lines = comment(text)
    assert lines
    for line in lines:
        assert line.startswith("// ") or line == "//"
        assert len(line.splitlines()) == 1


@given(st.lists(st.text("abc", min_size=1, max_size=20), max_size=60))
def test_comments_keep_every_word_and_the_width(words: list[str]) -> None:
    lines = comment(" ".join(words))
    assert " ".join(" ".join(line[2:].split()) for line in lines).split() == words
    assert max(len(line) for line in lines) <= COMMENT_WIDTH


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives_its_literal(value: float) -> None:
    text = number(value)
    assert float(text) == value
    assert "e" not in text.lower()
    assert "." in text


@given(st.integers(-(10**12), 10**12))
def test_a_whole_number_stays_whole_or_becomes_a_float(value: int) -> None:
    assert number(value) == str(value)
    assert float(float_number(value)) == value
    assert "." in float_number(value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("rsi_length", "rsiLength"), ("RSI", "rSI"), ("a__b_", "aB"), ("x", "x"), ("stop2_atr", "stop2Atr")],
)
def test_camel_case(name: str, expected: str) -> None:
    assert camel_case(name) == expected


def test_names_are_handed_out_once_and_never_a_built_in() -> None:
    names = Names({"ready"})
    assert [names.take("x"), names.take("x"), names.take("x")] == ["x", "x2", "x3"]
    assert names.take("close") == "close2"
    assert names.take("ta") == "ta2"
    assert names.take("and") == "and2"
    assert names.take("ready") == "ready2"


@pytest.mark.parametrize("name", ["1a", "a b", "a-b", "ä", "", "a\nb"])
def test_names_refuse_what_is_no_identifier(name: str) -> None:
    with pytest.raises(PineError, match="must be ASCII letters"):
        Names().take(name)
