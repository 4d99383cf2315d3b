"""Trials in a list: sorted, cut, and without what lies in the holdout."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from aiopt.errors import InputError
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.ranking.trial_list import ORDERS, list_trials
from aiopt.ranking.trials import TrialRow
from aiopt.testing.sweeps import PLAN, failed, trial

PERIODS = PLAN.config.segments * 60


def rows() -> list[TrialRow]:
    draw = np.random.default_rng(5)
    found = [trial(number, draw.normal(number, 10.0, PERIODS), trades=20 - number) for number in range(6)]
    found += [trial(number, draw.normal(-3.0, 10.0, PERIODS), group="beta@1h") for number in range(2)]
    still = trial(9, np.zeros(PERIODS))
    return [*found, still, failed(7), failed(8)]


@pytest.mark.parametrize("order", ORDERS)
def test_the_best_come_first_and_what_has_no_figure_last(order: str) -> None:
    found = list_trials(rows(), PLAN, order=order, top=0)  # type: ignore[arg-type]
    assert (len(found.trials), found.matching, found.all) == (9, 9, 11)
    if order == "id":
        assert [one.trial_id for one in found.trials] == sorted(one.trial_id for one in found.trials)
        return
    values = [getattr(one, order) for one in found.trials]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    assert values == known + [None] * (len(values) - len(known))


def test_a_line_says_what_the_row_says_before_the_holdout() -> None:
    (row,) = (row for row in rows() if row.trial_id == "alpha@5m-00003")
    (line,) = list_trials([row], PLAN).trials
    assert line.pnl == pytest.approx(sum(row.pnl))
    assert line.sharpe == pytest.approx(sharpe_ratio(row.pnl, periods_per_year=PLAN.periods_per_year))
    assert line.trades == sum(row.segment_trades)
    assert line.params == json.loads(row.params_json)
    changed = msgspec.structs.replace(row, holdout_pnl=[5.0] * len(row.holdout_pnl))
    assert list_trials([changed], PLAN).trials == [line]


def test_groups_failures_and_the_number_shown() -> None:
    assert {one.group for one in list_trials(rows(), PLAN, group="beta@1h").trials} == {"beta@1h"}
    missing = list_trials(rows(), PLAN, failed=True)
    assert [one.trial_id[-1] for one in missing.trials] == ["7", "8"]
    assert all(one.error and one.trades is None for one in missing.trials)
    few = list_trials(rows(), PLAN, top=2)
    assert (len(few.trials), few.matching) == (2, 9)
    with pytest.raises(InputError, match=r"no group 'beta@2h'.*beta@1h"):
        list_trials(rows(), PLAN, group="beta@2h")
