"""Where the folds' choices stand among the trials of their group.

Owns the table of profits per segment of a ``trials.parquet``.  Chooses nothing, reads no holdout.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.ranking_file import Entry
from aiopt.robustness.robustness_file import FoldRank

_DECIMALS = 4


class TrialProfits:
    """The profit of every trial of a sweep on every development segment.

    Parameters
    ----------
    groups : dict of str to (list of str, ndarray of shape (n_trials, n_segments))
        Ids and profits of the trials that did not fail, by group.
    """

    def __init__(self, groups: dict[str, tuple[list[str], NDArray[np.float64]]]) -> None:
        self._groups = groups

    @classmethod
    def read(cls, path: Path) -> TrialProfits:
        """Read a ``trials.parquet``; only the columns needed."""
        frame = (
            pl.scan_parquet(path)
            .filter(pl.col("status") == "ok")
            .select("trial_id", "group", "segment_gross_profit", "segment_gross_loss")
            .collect()
        )
        groups = {}
        for (name,), part in frame.partition_by("group", as_dict=True).items():
            won, lost = (
                np.array(part[f"segment_gross_{side}"].to_list(), dtype=np.float64)
                for side in ("profit", "loss")
            )
            groups[str(name)] = (part["trial_id"].to_list(), won - lost)
        return cls(groups)

    def ranks(self, entry: Entry, plan: WalkForwardPlan) -> list[FoldRank]:
        """Return where an entry's folds stand; empty where a group has no other trial."""
        ids, profits = self._groups.get(entry.group, ([], np.empty((0, 0))))
        if len(ids) < 2:
            return []
        places = {trial_id: place for place, trial_id in enumerate(ids)}
        return [
            FoldRank(
                fold=fold.index + 1,
                train=_share_below(profits[:, list(fold.train)].sum(axis=1), places[chosen.trial_id]),
                test=_share_below(profits[:, list(fold.test)].sum(axis=1), places[chosen.trial_id]),
            )
            for fold, chosen in zip(plan.folds, entry.folds, strict=True)
            if chosen.trial_id in places
        ]


def _share_below(profits: NDArray[np.float64], place: int) -> float:
    """Return the share of the other trials that earned less; equal ones count half."""
    own, others = profits[place], np.delete(profits, place)
    return round(float((others < own).mean() + (others == own).mean() / 2), _DECIMALS)
