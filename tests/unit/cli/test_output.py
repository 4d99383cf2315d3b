"""Tables fit the console without cutting a cell, whatever stands in them."""

from __future__ import annotations

import io
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from aiopt.cli.output import Column, minute_text, number, print_pairs, print_table, size_text, text


def shown(columns: list[Column | str], rows: list[list[str]], width: int) -> str:
    stream = io.StringIO()
    print_table(Console(file=stream, width=width, highlight=False), columns, rows)
    return stream.getvalue()


def test_a_table_that_fits_stays_as_it_is() -> None:
    out = shown(
        ["run", number("rows"), text("folder")], [["a", "1,234", "runs/a"], ["bc", "5", "runs/bc"]], 80
    )
    assert [line.rstrip() for line in out.splitlines()] == [
        "run   rows  folder",
        "a    1,234  runs/a",
        "bc       5  runs/bc",
    ]


def test_gaps_shrink_before_anything_is_wrapped() -> None:
    out = shown(["first", "second"], [["aaaaaaaaaa", "bbbbbbbbbb"]], 21)
    assert out.splitlines()[1] == "aaaaaaaaaa bbbbbbbbbb"


def test_text_wraps_at_words_and_numbers_never() -> None:
    out = shown(["name", number("rows"), text("what")], [["a", "1,234,567", "some words to be read"]], 30)
    assert [line.rstrip() for line in out.splitlines()] == [
        "name      rows what",
        "a    1,234,567 some words to",
        "               be read",
    ]


def test_what_cannot_fit_becomes_a_list_of_names_and_values() -> None:
    out = shown([number("bars"), number("ticks")], [["1" * 12, "2" * 12], ["3" * 12, "4" * 12]], 20)
    assert [line.rstrip() for line in out.splitlines()] == [
        "bars   111111111111",
        "ticks  222222222222",
        "",
        "bars   333333333333",
        "ticks  444444444444",
    ]


def test_brackets_are_no_markup() -> None:
    assert "[red]x[/red]" in shown(["name"], [["[red]x[/red]"]], 80)
    stream = io.StringIO()
    print_pairs(Console(file=stream, width=80), [("of [a]", Text("b", style="red"))])
    assert stream.getvalue().rstrip() == "of [a]  b"


cells = st.text(alphabet="abc1/.,- ", max_size=30).map(str.strip)


@given(
    st.lists(st.sampled_from(["text", "plain", "number"]), min_size=1, max_size=7),
    st.integers(30, 100),
    st.data(),
)
def test_no_character_is_ever_lost_and_no_line_is_too_long(
    kinds: list[str], width: int, data: st.DataObject
) -> None:
    makers = {"text": text, "plain": Column, "number": number}
    columns = [makers[kind](f"h{place}") for place, kind in enumerate(kinds)]
    rows = [[data.draw(cells) for _ in kinds] for _ in range(2)]
    out = shown(list(columns), rows, width)
    assert max(map(len, out.splitlines())) <= width
    names = [column.name for column in columns]
    once = Counter("".join([*names, *rows[0], *rows[1]]).replace(" ", ""))
    as_lists = Counter("".join([*names, *names, *rows[0], *rows[1]]).replace(" ", ""))
    assert Counter("".join(out.split())) in (once, as_lists)


def test_times_and_sizes_for_people() -> None:
    assert minute_text(1_398_938_459_999_999_999) == "2014-05-01 10:00"
    assert [size_text(count) for count in (999, 1_000, 1_250_000, 10**10)] == [
        "999 B",
        "1.0 kB",
        "1.2 MB",
        "10.0 GB",
    ]
