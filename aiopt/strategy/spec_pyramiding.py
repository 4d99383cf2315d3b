"""How many entries of one side a strategy may hold at once: the field, and what it must keep.

Owns what `pyramiding` means and what it cannot stand beside; who adds entries is the engine's business.

Rules
-----
* While a position is open and fewer entries of it are, an entry signal of its side adds another one: an entry
  like the first, of its own signal bar's size, stop and target, filled at the next open.
* Every entry is a trade of its own.  Its stop and its target close it alone, whichever was entered first (on
  TradingView ``close_entries_rule="ANY"``); an exit signal, a reversal and the end of a segment close all.
* What closes the position at a close comes first: nothing is added there.
* Entries are counted at the close of the signal's bar.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from aiopt.errors import SpecError

if TYPE_CHECKING:
    from aiopt.strategy.spec import StrategySpec

MOST_ENTRIES = 10
"""Entries of one side that may be open at once."""

_NEAREST = {
    "trailing_stop": "a stop that follows one entry alone is not known yet. Give a stop_loss",
    "break_even": "a stop that moves for one entry alone is not known yet. Give a stop_loss",
    "time_stop": "the age of one entry alone is not followed yet. Give exit conditions",
    "targets": "entries that are cut into parts cannot be added to yet. Give a take_profit",
    "limits": "whether an entry that is added counts there is not decided. Give a session",
}
"""Fields it cannot stand beside yet: why, and the nearest form."""


def entries_of(spec: StrategySpec) -> int:
    """Return how many entries of one side a strategy may hold at once; 1 where it names none."""
    return spec.pyramiding if isinstance(spec.pyramiding, int) else 1


def check_pyramiding(spec: StrategySpec, *, fail: Callable[[str, str], SpecError]) -> None:
    """Check the number of entries and what stands beside it.

    Parameters
    ----------
    spec : StrategySpec
        The strategy.
    fail : callable
        Makes the error: place and text.

    Raises
    ------
    SpecError
        Names the strategy, the field, the rule, the value and the remedy.
    """
    most = entries_of(spec)
    if not 1 <= most <= MOST_ENTRIES:
        text = f"it must be a whole number from 1 to {MOST_ENTRIES}, but got {most}. Choose one, or leave it"
        raise fail("pyramiding", f"{text} out for 1.")
    if most == 1:
        return
    for field, text in _NEAREST.items():
        value = getattr(spec, field)
        if value is not None and not isinstance(value, msgspec.UnsetType):
            raise fail("pyramiding", f"it cannot stand beside {field}: {text} instead, or remove pyramiding.")
