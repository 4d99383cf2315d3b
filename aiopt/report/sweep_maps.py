"""All trials of a run as maps: what profit costs in drawdown and turnover, and which parameters earned.

Owns which trials are drawn, a bounded number whatever the sweep's size.  Nothing here ranks anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.report.document import Entry
from aiopt.report.maps_document import LEVELS, Axis, Line, Parameters, SweepMaps, TradeOff
from aiopt.report.sweep import Trials

MOST_TRADE_OFFS = 1200
"""Trials of the trade-off picture; the front and the entries are always among them."""

MOST_LINES = 240
"""Trials of a group in the picture of its parameters."""

MOST_GROUPS = 3
"""Groups whose parameters are drawn: those of the best entries, then the others by name."""


def sweep_maps(trials: Trials, entries: Sequence[Entry]) -> SweepMaps:
    """Return the maps of a run's trials.

    Parameters
    ----------
    trials : Trials
        Every trial of the run.
    entries : sequence of Entry
        Ranked, best first.
    """
    ranks = {entry.trial_id: entry.rank for entry in reversed(entries)}
    places = np.flatnonzero(trials.ok)
    places = places[trials.units[places] > 0]
    net, drawdown, units = trials.net[places], trials.drawdown[places], trials.units[places]
    front = pareto_front(net, drawdown, units)
    kept = set(range(0, len(places), max(1, math.ceil(len(places) / MOST_TRADE_OFFS))))
    kept |= set(np.flatnonzero(front)[:MOST_TRADE_OFFS].tolist())
    kept |= {i for i, place in enumerate(places) if trials.rows[place].trial_id in ranks}
    return SweepMaps(
        trade_offs=[
            TradeOff(
                trial_id=trials.rows[places[i]].trial_id,
                net_pnl=float(net[i]),
                drawdown=float(drawdown[i]),
                units=float(units[i]),
                front=bool(front[i]),
                rank=ranks.get(trials.rows[places[i]].trial_id),
            )
            for i in sorted(kept)
        ],
        trade_offs_total=len(places),
        front=int(front.sum()),
        parameters=_parameters(trials, entries, ranks),
    )


def pareto_front(
    net: NDArray[np.float64], drawdown: NDArray[np.float64], units: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which trials no other one beats in profit, drawdown and turnover at once.

    Of trials that are equal in all three the first is on the front.
    """
    order = np.lexsort((units, drawdown, -net))
    front = np.zeros(len(net), dtype=bool)
    best = np.empty((0, 2))
    for i in order:
        own = (drawdown[i], units[i])
        # What came before earns no less.
        if not ((best[:, 0] <= own[0]) & (best[:, 1] <= own[1])).any():
            front[i] = True
            best = np.vstack([best[~((best[:, 0] >= own[0]) & (best[:, 1] >= own[1]))], own])
    return front


def _parameters(trials: Trials, entries: Sequence[Entry], ranks: dict[str, int]) -> list[Parameters]:
    members: dict[str, list[int]] = {}
    for place, row in enumerate(trials.rows):
        if row.ok:
            members.setdefault(row.group, []).append(place)
    by_id = {row.trial_id: row.group for row in trials.rows}
    first = list(dict.fromkeys(by_id[entry.trial_id] for entry in entries if entry.trial_id in by_id))
    chosen = [*first, *(name for name in sorted(members) if name not in first)][:MOST_GROUPS]
    return [found for name in chosen if (found := _group(name, members.get(name, []), trials, ranks))]


def _group(name: str, places: list[int], trials: Trials, ranks: dict[str, int]) -> Parameters | None:
    axes = _axes([trials.params[place] for place in places])
    if len(axes) < 2:
        return None
    sharpe = trials.outside[places]
    scale = float(np.nanmax(np.abs(sharpe), initial=0.0)) or 1.0
    # Evenly over the results, so that best, worst and middle are all there.
    order = np.argsort(np.where(np.isfinite(sharpe), sharpe, -np.inf), kind="stable")
    kept = set(order[:: max(1, math.ceil(len(order) / MOST_LINES))].tolist()) | {int(order[-1])}
    kept |= {i for i, place in enumerate(places) if trials.rows[place].trial_id in ranks}
    lines = []
    for i in sorted(kept):
        row, value = trials.rows[places[i]], float(sharpe[i])
        known = math.isfinite(value)
        lines.append(
            Line(
                trial_id=row.trial_id,
                places=[_place(axis, trials.params[places[i]].get(axis.name)) for axis in axes],
                sharpe=value if known else None,
                level=round(LEVELS * value / scale) if known else 0,
                rank=ranks.get(row.trial_id),
            )
        )
    return Parameters(group=name, trials=len(places), axes=axes, lines=lines)


def _axes(params: Sequence[dict[str, Any]]) -> list[Axis]:
    """Return the parameters that vary, in the order of the first trial."""
    names = list(dict.fromkeys(name for one in params for name in one))
    axes = []
    for name in names:
        values = [one.get(name) for one in params]
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(values) and min(numbers) < max(numbers):
            axes.append(Axis(name=name, low=float(min(numbers)), high=float(max(numbers))))
        elif len(numbers) < len(values) and len(choices := sorted({str(v) for v in values})) > 1:
            axes.append(Axis(name=name, low=0.0, high=len(choices) - 1.0, choices=choices))
    return axes


def _place(axis: Axis, value: Any) -> float:
    number = axis.choices.index(str(value)) if axis.choices else float(value)
    return round((number - axis.low) / (axis.high - axis.low), 4)
