"""The report's section on robustness: pictures and tables of each entry, from ``robustness.json``.

Owns what is shown where.  Measures nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from aiopt.report.document import Fact
from aiopt.report.robustness_charts import (
    Row,
    fan_plot,
    parts_plot,
    scenario_plot,
    spread_plot,
    stability_map,
    words,
)
from aiopt.report.svg import short
from aiopt.robustness.robustness_file import (
    EntryRobustness,
    GateResult,
    Neighbourhood,
    Part,
    Robustness,
)

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Year:
    """A row of the monthly table: what each month earned, None where the path has none of it."""

    year: str
    months: list[float | None]
    total: float


@dataclass(frozen=True)
class EntryView:
    """What is shown of one entry."""

    found: EntryRobustness
    outcome: str
    passed: bool | None
    scenarios: Markup
    fans: Markup
    texts: list[Fact]
    parts: Markup
    years: list[Year]
    neighbours: Markup
    shape: str
    map: Markup
    gates: list[tuple[str, GateResult]]


def entry_views(found: Robustness | None, unit: str) -> list[EntryView]:
    """Return what is shown of each entry; nothing where nothing was measured."""
    return [] if found is None else [_view(one, unit) for one in found.entries]


def _view(found: EntryRobustness, unit: str) -> EntryView:
    near = found.neighbourhood
    return EntryView(
        found=found,
        outcome=outcome(found),
        passed=gates_passed(found),
        scenarios=Markup(scenario_plot(found, unit)),
        fans=Markup(fan_plot(found, unit)),
        texts=[Fact(name=words(one.name), value=one.text) for one in found.scenarios],
        parts=Markup(
            parts_plot(
                [
                    ("Session, local business hours", found.sessions),
                    ("Trend before the hour", found.trends),
                    ("Volatility before the hour", found.volatilities),
                ],
                unit,
            )
        ),
        years=year_rows(found.months),
        neighbours=Markup("" if near is None else _neighbours(near)),
        shape=shape(found),
        map=Markup("" if near is None or near.map is None else stability_map(near.map)),
        gates=[(gate_name(gate.figure), gate) for gate in found.gates],
    )


def gate_name(figure: str) -> str:
    """Return the figure of a gate for people, e.g. ``"Spread: share profitable"``."""
    scenario, _, name = figure.partition(".")
    text = {"net_pnl": "median profit", "net_pnl_q05": "profit, 5 % quantile"}.get(name, name)
    return f"{words(scenario)}: {text.replace('_', ' ')}"


def year_rows(months: list[Part]) -> list[Year]:
    """Return the months of a path as a table of years."""
    known = {part.label: part.net_pnl for part in months}
    rows = []
    for year in sorted({label[:4] for label in known}):
        values = [known.get(f"{year}-{month:02d}") for month in range(1, 13)]
        rows.append(Year(year, values, sum(value for value in values if value is not None)))
    return rows


def gates_passed(found: EntryRobustness) -> bool | None:
    """Return whether an entry passes its required gates; None where none can be answered."""
    answered = any(gate.required and gate.passed is not None for gate in found.gates)
    return not found.failed if answered else None


def outcome(found: EntryRobustness) -> str:
    """Return in a sentence what the required gates say of an entry."""
    required, passed = [gate for gate in found.gates if gate.required], gates_passed(found)
    if not required:
        return "No gate is required."
    if passed is None:
        return "No required gate can be answered on this data."
    if passed:
        return f"Passes every required gate that this data can answer ({len(required)} are required)."
    failed = ", ".join(gate_name(gate.figure) for gate in found.failed)
    return f"Fails {len(found.failed)} of {len(required)} required gates: {failed}."


def _neighbours(near: Neighbourhood) -> str:
    rows = [
        Row(label, one.sharpe, one.own_sharpe, f"{one.share_profitable or 0:.0%} of {near.points} earn")
        for label, one in (("Train segments", near.train), ("Test segments", near.test))
        if one.sharpe is not None
    ]
    return spread_plot(rows, title="Sharpe ratio of the neighbours")


def shape(found: EntryRobustness) -> str:
    """Return in a sentence what the neighbourhood looks like; empty where there is none."""
    near = found.neighbourhood
    if near is None:
        return ""
    ratio = near.train.median_ratio
    if near.shape == "unknown" or ratio is None:
        return "The emitted parameters have no positive Sharpe ratio on the train segments."
    kind = "A plateau" if near.shape == "plateau" else "A spike"
    spread, own = near.train.sharpe, near.train.own_sharpe
    assert spread is not None  # there is a ratio
    assert own is not None
    figures = f"train Sharpe ratio of {short(spread.q50)}, the entry {short(own)}"
    return f"{kind}: the median neighbour has a {figures}."
