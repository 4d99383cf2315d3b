"""How a series of bars is named in a run: by its timeframe, and by its instrument where a run has several.

Owns that one rule.  A run of one market names no instrument in its trials, so its files are what they were
before there were runs of several.
"""

from __future__ import annotations

import msgspec

Symbol = str | msgspec.UnsetType
"""An instrument's symbol in a run of several markets; unset, and then in no file, in a run of one."""


def series_name(instrument: Symbol, timeframe: str) -> str:
    """Return the key of a series of bars, and the last part of its groups' names.

    Examples
    --------
    >>> series_name("EURUSD", "1h"), series_name(msgspec.UNSET, "1h")
    ('EURUSD@1h', '1h')
    """
    return f"{instrument}@{timeframe}" if instrument else timeframe
