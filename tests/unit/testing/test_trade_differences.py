"""The benchmark's classes of difference: each is given where its reason is seen, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks._trade_differences import REASONS, Deal, Levels, compared

OURS = Levels(stop=0.9, target=1.2)
BARS = {
    "open": np.array([1.0, 1.0, 1.0, 1.3, 1.0]),
    "high": np.array([1.1, 1.1, 1.25, 1.35, 1.1]),
    "low": np.array([0.95, 0.95, 0.85, 1.25, 0.95]),
    "close": np.array([1.02, 1.03, 1.22, 1.28, 0.99]),
}
TAKEN = Deal(0, 2, 1.0, 1.2, 10_000.0, 2_000.0)


@pytest.mark.parametrize(
    ("mine", "theirs", "levels", "reason"),
    [
        (TAKEN, TAKEN._replace(units=20_000.0, pnl=4_000.0), OURS, "equal"),
        (TAKEN, TAKEN._replace(pnl=1_999.0), OURS, "costs"),
        (TAKEN, TAKEN._replace(entry_price=1.01), OURS, "entry_price"),
        (TAKEN, TAKEN._replace(entry_price=0.99), OURS, "signal_close"),
        (TAKEN, TAKEN._replace(exit_price=1.03), OURS, "signal_close"),
        (TAKEN._replace(exit=0), TAKEN, OURS, "entry_bar"),
        (TAKEN._replace(exit=3, exit_price=1.3), TAKEN._replace(exit=3), OURS, "gap"),
        (TAKEN, TAKEN._replace(exit_price=0.9), OURS, "order_in_bar"),
        (TAKEN, TAKEN._replace(exit_price=1.21), Levels(0.9, 1.21), "level_price"),
        (TAKEN, TAKEN._replace(exit=3, exit_price=1.26), Levels(0.8, 1.26), "level_bar"),
        (TAKEN, TAKEN._replace(exit=4, exit_price=1.05), Levels(0.8, 1.4), "level_bar"),
        # The same levels, and no bar that would explain it.
        (TAKEN, TAKEN._replace(exit=4, exit_price=1.05), OURS, "unexplained"),
        (TAKEN, TAKEN._replace(exit_price=1.05), OURS, "unexplained"),
    ],
)
def test_a_pair_is_of_the_class_that_explains_it(
    mine: Deal, theirs: Deal, levels: Levels, reason: str
) -> None:
    assert compared([mine], [theirs], {0: (OURS, levels)}, BARS) == {reason: 1}
    assert reason in REASONS


def test_an_entry_while_the_other_held_follows_from_what_was_before() -> None:
    long, short = TAKEN._replace(exit=4, exit_price=1.05), TAKEN
    again = Deal(3, 4, 1.3, 1.05, 10_000.0, -2_500.0)
    levels = {0: (OURS, Levels(0.8, 1.4)), 3: (OURS, OURS)}
    assert compared([short, again], [long], levels, BARS) == {"level_bar": 1, "held": 1}
    levels = {0: (Levels(0.8, 1.4), OURS)}
    assert compared([long], [short, again], levels, BARS) == {"level_bar": 1, "held": 1}


def test_an_entry_that_nothing_explains_is_said() -> None:
    assert compared([TAKEN], [], {}, BARS) == {"unexplained": 1}
    assert compared([], [TAKEN], {}, BARS) == {"unexplained": 1}
