"""What was tried on the same data before: trials that count beside a sweep's own, and holdouts seen already.

Owns the records a ranking keeps of it and the sentences that say it, the same ones on every page.  Where they
come from is the ledger's matter (`aiopt.ledger`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class EarlierTrials(msgspec.Struct, frozen=True, kw_only=True):
    """Distinct trials of others on the same market and an overlapping span, as the ledger counts them.

    Attributes
    ----------
    trials : int
        Those that are not among the sweep's own.
    runs, sweeps, backtests : int
        How many runs, sweeps of a notebook and single backtests they came from.
    """

    trials: int
    runs: int
    sweeps: int
    backtests: int


class EarlierOpenings(msgspec.Struct, frozen=True, kw_only=True):
    """Who saw a holdout before.

    Attributes
    ----------
    instrument : str
        The market.
    times : int
        Runs and sweeps that opened an overlapping holdout of this market; at least 1 unless `trials` is.
    first, first_at : str
        Who opened it first, and when (ISO 8601 UTC); empty where `times` is 0.
    trials : int
        Distinct earlier trials, not the sweep's own, whose development span reaches into this holdout.
    """

    instrument: str
    times: int
    first: str
    first_at: str
    trials: int


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger knows of a sweep's data: unset and empty where nothing was tried on it before."""

    trials: EarlierTrials | msgspec.UnsetType = msgspec.UNSET
    holdout: tuple[EarlierOpenings, ...] = ()

    @property
    def count(self) -> int:
        """Trials that count beside the sweep's own."""
        return self.trials.trials if self.trials else 0


NOTHING_EARLIER = Earlier()


def earlier_text(found: EarlierTrials) -> str:
    """Return how many earlier trials count, and of what.

    Examples
    --------
    >>> earlier_text(EarlierTrials(trials=3000, runs=2, sweeps=0, backtests=1))
    '3,000 earlier trials of 2 runs and 1 backtest on overlapping data count too'
    """
    named = [
        _number(count, one)
        for count, one in ((found.runs, "run"), (found.sweeps, "sweep"), (found.backtests, "backtest"))
        if count
    ]
    origin = " and ".join(filter(None, [", ".join(named[:-1]), named[-1]])) if named else "others"
    verb = "counts" if found.trials == 1 else "count"
    return f"{_number(found.trials, 'earlier trial')} of {origin} on overlapping data {verb} too"


def said_of(found: Earlier) -> list[str]:
    """Return what has to be said of it before a sweep starts; empty where nothing was tried before."""
    return ([earlier_text(found.trials)] if found.trials else []) + opening_lines(found.holdout)


def opening_lines(openings: Sequence[EarlierOpenings]) -> list[str]:
    """Return one sentence for each market whose holdout was no longer unseen."""
    several = len(openings) > 1
    lines = []
    for found in openings:
        holdout = f"The holdout of {found.instrument}" if several else "This holdout"
        seen = f"{_number(found.trials, 'earlier trial')} had it in their development span"
        if found.times:
            times = "once" if found.times == 1 else f"{found.times:,} times"
            day = found.first_at[:10]
            text = f"{holdout} was opened {times} before, first by {found.first} on {day}"
            text += f", and {seen}" if found.trials else ""
        else:
            text = f"{holdout} was not unseen: {seen}"
        lines.append(f"{text}; its figures are no longer those of data that nobody had seen.")
    return lines


def _number(count: int, one: str) -> str:
    return f"{count:,} {one}{'' if count == 1 else 's'}"
