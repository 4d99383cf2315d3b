"""Where tick stores lie: the usual folder, and the stores below one that is none itself.

Owns the sentence that names the store meant.  Knows no manifest's content.
"""

from __future__ import annotations

from pathlib import Path

DEFAULT_TICKS = Path("data/ticks")
"""Tick stores lie here, one folder per symbol: ``data/ticks/EURUSD``."""

_DEPTH = 2
_NAMED = 3


def stores_below(folder: Path) -> list[Path]:
    """Return the tick stores at most two levels below a folder, in order of name.

    A store has a manifest and days; a run folder keeps a copy of the manifest alone and is none.
    """
    found = []
    for depth in range(1, _DEPTH + 1):
        for path in Path(folder).glob("/".join(["*"] * depth) + "/manifest.json"):
            if any(path.parent.glob("instrument=*")):
                found.append(path.parent)
    return sorted(found)


def hint_below(folder: Path) -> str:
    """Return `` Did you mean data/ticks/EURUSD?`` where stores lie below a folder; otherwise nothing.

    Returns
    -------
    str
        A sentence to append to a message, with a leading space.
    """
    stores = [str(path) for path in stores_below(folder)]
    if not stores:
        return ""
    if len(stores) == 1:
        return f" Did you mean {stores[0]}?"
    more = f" and {len(stores) - _NAMED} more" if len(stores) > _NAMED else ""
    return f" {len(stores)} stores lie below it: {', '.join(stores[:_NAMED])}{more}. Name one."
