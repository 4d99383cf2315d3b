"""What a verification found, as others read it: the records of a result and of a run's ``verification.json``.

Owns the records only.
"""

from __future__ import annotations

from typing import Any

import msgspec


class ViewTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A closed trade as every view tells it.

    Attributes
    ----------
    entry_bar, exit_bar : int
        0-based, in the bars compared.
    side : str
        ``"long"`` or ``"short"``.
    entry_price, exit_price : float
        On the price grid.
    size : float
        Units, to six decimals.
    reason : str
        As in `aiopt.trades.Trade.exit_reason`.
    """

    entry_bar: int
    exit_bar: int
    side: str
    entry_price: float
    exit_price: float
    size: float
    reason: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing on which two views disagree.

    Attributes
    ----------
    what : str
        In words: which trade or signal, which views.
    bar : int
        0-based, in the bars compared.
    ts_ns : int
        When that bar opens, UTC.
    views : dict of str to dict
        Per view, what it says there.
    bars : list of dict
        The bars around it: ``bar``, ``ts_ns``, ``open``, ``high``, ``low``, ``close``.
    """

    what: str
    bar: int
    ts_ns: int
    views: dict[str, Any]
    bars: list[dict[str, Any]]


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What came of comparing a script in a Pine engine with arrays and NautilusTrader.

    Attributes
    ----------
    name, spec_hash : str
        Of the strategy.
    script_hash : str
        SHA-256 of the script without its comment lines.
    instrument, timeframe : str
        Of the bars.
    bars : int
        How many were compared.
    first_ts_ns, last_ts_ns : int
        Open of the first and the last of them, UTC.
    data_hash : str
        Of the bars they were taken from.
    engine, node : str
        The Pine engine and its Node, with versions.
    trades, open_trades : int
        Closed trades of the backtest, and 1 where one was open at the end.
    signals : int
        Bars on which the script's signals were compared; 0 where it plots none.
    excused : int
        Exits in bars that open past one leg and reach the other, which the engine is known to read otherwise.
    notes : list of str
        What could not be compared, and why.
    difference : Difference or None
        The first difference; None: the views agree.
    """

    name: str
    spec_hash: str
    script_hash: str
    instrument: str
    timeframe: str
    bars: int
    first_ts_ns: int
    last_ts_ns: int
    data_hash: str
    engine: str
    node: str
    trades: int
    open_trades: int
    signals: int
    excused: int = 0
    notes: list[str] = []
    difference: Difference | None = None

    @property
    def agrees(self) -> bool:
        """No view differs, and there was something to compare."""
        return self.difference is None and self.trades > 0


class RunVerification(msgspec.Struct, frozen=True, kw_only=True):
    """The file ``verification.json`` of a run.

    Attributes
    ----------
    engine : str or None
        The Pine engine; None where the entries were not verified.
    reason : str
        Why they were not; empty where they were.
    entries : dict of str to Verified
        By the name of the entry.
    failures : dict of str to str
        Entries whose script could not be run, and why.
    """

    engine: str | None = None
    reason: str = ""
    entries: dict[str, Verified] = {}
    failures: dict[str, str] = {}

    def says(self, name: str) -> bool | None:
        """Return whether an entry's script agrees; None where that was not found out."""
        one = self.entries.get(name)
        if one is None:
            return False if name in self.failures else None
        return one.agrees if one.trades or one.difference is not None else None

    @property
    def broken(self) -> list[str]:
        """Names of entries whose script must not be used: it trades otherwise, or cannot be run."""
        return [name for name, one in self.entries.items() if one.difference is not None] + list(
            self.failures
        )
