"""Continuing a run with other software: allowed where trials run again give their rows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from aiopt.errors import RunExistsError
from aiopt.optimize.continuing import prove_harmless
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.trials import TrialRow
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.trial import TrialPoint
from aiopt.testing.sweeps import PLAN, noise_sweep

ROWS = noise_sweep(1, trials=5)
CHANGES = ["numpy 2.3.4, now 2.3.5"]


def points() -> list[TrialPoint]:
    spec = FAMILIES["rsi_reversion"].spec
    return [
        TrialPoint(trial_id=row.trial_id, family=row.family, timeframe=row.timeframe, params={}, spec=spec)
        for row in ROWS
    ]


def board(rows: Sequence[TrialRow]) -> Leaderboard:
    found = Leaderboard(None, RankingConfig(), PLAN)
    found.add_many(rows)
    return found


def rows_of(again: Sequence[TrialPoint]) -> list[TrialRow]:
    wanted = {point.trial_id for point in again}
    return [row for row in ROWS if row.trial_id in wanted]


def test_the_first_and_the_last_finished_trial_of_each_group_are_run_again() -> None:
    asked: list[str] = []

    def run(again: Sequence[TrialPoint]) -> list[TrialRow]:
        asked.extend(point.trial_id for point in again)
        return rows_of(again)

    proof = prove_harmless(points(), board(ROWS[:7]), CHANGES, run)
    assert asked == ["alpha@1m-00000", "alpha@1m-00004", "beta@5m-00000", "beta@5m-00001"]
    assert proof == "4 of 7 finished trials run again, all rows equal"


def test_nothing_is_run_where_nothing_had_finished() -> None:
    def run(again: Sequence[TrialPoint]) -> list[TrialRow]:
        raise AssertionError(again)

    assert prove_harmless(points(), board([]), CHANGES, run) == "no trial had finished"


def test_another_row_ends_the_run_and_names_what_changed() -> None:
    def run(again: Sequence[TrialPoint]) -> list[TrialRow]:
        return [msgspec.structs.replace(row, n_bars=row.n_bars + 1) for row in rows_of(again)]

    kept = board(ROWS)
    with pytest.raises(RunExistsError, match=r"numpy 2.3.4, now 2.3.5\) and they differ: .* in n_bars"):
        prove_harmless(points(), kept, CHANGES, run)
    assert kept.rows() == sorted(ROWS, key=lambda row: row.trial_id)
