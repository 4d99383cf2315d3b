"""What an analysis stage leaves in a run folder: ``analyses.json``.  Owns the records and the re-ordering.

Nothing here changes a score.  `opinions` orders entries by how far the analyst agreed with their trades, for
people to look at beside the ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from aiopt.analyst.analysis import Analysis, AnalysisResult
from aiopt.series import Symbol


class ReadChart(msgspec.Struct, frozen=True, kw_only=True):
    """One chart and its reading.

    Attributes
    ----------
    name : str
        Unique in the run; front of the files' names.
    kind : {"market", "trade"}
        The end of the span, or the bars before an entry of a trade.
    entry : str
        Name of the ranked entry whose trade it is; empty for a market.
    timeframe : str
        Bar length.
    first_ts_ns, last_ts_ns : int
        Opening times of the first and last bar that was read.  Of a trade, the last one closed before it.
    seen : str
        Picture of those bars, relative to the run folder; empty where nobody was shown one.
    picture : str
        Picture for the report: of a trade with the bars after it.
    side : str
        Of the trade.
    entry_ts_ns : int or None
        Time of the trade.
    pnl : float or None
        Of the trade, quote currency, after costs.
    request_hash : str
        Identifies bars and settings, so that an unchanged reading is not asked for again.
    result : AnalysisResult
        The reading.
    instrument : str or unset
        What the bars are of, in a run of several markets.
    """

    name: str
    kind: Literal["market", "trade"]
    timeframe: str
    first_ts_ns: int
    last_ts_ns: int
    picture: str
    request_hash: str
    result: AnalysisResult
    entry: str = ""
    seen: str = ""
    side: str = ""
    entry_ts_ns: int | None = None
    pnl: float | None = None
    instrument: Symbol = msgspec.UNSET


class EntryOpinion(msgspec.Struct, frozen=True, kw_only=True):
    """How far the analyst agreed with an entry's trades.

    Attributes
    ----------
    entry : str
        Name of the entry.
    rank : int
        Its place in the ranking, which stands.
    analyst_rank : int
        Its place by `agreement`, ties by `rank`.
    agreement : float or None
        Mean over the trades read of ``+confidence`` where the bias is the trade's side, ``-confidence``
        where it is the other, 0 where neutral; in [-1, 1].  None without trades.
    trades : int
        Trades read.
    """

    entry: str
    rank: int
    analyst_rank: int
    agreement: float | None
    trades: int


class RunAnalyses(msgspec.Struct, frozen=True, kw_only=True):
    """Content of ``analyses.json``.

    Attributes
    ----------
    reader : str
        ``"rules"``, or the models asked.
    charts : tuple of ReadChart
        Markets, then trades by rank and time.
    opinions : tuple of EntryOpinion
        By rank.
    """

    reader: str
    charts: tuple[ReadChart, ...]
    opinions: tuple[EntryOpinion, ...] = ()


def signed_confidence(analysis: Analysis, side: str) -> float:
    """Return ``+confidence`` if the reading favours `side`, ``-confidence`` the other, 0 if neutral."""
    if analysis.bias == "neutral":
        return 0.0
    return analysis.confidence if analysis.bias == side else -analysis.confidence


def opinions(charts: Sequence[ReadChart], entries: Sequence[tuple[int, str]]) -> tuple[EntryOpinion, ...]:
    """Return how far the readings agreed with each entry's trades.

    Parameters
    ----------
    charts : sequence of ReadChart
        All of a run.
    entries : sequence of (rank, name)
        The ranking.

    Returns
    -------
    tuple of EntryOpinion
        By rank.  Entries without trades come last in `analyst_rank`.
    """
    means: dict[str, tuple[float | None, int]] = {}
    for _, name in entries:
        values = [signed_confidence(c.result.analysis, c.side) for c in charts if c.entry == name]
        means[name] = (round(sum(values) / len(values), 6) if values else None, len(values))
    order = sorted(entries, key=lambda one: (means[one[1]][0] is None, -(means[one[1]][0] or 0.0), one[0]))
    places = {name: place for place, (_, name) in enumerate(order, start=1)}
    return tuple(
        EntryOpinion(
            entry=name,
            rank=rank,
            analyst_rank=places[name],
            agreement=means[name][0],
            trades=means[name][1],
        )
        for rank, name in sorted(entries)
    )
