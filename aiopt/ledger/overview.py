"""The ledger as a table: who tried how much on what, and which holdouts were opened.  Prints nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from aiopt.ledger.ledger import Ledger
from aiopt.ledger.records import Kind, Opening, Span, Tried
from aiopt.utc import time_text

_SYNTHETIC = " (generated)"


class AuthorRow(msgspec.Struct, frozen=True, kw_only=True):
    """Trials of one author on one span.

    Attributes
    ----------
    at : str
        When they were last recorded, ISO 8601 UTC.
    kind, name, identity : str
        Who.
    market : str
        Instrument; generated data is marked.
    span : str
        First and last day of the data.
    start_ns, holdout_start_ns, stop_ns : int
        The same, to the bar.
    trials, failed : int
        All, and those without a result.
    fresh : int
        Those that nobody had made before.
    """

    at: str
    kind: Kind
    name: str
    identity: str
    market: str
    span: str
    start_ns: int
    holdout_start_ns: int
    stop_ns: int
    trials: int
    failed: int
    fresh: int


class OpeningRow(msgspec.Struct, frozen=True, kw_only=True):
    """One opened holdout; fields as in `AuthorRow`, the span being the holdout's."""

    at: str
    kind: Kind
    name: str
    identity: str
    market: str
    span: str
    start_ns: int
    stop_ns: int


class MarketRow(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried on a market in all, whatever the span."""

    market: str
    distinct: int
    openings: int


class LedgerOverview(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger, oldest first."""

    authors: list[AuthorRow]
    markets: list[MarketRow]
    openings: list[OpeningRow]

    def document(self) -> dict[str, Any]:
        """Return it as plain data."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def overview(ledger: Ledger, instrument: str | None = None) -> LedgerOverview:
    """Return what the ledger holds, of one instrument or of all.

    Parameters
    ----------
    ledger : Ledger
        Read anew.
    instrument : str, optional
        Symbol; others are left out.

    Raises
    ------
    DataError
        If the ledger cannot be read.
    """
    lines = [one for one in ledger.lines() if instrument is None or one.span.instrument == instrument]
    authors: dict[tuple[str, Span], AuthorRow] = {}
    openings = []
    distinct: dict[str, int] = {}
    opened: dict[str, int] = {}
    for line in lines:
        market = line.span.instrument + (_SYNTHETIC if line.span.synthetic else "")
        distinct.setdefault(market, 0)
        if isinstance(line, Opening):
            opened[market] = opened.get(market, 0) + 1
            openings.append(_opening(line, market))
            continue
        # Each line has what no line before had.
        distinct[market] += line.found().size
        place = (line.author.identity, line.span)
        authors[place] = _author(line, market, authors.get(place))
    return LedgerOverview(
        authors=list(authors.values()),
        markets=[
            MarketRow(market=market, distinct=count, openings=opened.get(market, 0))
            for market, count in distinct.items()
        ],
        openings=openings,
    )


def _author(line: Tried, market: str, before: AuthorRow | None) -> AuthorRow:
    return AuthorRow(
        at=line.at,
        kind=line.author.kind,
        name=line.author.name,
        identity=line.author.identity,
        market=market,
        span=line.span.text,
        start_ns=line.span.start_ns,
        holdout_start_ns=line.span.holdout_start_ns,
        stop_ns=line.span.stop_ns,
        trials=max(line.trials, 0 if before is None else before.trials),
        failed=max(line.failed, 0 if before is None else before.failed),
        fresh=line.found().size + (0 if before is None else before.fresh),
    )


def _opening(line: Opening, market: str) -> OpeningRow:
    start, stop = line.span.holdout_start_ns, line.span.stop_ns
    return OpeningRow(
        at=line.at,
        kind=line.author.kind,
        name=line.author.name,
        identity=line.author.identity,
        market=market,
        span=f"{time_text(start)[:10]} to {time_text(stop - 1)[:10]}",
        start_ns=start,
        stop_ns=stop,
    )
