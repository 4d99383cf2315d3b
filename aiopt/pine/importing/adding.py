"""Entries that a script adds to a position: how many, where a strategy of ours adds the same.

Owns that decision.  What a side's orders say was read before.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiopt.pine.importing.refusals import Findings
from aiopt.pine.importing.sides import SideRules

_NEAREST = "pyramiding=0"


def entries_at_once(sides: Mapping[str, SideRules], allowed: int, findings: Findings) -> int:
    """Return how many entries of one side a script holds at once; a refusal where a strategy cannot.

    Parameters
    ----------
    sides : mapping of str to SideRules
        Of long and short, read.
    allowed : int
        ``pyramiding`` of the declaration.
    findings : Findings
        Where refusals and notes go.
    """
    active = {name: side for name, side in sides.items() if side.entries}
    adding = {name: [name in guard.allowed for _, guard in side.entries] for name, side in active.items()}
    if allowed <= 1 or not any(one for entries in adding.values() for one in entries):
        return 1
    order = next(iter(active.values())).entries[0][0]

    def refuse(text: str, nearest: str = _NEAREST) -> int:
        findings.refuse(order.place, "pyramiding", f"pyramiding={allowed}", text, nearest)
        return 1

    if any(len(entries) > 1 for entries in adding.values()):
        return refuse("several entry orders of one side add to the position; a strategy has one")
    if not all(one for entries in adding.values() for one in entries):
        return refuse("one side adds to its position and the other does not; a strategy has one rule")
    for side in active.values():
        if side.exits or side.level is not None or side.target is not None:
            text = "its exit holds one stop and target for all entries; a strategy gives each its own"
            return refuse(text, "closes by signals alone, or pyramiding=0")
        if side.time is not None or side.risk is not None:
            text = "entries that are added stand beside no time stop and no size by risk here yet"
            return refuse(text)
    if any(side.closes for side in active.values()):
        text = (
            "where an entry and a close are asked for on one bar the script orders both, the strategy closes"
        )
        findings.note(order.place, text)
    return allowed
