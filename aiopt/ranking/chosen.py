"""Which trials a ranking chooses: in some fold, or to be emitted.  Owns no choice; `selection` makes them."""

from __future__ import annotations

from collections.abc import Sequence

from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.selection import choose_lanes, make_groups
from aiopt.ranking.trials import TrialRow


def chosen_trials(rows: Sequence[TrialRow], plan: WalkForwardPlan, config: RankingConfig) -> list[str]:
    """Return the ids of all trials that a lane chooses in a fold or for the refit, sorted.

    Every figure of an entry, of a candidate and of a report's fold is one of theirs.

    Parameters
    ----------
    rows : sequence of TrialRow
        All trials of a run.
    plan : WalkForwardPlan
        What the rows are measured by.
    config : RankingConfig
        How they are judged.
    """
    found: set[str] = set()
    for group in make_groups(sorted(rows, key=lambda row: row.trial_id)):
        lanes, _ = choose_lanes(group, plan, lanes=config.lanes, min_trades=config.min_train_trades)
        for lane in lanes:
            found.update(group.rows[index].trial_id for index in (*lane.choices, lane.refit))
    return sorted(found)
