"""Paths of made-up sweeps: the run's own walk-forward is one of them, skill shows on all, noise on none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from aiopt.config import canonical_json
from aiopt.errors import DataError
from aiopt.evaluation.folds import WalkForwardConfig, WalkForwardPlan, plan_walk_forward
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.paths.judging import judge_paths
from aiopt.paths.paths_file import lane_reading, matrix_reading
from aiopt.paths.settings import combine
from aiopt.paths.tables import DevelopmentRow, read_development
from aiopt.ranking import kept_series
from aiopt.ranking.groups import make_groups
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.measures import measure_group
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.selection import choose_lanes
from aiopt.ranking.trials import TrialRow, write_trials
from aiopt.testing.sweeps import PLAN, failed, noise_sweep, trial
from aiopt.utc import HOUR_NS

CONFIG = RankingConfig(lanes=2, min_train_trades=10)


def development(rows: Iterable[TrialRow]) -> list[DevelopmentRow]:
    return [
        DevelopmentRow(
            row.trial_id, row.group, row.spec_hash, np.array(row.segment_trades), np.array(row.pnl)
        )
        for row in sorted(rows, key=lambda row: row.trial_id)
        if row.ok
    ]


def gapped(**changes: object) -> WalkForwardPlan:
    config = msgspec.structs.replace(WalkForwardConfig(), **changes)
    return plan_walk_forward(config, np.arange(60 * config.blocks) * HOUR_NS)


@pytest.mark.parametrize(
    "plan",
    [PLAN, gapped(purge="4h"), gapped(purge="4h", embargo="2h", anchored=True), gapped(purge_segments=1)],
    ids=["plain", "purged", "anchored", "whole segments"],
)
def test_the_cell_of_the_runs_own_lengths_is_its_walk_forward(plan: WalkForwardPlan) -> None:
    rows = noise_sweep(3, plan=plan)
    found = judge_paths(development(rows), plan, CONFIG, trials_counted=24)
    for group in make_groups(rows):
        lanes, _ = choose_lanes(group, measure_group(group, plan), plan, lanes=2, min_trades=10)
        pnl = group.profits(range(group.size), plan.development_periods)
        parts = [
            pnl[choice][plan.periods_of(fold.test)]
            for choice, fold in zip(lanes[0].choices, plan.folds, strict=True)
        ]
        own = sharpe_ratio(np.concatenate(parts), periods_per_year=plan.periods_per_year)
        paths = next(one for one in found.groups if one.group == group.name)
        assert paths.lanes[0].walk_forward_sharpe == pytest.approx(own, rel=1e-9)
        (cell,) = [
            one
            for one in paths.matrix
            if (one.train, one.test, one.anchored) == (3, 1, bool(plan.config.anchored))
        ]
        assert cell.sharpe == pytest.approx(own, rel=1e-9)
        assert cell.folds == plan.config.folds
        assert cell.trades == sum(
            group.trades[choice][list(fold.test)].sum()
            for choice, fold in zip(lanes[0].choices, plan.folds, strict=True)
        )


def test_a_path_is_what_the_splits_chose_without_the_groups_they_test() -> None:
    plan = gapped(purge="4h", embargo="2h")
    rows = noise_sweep(4, plan=plan, groups=("alpha@1m",))
    combination = combine(plan)
    (group,) = make_groups(rows)
    profits = group.profits(range(group.size), plan.development_periods)
    (found,) = judge_paths(development(rows), plan, CONFIG, trials_counted=12).groups
    chosen = []
    for split in combination.splits:
        train = np.concatenate([np.arange(a, b) for a, b in split.train])
        for tested in split.test:
            start, stop = combination.groups[tested]
            assert not ((train >= start - 4) & (train < stop + 2)).any()
        chosen.append(int(np.nanargmax([sharpe_ratio(p[train], periods_per_year=1) for p in profits])))
    for path, ratio, net in zip(
        combination.paths, found.lanes[0].sharpe, found.lanes[0].net_pnl, strict=True
    ):
        pnl = np.concatenate(
            [profits[chosen[split]][slice(*combination.groups[g])] for g, split in enumerate(path)]
        )
        assert ratio == pytest.approx(sharpe_ratio(pnl, periods_per_year=plan.periods_per_year), rel=1e-9)
        assert net == pytest.approx(pnl.sum(), rel=1e-9)


def test_skill_shows_on_every_path_and_noise_does_not() -> None:
    rng = np.random.default_rng(8)
    n = PLAN.development_periods + PLAN.holdout_periods
    rows = noise_sweep(5, groups=("alpha@1m",), cost=0.05)
    rows += [trial(i, rng.normal(0.25, 1, n), group="beta@5m") for i in range(6)]
    noise, skill = judge_paths(development(rows), PLAN, CONFIG, trials_counted=18).groups
    assert all(ratio is not None and ratio > 0 for ratio in skill.lanes[0].sharpe)
    assert skill.lanes[0].share_negative == 0
    assert all(cell.net_pnl > 0 for cell in skill.matrix)
    assert "The sign does not depend" in matrix_reading(skill.matrix, 0.95)
    assert skill.lanes[0].median is not None
    assert noise.lanes[0].median is not None
    assert noise.lanes[0].median < skill.lanes[0].median / 3
    assert "paths" in lane_reading(skill.lanes[0])


def test_the_holdout_and_the_order_of_groups_change_nothing(tmp_path: Path) -> None:
    rows = noise_sweep(6)
    other = [
        msgspec.structs.replace(row, holdout_pnl=[99.0] * len(row.holdout_pnl)) if row.ok else row
        for row in rows
    ]
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write_trials(first, rows, plan=PLAN)
    write_trials(second, reversed(other), plan=PLAN)
    none = tmp_path / "none"
    found = [
        canonical_json(judge_paths(read_development(path, none), PLAN, CONFIG, trials_counted=24))
        for path in (first, second)
    ]
    direct = canonical_json(judge_paths(development(rows), PLAN, CONFIG, trials_counted=24))
    assert found == [direct, direct]


def test_a_large_sweep_is_judged_by_all_of_its_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_series, "MOST_VALUES", 1_000)
    monkeypatch.setattr(kept_series, "SAMPLE", 3)
    rows = [*noise_sweep(6), failed(90)]
    board = Leaderboard(tmp_path / "leaderboard.jsonl", CONFIG, PLAN)
    board.add_many(reversed(rows))
    board.write_trials(tmp_path / "trials.parquet")
    board.close()
    found = read_development(tmp_path / "trials.parquet", tmp_path / "leaderboard.jsonl")
    direct = canonical_json(judge_paths(development(rows), PLAN, CONFIG, trials_counted=24))
    assert canonical_json(judge_paths(found, PLAN, CONFIG, trials_counted=24)) == direct
    with pytest.raises(DataError, match="the journal, which has all, is not there"):
        list(read_development(tmp_path / "trials.parquet", tmp_path / "none"))


def test_a_group_without_trades_says_why_it_has_no_path() -> None:
    rows = [trial(i, np.arange(480.0) % 7 - 3 + i, trades=1) for i in range(3)]
    (found,) = judge_paths(development(rows), PLAN, CONFIG, trials_counted=3).groups
    assert found.lanes == []
    assert "no trial has 10 trades (`min_train_trades`) where groups 1, 2 are tested" in found.reason
    assert found.matrix == []
