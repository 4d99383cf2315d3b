"""The analyst's part of the report: readings, agreement with trades, proposals.  Owns its wording only."""

from __future__ import annotations

from typing import Any

from aiopt.analyst.record import ReadChart
from aiopt.report.document import Analyst, Fact, Opinion, Reading
from aiopt.runs import PROPOSALS, RunFolder


def analyst_view(run: RunFolder) -> Analyst | None:
    """Return what the analyst of a run read and proposed; None where it was not asked.

    Raises
    ------
    RunFileError
        If a file is there but damaged.
    """
    found = run.analyses
    proposals = run.read_mapping(PROPOSALS)
    if found is None and proposals is None:
        return None
    opinions = () if found is None else found.opinions
    ranks = {opinion.entry: opinion.rank for opinion in opinions}
    readings = [] if found is None else [_reading(chart, ranks.get(chart.entry, 0)) for chart in found.charts]
    return Analyst(
        reader="" if found is None else found.reader,
        readings=readings,
        opinions=[
            Opinion(
                rank=opinion.rank,
                entry=opinion.entry,
                analyst_rank=opinion.analyst_rank,
                agreement=opinion.agreement,
                trades=opinion.trades,
            )
            for opinion in opinions
        ],
        fallbacks=sum(bool(reading.fallback_reason) for reading in readings),
        proposals=[] if proposals is None else _proposals(proposals),
    )


def _reading(chart: ReadChart, rank: int) -> Reading:
    analysis = chart.result.analysis
    return Reading(
        name=chart.name,
        rank=rank,
        timeframe=chart.timeframe,
        instrument=chart.instrument,
        last_ts_ns=chart.last_ts_ns,
        picture=chart.picture,
        bias=analysis.bias,
        trend=analysis.regime.trend,
        volatility=analysis.regime.volatility,
        confidence=analysis.confidence,
        patterns=list(dict.fromkeys(pattern.kind.replace("_", " ") for pattern in analysis.patterns)),
        rationale=analysis.rationale,
        reader=analysis.model_id,
        fallback_reason=analysis.fallback_reason,
        side=chart.side,
        pnl=chart.pnl,
    )


def _proposals(document: dict[str, Any]) -> list[Fact]:
    facts = []
    for one in document.get("strategies", []):
        name = str(one.get("spec", {}).get("name", "?"))
        facts.append(
            Fact(name=name, value=str(one.get("rationale", "")), note=f"by {one.get('model_id', '?')}")
        )
    facts += [Fact(name="refused", value=str(reason)) for reason in document.get("refusals", [])]
    return facts
