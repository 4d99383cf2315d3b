"""What samplers that learn found on their train windows, for the page: in-sample, and said to be.

Owns words, table and picture of ``search.json``.  Computes no figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import msgspec
from markupsafe import Markup

from aiopt.report.svg import Canvas, Linear, padded, short
from aiopt.runs import SEARCH, read_json
from aiopt.search.record import GroupSearch, RunSearches

MOST_FRONT = 12
"""Points of a front on the page; ``search.json`` has all."""


class SearchLine(msgspec.Struct, frozen=True, kw_only=True):
    """One search as a row of a table: counts, why it ended, its best after the first and last generation."""

    window: str
    trials: int
    generations: int
    first: list[str]
    best: list[str]
    stopped: str


class FrontLine(msgspec.Struct, frozen=True, kw_only=True):
    """A point of a Pareto front: its trial, objectives and parameters."""

    trial_id: str
    values: list[str]
    params: str


class GroupLines(msgspec.Struct, frozen=True, kw_only=True):
    """The searches of one group; the front is the refit's, of the parameters that are emitted."""

    group: str
    lines: list[SearchLine]
    front: list[FrontLine]
    front_total: int


class SearchesView(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows of ``search.json``.

    Attributes
    ----------
    sampler : str
        What proposed the points.
    objectives : list of str
        What was sought.
    trials, searches : int
        All points tried, in how many searches.
    groups : list of GroupLines
        By name.
    gains : list of tuple
        Per group the best first objective after each generation of each search, for the picture.
    """

    sampler: str
    objectives: list[str]
    trials: int
    searches: int
    groups: list[GroupLines]
    gains: list[tuple[str, list[list[float | None]]]]


def searches_view(folder: Path) -> SearchesView | None:
    """Return what a run's searches found; None where no sampler learned or the searches have not ended.

    Raises
    ------
    RunFileError
        If the file is damaged.
    """
    path = folder / SEARCH
    if not path.is_file():
        return None
    found = read_json(path, RunSearches)
    if not found.finished or not found.searches:
        return None
    grouped = [(name, list(members)) for name, members in groupby(found.searches, key=lambda one: one.group)]
    return SearchesView(
        sampler=found.sampler,
        objectives=list(found.objectives),
        trials=sum(one.found.trials for one in found.searches),
        searches=len(found.searches),
        groups=[_group(name, members) for name, members in grouped],
        gains=[
            (name, [[None if value is None else value[0] for value in one.found.best] for one in members])
            for name, members in grouped
        ],
    )


def _group(name: str, members: Sequence[GroupSearch]) -> GroupLines:
    refit = members[-1].found
    return GroupLines(
        group=name,
        lines=[_line(one, is_refit=one is members[-1]) for one in members],
        front=[
            FrontLine(
                trial_id=one.trial_id,
                values=[short(value) for value in one.values],
                params=", ".join(f"{key} {value}" for key, value in one.params.items()),
            )
            for one in refit.front[:MOST_FRONT]
        ],
        front_total=len(refit.front),
    )


def _line(one: GroupSearch, *, is_refit: bool) -> SearchLine:
    best = [value for value in one.found.best if value is not None]
    return SearchLine(
        window="Refit" if is_refit else f"Fold {one.search + 1}",
        trials=one.found.trials,
        generations=one.found.generations,
        first=[short(value) for value in best[0]] if best else [],
        best=[short(value) for value in best[-1]] if best else [],
        stopped=one.found.stopped,
    )


def search_pictures(view: SearchesView) -> list[Markup]:
    """Return, per group, the picture of its searches."""
    return [Markup(_gain_chart(name, lines, view.objectives[0])) for name, lines in view.gains]


def _gain_chart(name: str, lines: Sequence[Sequence[float | None]], objective: str) -> str:
    """Draw the best of the first objective after each generation, one line per search, the refit's thick."""
    known = [value for line in lines for value in line if value is not None]
    if not known:
        return ""
    canvas = Canvas(1080, 230, label=f"Best {objective} in-sample per generation, {name}", minimum=560)
    most = max(len(line) for line in lines)
    x = Linear(1.0, float(max(most, 2)), 62, 1060)
    y = Linear(*padded(known), 180, 14)
    for tick in y.ticks(5):
        canvas.line(62, y(tick), 1066, y(tick), "grid")
        canvas.text(54, y(tick) + 4, short(tick), "tick", anchor="end")
    for tick in x.ticks(8):
        if tick == int(tick):
            canvas.text(x(tick), 198, str(int(tick)), "tick", anchor="middle")
    for number, line in enumerate(lines):
        points = [(x(place), y(value)) for place, value in enumerate(line, start=1) if value is not None]
        refit = number == len(lines) - 1
        canvas.path(points, "curve oos" if refit else "curve emitted")
        where = "refit" if refit else f"fold {number + 1}"
        last = [value for value in line if value is not None]
        if points:
            tip = f"{where}: {short(last[-1])}"
            canvas.circle(*points[-1], 4, "dot pathdot", tip=tip)
    canvas.text(561, 222, f"generation (best {objective}, in-sample)", "label", anchor="middle")
    return canvas.render()
