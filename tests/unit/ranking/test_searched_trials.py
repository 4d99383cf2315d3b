"""Trials of samplers that learn: what a search is told, what a fold may choose, what is counted."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from aiopt.errors import InputError
from aiopt.ranking.groups import make_groups
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.measures import measure_group
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.selection import choose_lanes
from aiopt.ranking.trials import EVERY_SEARCH, TrialRow, check_row, read_trials, write_trials
from aiopt.ranking.windows import Window, WindowFigures, window_figures
from aiopt.testing.sweeps import PLAN, failed, trial

PERIODS = PLAN.development_periods + PLAN.holdout_periods
REFIT = PLAN.config.folds


def searched(number: int, search: int, generation: int = 0, *, drift: float = 0.0) -> TrialRow:
    pnl = np.random.default_rng(number).normal(drift, 1.0, PERIODS)
    row = trial(number, pnl)
    name = f"{row.group}-s{search}-{number:05d}"
    return msgspec.structs.replace(row, trial_id=name, search=search, generation=generation)


def test_figures_are_those_of_the_window_alone() -> None:
    row = searched(1, 0)
    window = PLAN.folds[0].train
    found = window_figures(row, PLAN, window)
    pnl = np.array(row.pnl)[PLAN.periods_of(window)]
    assert found.net_return == pytest.approx(pnl.sum() / row.initial_balance)
    assert found.sharpe == pytest.approx(pnl.mean() / pnl.std(ddof=1) * math.sqrt(PLAN.periods_per_year))
    assert found.trades == sum(row.segment_trades[i] for i in window)
    # Whatever lies outside may change.
    outside = np.array(row.pnl)
    outside[PLAN.periods_of(PLAN.folds[0].test)] += 1000.0
    assert window_figures(msgspec.structs.replace(row, pnl=outside.tolist()), PLAN, window) == found


def test_the_holdout_is_no_window() -> None:
    with pytest.raises(InputError, match="lies in the development segments"):
        window_figures(searched(1, 0), PLAN, PLAN.holdout)


def test_a_leaderboard_answers_in_the_order_asked() -> None:
    board = Leaderboard(None, RankingConfig(), PLAN)
    rows = [searched(1, 0), searched(2, 0), msgspec.structs.replace(failed(3), search=0, generation=0)]
    board.add_many(rows)
    ids = tuple(row.trial_id for row in reversed(rows))
    ((last, second, first),) = board.window_figures([Window(ids, PLAN.refit)])
    assert last == WindowFigures(spec_hash="alpha-3", ok=False) or math.isnan(last.sharpe)
    assert not last.ok
    assert [second, first] == [window_figures(row, PLAN, PLAN.refit) for row in (rows[1], rows[0])]


def test_a_fold_chooses_from_its_own_search() -> None:
    # The best trial of all belongs to another search than the fold's.
    rows = [searched(1, 0), searched(2, 1, drift=5.0), searched(3, REFIT)]
    rows += [searched(10 + number, number) for number in range(1, REFIT)]
    (group,) = make_groups(rows)
    lanes, _ = choose_lanes(group, measure_group(group, PLAN), PLAN, lanes=1, min_trades=1)
    (lane,) = lanes
    assert group.row(lane.choices[0]).trial_id.endswith("-s0-00001")
    assert group.row(lane.choices[1]).trial_id.endswith("-s1-00002")
    assert group.row(lane.refit).search == REFIT


def test_a_point_of_two_searches_is_open_to_both_and_counted_twice() -> None:
    rows = [searched(1, 0, generation=2), searched(1, 1, generation=0), searched(2, EVERY_SEARCH)]
    (group,) = make_groups(rows)
    assert (group.tried, group.size) == (3, 2)
    by_hash = {row.spec_hash: place for place, row in enumerate(group.heads)}
    assert [bool(group.may_choose(number)[by_hash["alpha-1"]]) for number in (0, 1, 2)] == [True, True, False]
    assert all(group.may_choose(number)[by_hash["alpha-2"]] for number in range(REFIT + 1))
    assert group.blind == (True, True)


def test_without_searches_every_fold_may_choose_every_trial() -> None:
    (group,) = make_groups([trial(1, np.ones(PERIODS)), trial(2, np.ones(PERIODS))])
    assert group.may_choose(0).all()
    assert list(group.drawn_blind()) == [0, 1]


def test_the_file_has_the_columns_only_then(tmp_path: Path) -> None:
    rows = [searched(1, 0), searched(2, EVERY_SEARCH, generation=0)]
    write_trials(tmp_path / "t", rows)
    assert sorted(read_trials(tmp_path / "t"), key=lambda row: row.spec_hash) == rows
    with pytest.raises(InputError, match="All trials of a run or none name their search"):
        write_trials(tmp_path / "mixed", [*rows, trial(9, np.ones(PERIODS))])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"search": REFIT + 1}, "search <="),
        ({"search": -2}, "<= search"),
        ({"generation": msgspec.UNSET}, "generation >= 0 where there is a search"),
        ({"generation": -1}, "generation >= 0"),
    ],
)
def test_rules_of_the_columns(changes: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        check_row(msgspec.structs.replace(searched(1, 0), **changes), PLAN)
