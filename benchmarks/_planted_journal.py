"""A journal of a large sweep without running it: what every step after the sweep works on.

Owns the rows: each point of the sweep has its own identity, and the figures of one of a few trials that the
screen really ran, its profits moved by whole days, so that no two trials are alike.  Their sizes, the share
of hours without a profit and the digits are those of a sweep; nothing about them says anything of a market.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json
from aiopt.ranking.journal import Journal
from aiopt.ranking.packing import pack_row
from aiopt.ranking.threads import in_order
from aiopt.ranking.trials import TrialRow
from aiopt.sweep.local import run_points
from aiopt.sweep.trial import TrialContext, TrialPoint, failed_row

TEMPLATES = 24
"""Trials of a group that are really run."""

HOURS_PER_DAY = 24

_FAILED_EVERY = 997
_AT_ONCE = 256


def plant_journal(
    path: Path,
    points: Sequence[TrialPoint],
    bars: Mapping[str, BarSet],
    context: TrialContext,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write a row of every point, in an order as they would arrive."""
    templates = _templates(points, bars, context)
    journal = Journal(path, context.plan)
    order = np.random.default_rng(context.seed).permutation(len(points)).tolist()
    # Packing lets other threads run.
    packed = in_order(lambda number: pack_row(_row(number, points[number], templates, context)), order)
    done = 0
    while batch := list(itertools.islice(packed, _AT_ONCE)):
        journal.append(batch)
        done += len(batch)
        progress(done)
    journal.close()


def _templates(
    points: Sequence[TrialPoint], bars: Mapping[str, BarSet], context: TrialContext
) -> dict[str, list[TrialRow]]:
    """Return the rows of the first points of every group, really run."""
    members: dict[str, list[TrialPoint]] = {}
    for point in points:
        own = members.setdefault(f"{point.family}@{point.series}", [])
        if len(own) < TEMPLATES:
            own.append(point)
    found: dict[str, list[TrialRow]] = {}
    for row in run_points(itertools.chain(*members.values()), bars, context):
        if not row.ok:
            raise AssertionError(f"every template must succeed, but: {row.error}")
        found.setdefault(row.group, []).append(row)
    return found


def _row(
    number: int, point: TrialPoint, templates: Mapping[str, Sequence[TrialRow]], context: TrialContext
) -> TrialRow:
    if number % _FAILED_EVERY == 0:
        return failed_row(point, context, f"BacktestError: planted failure {number}")
    own = templates[f"{point.family}@{point.series}"]
    template, days = own[number % len(own)], number // len(own)
    return msgspec.structs.replace(
        template,
        trial_id=point.trial_id,
        params_json=canonical_json(point.params).decode(),
        spec_json=point.spec.to_json(),
        spec_hash=point.spec.spec_hash,
        pnl=np.roll(np.asarray(template.pnl), HOURS_PER_DAY * days),
        holdout_pnl=np.roll(np.asarray(template.holdout_pnl), HOURS_PER_DAY * days),
    )
