from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aiopt.ranking.trials import write_trials
from aiopt.robustness.ranks import TrialProfits
from tests.unit.robustness.conftest import Ranked


def test_ranks_are_those_of_the_rows(ranked: Ranked, tmp_path: Path) -> None:
    plan = ranked.ranking.plan
    write_trials(tmp_path / "trials.parquet", ranked.rows, plan=plan)
    known = TrialProfits.read(tmp_path / "trials.parquet")
    for entry in ranked.ranking.entries:
        ranks = known.ranks(entry, plan)
        assert [one.fold for one in ranks] == [1, 2, 3]
        group = [row for row in ranked.rows if row.group == entry.group and row.ok]
        for one, fold, chosen in zip(ranks, plan.folds, entry.folds, strict=True):
            earned = {
                row.trial_id: sum(
                    row.segment_gross_profit[segment] - row.segment_gross_loss[segment]
                    for segment in fold.test
                )
                for row in group
            }
            own = earned.pop(chosen.trial_id)
            others = np.array(list(earned.values()))
            expected = (others < own - 1e-9).mean() + (abs(others - own) <= 1e-9).mean() / 2
            assert one.test == pytest.approx(expected, abs=1e-3)
        # Chosen by Sharpe ratio, so not always the first by profit, but never in the lower half here.
        assert all(one.train > 0.5 for one in ranks)


def test_a_group_of_one_trial_has_no_ranks(ranked: Ranked) -> None:
    entry = ranked.ranking.entries[0]
    assert (
        TrialProfits({entry.group: ([entry.trial_id], np.zeros((1, 5)))}).ranks(entry, ranked.ranking.plan)
        == []
    )
    assert TrialProfits({}).ranks(entry, ranked.ranking.plan) == []
