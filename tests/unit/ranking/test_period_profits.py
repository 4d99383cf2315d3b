"""Which hour a profit of trials.parquet belongs to."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from aiopt.errors import DataError, InputError
from aiopt.ranking.period_profits import period_profits
from aiopt.ranking.trials import write_trials
from aiopt.testing.sweeps import PLAN, failed, noise_sweep
from aiopt.utc import HOUR_NS

ROWS = [*noise_sweep(1, trials=2), failed(77)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_trials(tmp_path / "trials.parquet", ROWS, plan=PLAN)
    return tmp_path / "trials.parquet"


def test_every_profit_stands_beside_the_hour_it_was_made_in(path: Path) -> None:
    frame = period_profits(path)
    assert frame.schema["start"] == pl.Datetime("ns", "UTC")
    assert frame["trial_id"].unique().to_list() != []
    for row in ROWS[:-1]:
        one = frame.filter(pl.col("trial_id") == row.trial_id)
        assert one["profit"].to_list() == [*row.pnl, *row.holdout_pnl]
        starts = one["start"].cast(pl.Int64).to_list()
        assert starts == list(range(PLAN.start_ns, PLAN.stop_ns, HOUR_NS))
        holdout = one.filter(pl.col("span") == "holdout")
        assert holdout["profit"].to_list() == row.holdout_pnl
        assert holdout["start"][0].replace(tzinfo=None) == dt.datetime(1970, 1, 1) + dt.timedelta(
            hours=PLAN.holdout_start_ns // HOUR_NS
        )
    assert failed(77).trial_id not in frame["trial_id"].to_list()


def test_some_trials_alone(path: Path) -> None:
    wanted = ROWS[1].trial_id
    assert period_profits(path, [wanted])["trial_id"].unique().to_list() == [wanted]
    assert period_profits(path, []).is_empty()


def test_trials_without_profits_and_files_without_times_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no trial 'alpha@1m-00003'\. Did you mean"):
        period_profits(path, ["alpha@1m-00003"])
    with pytest.raises(InputError, match="'alpha@5m-00077' failed"):
        period_profits(path, [failed(77).trial_id])
    write_trials(tmp_path / "plain.parquet", ROWS)
    with pytest.raises(DataError, match="does not say when its periods are"):
        period_profits(tmp_path / "plain.parquet")
    with pytest.raises(DataError, match="there is no such file"):
        period_profits(tmp_path / "absent.parquet")
