"""Which trials a ranking chooses: in some fold, or to be emitted.  Owns no choice; `selection` makes them."""

from __future__ import annotations

from collections.abc import Sequence

from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.groups import Group, make_groups
from aiopt.ranking.measures import Measures, measure
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.selection import choose_lanes
from aiopt.ranking.trial_table import TrialTable
from aiopt.ranking.trials import TrialRow


def chosen_trials(
    rows: Sequence[TrialRow] | TrialTable, plan: WalkForwardPlan, config: RankingConfig
) -> list[str]:
    """Return the ids of all trials that a lane chooses in a fold or for the refit, sorted.

    Every figure of an entry, of a candidate and of a report's fold is one of theirs.

    Parameters
    ----------
    rows : sequence of TrialRow, or TrialTable
        All trials of a run.
    plan : WalkForwardPlan
        What the rows are measured by.
    config : RankingConfig
        How they are judged.
    """
    groups = make_groups(rows)
    return chosen_of(groups, measure(groups, plan), plan, config)


def chosen_of(
    groups: Sequence[Group], measures: Measures, plan: WalkForwardPlan, config: RankingConfig
) -> list[str]:
    """Return the same of groups that are measured."""
    found: set[str] = set()
    for group in groups:
        own = measures.groups[group.name]
        lanes, _ = choose_lanes(group, own, plan, lanes=config.lanes, min_trades=config.min_train_trades)
        for lane in lanes:
            found.update(group.heads[index].trial_id for index in (*lane.choices, lane.refit))
    return sorted(found)
