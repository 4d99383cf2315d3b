"""Columns are computed once, and given up in the order in which they were last used."""

from __future__ import annotations

import numpy as np
import pytest

from aiopt.screen.columns import FEWEST_ROWS, MOST_ROWS, Columns

N_BARS = 10
ROOM = FEWEST_ROWS * 8 * N_BARS


def take(columns: Columns, key: int) -> tuple[int, bool]:
    """Return the row of a key and whether it had to be computed."""
    before = columns.computed
    (row,) = columns.rows_of([key], lambda: [np.full(N_BARS, float(key))])
    assert (columns.values[row] == key).all()
    return row, columns.computed > before


def test_a_key_is_computed_once() -> None:
    columns = Columns(N_BARS, ROOM)
    assert take(columns, 1)[1]
    assert take(columns, 1) == (0, False)


def test_the_row_used_longest_ago_gives_way() -> None:
    columns = Columns(N_BARS, ROOM)
    for key in range(FEWEST_ROWS):
        take(columns, key)
    take(columns, 0)
    assert take(columns, 1000)[0] == 1  # row 1 was used longest ago, as row 0 was used again
    assert not take(columns, 0)[1]
    assert take(columns, 1)[1]
    assert len(columns.values) == FEWEST_ROWS


def test_a_row_says_where_its_numbers_begin_and_whether_some_are_missing() -> None:
    columns = Columns(4, FEWEST_ROWS * 8 * 4)
    nan = np.nan
    arrays = [np.array(values) for values in ([nan, 1, 2, 3], [nan, 1, nan, 3], [nan] * 4, [1.0, 2, 3, 4])]
    rows = list(columns.rows_of(list("abcd"), lambda: arrays))
    assert columns.first[rows].tolist() == [1, 1, 4, 0]
    assert columns.gaps[rows].tolist() == [False, True, False, False]


def test_years_of_bars_keep_a_few_rows_and_short_series_no_more_than_many() -> None:
    assert len(Columns(5_000_000, 2**20).values) == FEWEST_ROWS
    assert len(Columns(10, 2**30).values) == MOST_ROWS


def test_rows_are_filled_where_they_lie_from_rows_that_were_asked_for() -> None:
    columns = Columns(N_BARS, ROOM)

    def prepare() -> object:
        (part,) = columns.rows_of(["part"], lambda: [np.arange(N_BARS, dtype=float)])

        def write(outputs: list[np.ndarray]) -> None:
            outputs[0][:] = columns.values[part] + 1
            outputs[1][:] = np.nan

        return write

    rows = columns.rows_filled(["up", "none"], prepare)  # type: ignore[arg-type]
    assert columns.values[rows[0]].tolist() == list(range(1, N_BARS + 1))
    assert columns.first[list(rows)].tolist() == [0, N_BARS]
    computed = columns.computed
    assert columns.rows_filled(["up", "none"], prepare) == rows  # type: ignore[arg-type]
    assert columns.computed == computed == 3


def test_what_fails_leaves_no_row_behind() -> None:
    columns = Columns(N_BARS, ROOM)

    def prepare() -> object:
        raise ValueError("no part")

    for _ in range(2):
        with pytest.raises(ValueError, match="no part"):
            columns.rows_filled(["a"], prepare)  # type: ignore[arg-type]
    assert take(columns, 1) == (0, True)
