"""How often a reader may be right on shuffled charts for good reason: their bars still show the answer.

Shuffled bars keep the net move and every bar's range.  Whoever reads a trend, or a bias from it, is right on
them without any leak.  Owns how much of being right that explains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aiopt.analyst.scoring import Share, wilson
from aiopt.analyst.shown import label_of
from aiopt.dataset.judging.asking import Asked
from aiopt.dataset.tasks.task_kinds import TASKS, Chart


def shuffled_explained(task: str, shuffled: Sequence[Asked]) -> Share | None:
    """Return the share of shuffled charts on which being right is explained.

    Of a definition: those whose own bars have the upright chart's answer.  Of any other task: those whose
    answer is the most frequent one among the charts of their net move (up, down or sideways).

    Parameters
    ----------
    task : str
        Key of `TASKS`.
    shuffled : sequence of Asked
        Its shuffled charts, with the truth of the upright ones.

    Returns
    -------
    Share or None
        None where there are no charts, or answers have no classes.
    """
    kind = TASKS[task]
    truths = [kind.choice(one.truth) for one in shuffled]
    if not truths or None in truths:
        return None
    if kind.origin == "definition":
        shown = [kind.answer(Chart(bars=one.bars)) for one in shuffled]
        own = [None if one is None else kind.choice(one) for one in shown]
        return _share([found == truth for found, truth in zip(own, truths, strict=True)])
    moves = [label_of(one.bars, "trend") for one in shuffled]
    counts: dict[str | None, Counter[str | None]] = {}
    for move, truth in zip(moves, truths, strict=True):
        counts.setdefault(move, Counter())[truth] += 1
    best = {move: found.most_common(1)[0][0] for move, found in counts.items()}
    return _share([best[move] == truth for move, truth in zip(moves, truths, strict=True)])


def _share(hits: Sequence[bool]) -> Share:
    return wilson(sum(hits), len(hits))
