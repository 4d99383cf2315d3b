"""From all trials of a run to its ranking.

Owns the order of the steps: groups, lanes, out-of-sample paths, the test of all of them, scores, duplicates,
entries.  The holdout is first read in `make_entry`, when places are already given.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.baseline import make_baseline, make_statistics
from aiopt.ranking.candidates import follow_lanes, reject, that_can_be_ranked, without_duplicates
from aiopt.ranking.earlier import NOTHING_EARLIER, Earlier
from aiopt.ranking.entries import make_entry
from aiopt.ranking.groups import Group, make_groups
from aiopt.ranking.luck import weigh_luck
from aiopt.ranking.measures import Measures, Progress, measure
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.score import formula
from aiopt.ranking.trial_table import TrialTable
from aiopt.ranking.trials import TrialRow
from aiopt.ranking.verdict import headline


def rank_trials(
    rows: Sequence[TrialRow] | TrialTable,
    plan: WalkForwardPlan,
    config: RankingConfig,
    earlier: Earlier = NOTHING_EARLIER,
) -> Ranking:
    """Rank all trials of a run.

    Parameters
    ----------
    rows : sequence of TrialRow, or TrialTable
        In any order; ids unique, each fitting the plan.
    plan : WalkForwardPlan
        What the rows are measured by.
    config : RankingConfig
        How they are judged.
    earlier : Earlier
        What was tried on the same data before, from the ledger: it counts as tried too.

    Returns
    -------
    Ranking
        Depends on nothing but the arguments: equal rows give equal bytes as JSON.

    Raises
    ------
    ConfigError
        If `config` has no pip, see `RankingConfig.with_pip`.
    """
    groups = make_groups(rows)
    check_pips(groups, config)
    return rank_groups(groups, measure(groups, plan), plan, config, earlier)


def check_pips(groups: Sequence[Group], config: RankingConfig) -> None:
    """Raise `ConfigError` where a market has no pip: before any work, and where there is nothing to rank."""
    for instrument in {group.instrument for group in groups} or {msgspec.UNSET}:
        config.stress.pip_of(instrument)


def rank_groups(
    groups: Sequence[Group],
    measures: Measures,
    plan: WalkForwardPlan,
    config: RankingConfig,
    earlier: Earlier = NOTHING_EARLIER,
    progress: Progress | None = None,
) -> Ranking:
    """Rank the same of groups that are measured; `progress` is called with trials read and their number."""
    baseline = make_baseline(groups, measures, plan, config, earlier.count, progress)
    followed, rejected = follow_lanes(groups, measures, baseline, plan, config)
    luck = weigh_luck(followed, plan, config, earlier)
    candidates, unfit = that_can_be_ranked(followed, config)
    ranked, duplicates = without_duplicates(candidates, config)
    chosen, rest = ranked[: config.top], ranked[config.top :]
    per_group = {group.name: sum(candidate.group is group for candidate in followed) for group in groups}
    statistics = msgspec.structs.replace(
        make_statistics(groups, measures, baseline, per_group, plan, config, earlier.trials), luck=luck.record
    )
    below = [
        reject(candidate, f"ranks {place}, and {config.top} are emitted (`top`)")
        for place, candidate in enumerate(rest, start=config.top + 1)
    ]
    rejected += [
        msgspec.structs.replace(one, p_value_family_wise=luck.p_value(one.name))
        for one in (*unfit, *duplicates, *below)
    ]
    entries = [
        make_entry(rank, candidate, len(chosen), luck, baseline, plan, config)
        for rank, candidate in enumerate(chosen, start=1)
    ]
    return Ranking(
        headline=headline(entries, statistics),
        entries=entries,
        rejected=sorted(rejected, key=lambda r: (r.group, r.lane or 0)),
        statistics=statistics,
        plan=plan,
        config=config,
        score_formula=formula(config),
        holdout_openings=(earlier.holdout or msgspec.UNSET) if plan.holdout and entries else msgspec.UNSET,
    )
