"""Trials of others: they move the deflated Sharpe ratio, nothing that a fold chooses, and are said."""

from __future__ import annotations

import math

import msgspec
import pytest

from aiopt.config import canonical_json
from aiopt.evaluation.deflated import expected_maximum_sharpe
from aiopt.ranking.earlier import Earlier, EarlierOpenings, EarlierTrials, earlier_text, opening_lines
from aiopt.ranking.rank import rank_trials
from aiopt.ranking.ranking_config import RankingConfig, StressConfig
from aiopt.ranking.ranking_file import read_ranking
from aiopt.testing.sweeps import PLAN, noise_sweep

CONFIG = RankingConfig(stress=StressConfig(pip_size=1e-4), bootstrap_resamples=100)
ROWS = noise_sweep(1)
OPENED = EarlierOpenings(
    instrument="EURUSD", times=2, first="eurusd-1f0c", first_at="2026-11-03T10:00:00+00:00", trials=0
)
MANY = Earlier(
    trials=EarlierTrials(trials=5000, runs=1, sweeps=2, backtests=0),
    holdout=(OPENED,),
)


def test_nothing_earlier_changes_no_byte() -> None:
    alone = canonical_json(rank_trials(ROWS, PLAN, CONFIG))
    assert alone == canonical_json(rank_trials(ROWS, PLAN, CONFIG, Earlier()))
    assert b"earlier" not in alone
    assert b"holdout_openings" not in alone


def test_earlier_trials_count_as_tried() -> None:
    alone, after = rank_trials(ROWS, PLAN, CONFIG), rank_trials(ROWS, PLAN, CONFIG, MANY)
    counted = len(ROWS) + 5000
    assert after.statistics.trials == len(ROWS)
    assert after.statistics.earlier_trials == MANY.trials
    assert {entry.evidence.trials_counted for entry in after.entries} == {counted}
    expected = expected_maximum_sharpe(after.statistics.sharpe_variance_theory, counted)
    annual = math.sqrt(PLAN.periods_per_year)
    assert after.statistics.expected_maximum_sharpe == pytest.approx(expected * annual)
    before = {(one.group, one.lane): one.evidence.deflated_sharpe for one in alone.entries}
    for entry in after.entries:
        assert entry.evidence.deflated_sharpe < before[entry.group, entry.lane]
        assert [fold.trial_id for fold in entry.folds]
    assert "5,000 earlier trials of 1 run and 2 sweeps on overlapping data count too" in after.headline


def test_an_opened_holdout_is_kept_in_the_file_and_read_again() -> None:
    found = rank_trials(ROWS, PLAN, CONFIG, MANY)
    document = msgspec.json.decode(canonical_json(found))
    assert document["holdout_openings"][0]["first"] == "eurusd-1f0c"
    assert read_ranking(document) == (found, "")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (EarlierTrials(trials=1, runs=0, sweeps=0, backtests=1), "1 earlier trial of 1 backtest on"),
        (EarlierTrials(trials=7, runs=2, sweeps=1, backtests=3), "of 2 runs, 1 sweep and 3 backtests on"),
    ],
)
def test_the_sentence_names_where_they_came_from(found: EarlierTrials, text: str) -> None:
    assert text in earlier_text(found)


def test_a_holdout_seen_before_is_said() -> None:
    (line,) = opening_lines([OPENED])
    assert line.startswith("This holdout was opened 2 times before, first by eurusd-1f0c on 2026-11-03;")
    seen = msgspec.structs.replace(OPENED, times=0, first="", first_at="", trials=40)
    one, other = opening_lines([msgspec.structs.replace(OPENED, times=1, trials=3), seen])
    assert "The holdout of EURUSD was opened once before" in one
    assert "and 3 earlier trials had it in their development span" in one
    assert "was not unseen: 40 earlier trials" in other
