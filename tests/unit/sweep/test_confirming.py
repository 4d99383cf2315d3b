"""Which trials the engine runs again, and what happens when it disagrees with the screen."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.errors import BacktestError
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.trials import TrialRow
from aiopt.screen.failures import ScreenMismatchError
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.confirming import confirm, points_to_confirm
from aiopt.sweep.trial import TrialContext, TrialPoint
from aiopt.testing.sweeps import PLAN, trial

SPEC = FAMILIES["ema_cross_atr"].spec
CONTEXT = TrialContext(backtest=BacktestConfig(), plan=PLAN, seed=3, data_hash="d", screen=True)
PERIODS = PLAN.config.segments * 60


def made(n: int) -> tuple[list[TrialPoint], list[TrialRow], Leaderboard]:
    draw = np.random.default_rng(1)
    rows = [trial(number, draw.normal(0.0, 10.0, PERIODS)) for number in range(n)]
    points = [TrialPoint(row.trial_id, row.family, row.timeframe, {}, SPEC) for row in rows]
    board = Leaderboard(None, RankingConfig(lanes=2).with_pip(1e-4), PLAN)
    board.add_many(rows)
    return points, rows, board


def test_every_choice_of_a_fold_is_confirmed() -> None:
    points, rows, board = made(40)
    chosen = board.chosen_trials()
    ranking = board.ranking()
    used = {fold.trial_id for entry in ranking.entries for fold in entry.folds}
    used |= {entry.trial_id for entry in ranking.entries}
    used |= {one.trial_id for one in ranking.rejected if one.trial_id}
    assert used <= set(chosen)
    assert len(chosen) > 2
    seen: list[str] = []

    def run(again: Sequence[TrialPoint], context: TrialContext) -> list[TrialRow]:
        assert not context.screen
        seen.extend(point.trial_id for point in again)
        return [row for row in rows if row.trial_id in seen]

    assert confirm(points, board, CONTEXT, run) == len(seen)
    assert set(chosen) < set(seen)  # and at least one that no fold chose
    assert len(seen) == len(chosen) + 1


def test_the_same_trials_are_drawn_in_every_call_and_others_with_another_seed() -> None:
    points, _, _ = made(400)
    drawn = [
        [point.trial_id for point in points_to_confirm(points, [], seed=seed, share=0.02)]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 8


def test_where_all_are_chosen_none_is_drawn() -> None:
    points, _, _ = made(3)
    assert points_to_confirm(points, [point.trial_id for point in points], seed=1) == points


def test_a_difference_ends_the_run_and_says_what_both_found() -> None:
    points, rows, board = made(20)
    wrong = board.chosen_trials()[0]

    def run(again: Sequence[TrialPoint], context: TrialContext) -> list[TrialRow]:
        wanted = {point.trial_id for point in again}
        found = [row for row in rows if row.trial_id in wanted]
        return [
            msgspec.structs.replace(row, pnl=[row.pnl[0] + 0.01, *row.pnl[1:]])
            if row.trial_id == wrong
            else row
            for row in found
        ]

    with pytest.raises(ScreenMismatchError, match="the screen must not be trusted") as failure:
        confirm(points, board, CONTEXT, run)
    text = str(failure.value)
    assert wrong in text
    assert "differ in pnl" in text
    assert SPEC.to_json() in text
    assert "`screen: off`" in text
    assert isinstance(failure.value, BacktestError)


def test_a_sweep_in_the_engine_needs_no_second_look() -> None:
    points, _, board = made(5)
    plain = TrialContext(backtest=BacktestConfig(), plan=PLAN, seed=3, data_hash="d")

    def never(again: Sequence[TrialPoint], context: TrialContext) -> list[TrialRow]:
        raise AssertionError("nothing is to be run")

    assert confirm(points, board, plain, never) == 0
