"""Trials in a list: sorted, cut, and without what lies in the holdout."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from aiopt.errors import InputError
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.ranking import trial_list as module
from aiopt.ranking.trial_list import ORDERS, ListedTrial, list_trials, listed, read_listed
from aiopt.ranking.trials import TrialRow, write_trials
from aiopt.testing.sweeps import PLAN, failed, trial

PERIODS = PLAN.config.segments * 60


def rows() -> list[ListedTrial]:
    return [listed(row, PLAN) for row in full_rows()]


def full_rows() -> list[TrialRow]:
    draw = np.random.default_rng(5)
    found = [trial(number, draw.normal(number, 10.0, PERIODS), trades=20 - number) for number in range(6)]
    found += [trial(number, draw.normal(-3.0, 10.0, PERIODS), group="beta@1h") for number in range(2)]
    still = trial(9, np.zeros(PERIODS))
    return [*found, still, failed(7), failed(8)]


@pytest.mark.parametrize("order", ORDERS)
def test_the_best_come_first_and_what_has_no_figure_last(order: str) -> None:
    found = list_trials(rows(), order=order, top=0)  # type: ignore[arg-type]
    assert (len(found.trials), found.matching, found.all) == (9, 9, 11)
    if order == "id":
        assert [one.trial_id for one in found.trials] == sorted(one.trial_id for one in found.trials)
        return
    values = [getattr(one, order) for one in found.trials]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    assert values == known + [None] * (len(values) - len(known))


def test_a_line_says_what_the_row_says_before_the_holdout() -> None:
    (row,) = (row for row in full_rows() if row.trial_id == "alpha@5m-00003")
    (line,) = list_trials([listed(row, PLAN)]).trials
    assert line.pnl == pytest.approx(sum(row.pnl))
    assert line.sharpe == pytest.approx(sharpe_ratio(row.pnl, periods_per_year=PLAN.periods_per_year))
    assert line.trades == sum(row.segment_trades)
    assert line.params == json.loads(row.params_json)
    changed = msgspec.structs.replace(row, holdout_pnl=[5.0] * len(row.holdout_pnl))
    assert list_trials([listed(changed, PLAN)]).trials == [line]


def test_groups_failures_and_the_number_shown() -> None:
    assert {one.group for one in list_trials(rows(), group="beta@1h").trials} == {"beta@1h"}
    missing = list_trials(rows(), failed=True)
    assert [one.trial_id[-1] for one in missing.trials] == ["7", "8"]
    assert all(one.error and one.trades is None for one in missing.trials)
    few = list_trials(rows(), top=2)
    assert (len(few.trials), few.matching) == (2, 9)
    with pytest.raises(InputError, match=r"no group 'beta@2h'.*beta@1h"):
        list_trials(rows(), group="beta@2h")


def test_a_list_goes_on_where_another_ended() -> None:
    whole = list_trials(rows(), top=0).trials
    pages = [list_trials(rows(), top=4, skip=skip) for skip in (0, 4, 8, 12)]
    assert [one for page in pages for one in page.trials] == whole
    assert {page.matching for page in pages} == {len(whole)}


@pytest.mark.parametrize("at_once", [1, 4, 512])
def test_a_file_is_listed_with_the_bits_of_its_rows(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", at_once)
    write_trials(tmp_path / "t.parquet", full_rows(), plan=PLAN)
    found = {one.trial_id: one for one in read_listed(tmp_path / "t.parquet", PLAN)}
    assert len(found) == 11
    for one in rows():
        assert repr(found[one.trial_id]) == repr(one._replace(pnl=float(one.pnl), sharpe=float(one.sharpe)))
