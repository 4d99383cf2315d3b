"""trials.parquet: what goes in comes out, in one order, to the byte."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from aiopt.errors import DataError, InputError
from aiopt.ranking import trials
from aiopt.ranking.packing import pack_row, unpack_row
from aiopt.ranking.trials import (
    SUMMED_UP,
    TrialRow,
    check_row,
    count_trials,
    iter_trials,
    read_plan,
    read_trials,
    trials_schema,
    write_trials,
)
from aiopt.testing.sweeps import PLAN, failed, noise_sweep

ROWS = [*noise_sweep(1, trials=4), failed(77)]


def test_rows_come_back_sorted(tmp_path: Path) -> None:
    path = tmp_path / "trials.parquet"
    write_trials(path, ROWS[::-1], plan=PLAN)
    assert read_trials(path) == sorted(ROWS, key=lambda row: row.trial_id)
    assert read_plan(path) == PLAN


def test_the_bytes_do_not_depend_on_the_order(tmp_path: Path) -> None:
    write_trials(tmp_path / "a", ROWS, plan=PLAN)
    shuffled = ROWS.copy()
    random.Random(1).shuffle(shuffled)
    write_trials(tmp_path / "b", iter(shuffled), plan=PLAN)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_columns_are_those_of_a_row_and_polars_reads_them(tmp_path: Path) -> None:
    write_trials(tmp_path / "t", ROWS)
    frame = pl.read_parquet(tmp_path / "t")
    *columns, instrument, search, generation, net_pnl, sharpe, series_hash = TrialRow.__struct_fields__
    assert frame.columns == columns == trials_schema().names
    assert (instrument, search, generation) == ("instrument", "search", "generation")
    assert (net_pnl, sharpe, series_hash) == SUMMED_UP
    assert trials_schema(several_markets=True).names == [*columns, instrument]
    assert trials_schema(searched=True).names == [*columns, search, generation]
    assert trials_schema(summed_up=True).names == [*columns, *SUMMED_UP]
    assert frame.schema["pnl"] == pl.List(pl.Float64)
    assert frame.schema["segment_trades"] == pl.List(pl.Int64)
    assert frame["status"].to_list().count("failed") == 1
    assert read_plan(tmp_path / "t") is None


def test_no_rows_are_a_file_too(tmp_path: Path) -> None:
    write_trials(tmp_path / "t", [])
    assert read_trials(tmp_path / "t") == []


def test_no_column_tells_when_or_where() -> None:
    told = {"host", "pid", "time", "elapsed", "date", "node", "worker"}
    assert not [name for name in TrialRow.__struct_fields__ if told & set(name.split("_"))]


def test_one_id_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Two trials have the id 'alpha@1m-00000'"):
        write_trials(tmp_path / "t", [ROWS[0], ROWS[0]])
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: there is no such file"):
        read_trials(tmp_path / "none")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(DataError, match="is not a Parquet file"):
        read_trials(tmp_path / "text")
    pl.DataFrame({"trial_id": ["a"], "more": [1]}).write_parquet(tmp_path / "other")
    with pytest.raises(DataError, match=r"\['more'\] are unknown"):
        read_trials(tmp_path / "other")
    write_trials(tmp_path / "t", ROWS)
    (tmp_path / "cut").write_bytes((tmp_path / "t").read_bytes()[:-20])
    with pytest.raises(DataError, match="is not a Parquet file"):
        read_trials(tmp_path / "cut")


def test_the_instrument_of_several_markets_is_the_last_column(tmp_path: Path) -> None:
    rows = noise_sweep(2, groups=("alpha@EURUSD@1h", "alpha@USDJPY@1h"), trials=2)
    write_trials(tmp_path / "t", rows)
    assert pl.read_parquet(tmp_path / "t")["instrument"].to_list() == ["EURUSD"] * 2 + ["USDJPY"] * 2
    assert read_trials(tmp_path / "t") == rows
    assert [unpack_row(pack_row(row)) for row in rows] == rows
    with pytest.raises(InputError, match="All trials of a run or none name their instrument"):
        write_trials(tmp_path / "u", [*rows, *ROWS])
    wrong = msgspec.structs.replace(rows[0], instrument="GBPUSD")
    with pytest.raises(InputError, match="group is family@instrument@timeframe"):
        check_row(wrong, PLAN)


def test_rows_come_one_by_one_with_their_profits_as_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "ROWS_AT_ONCE", 3)
    rows = [*noise_sweep(1, trials=4), failed(77)]
    path = tmp_path / "trials.parquet"
    write_trials(path, rows, plan=PLAN)
    found = list(iter_trials(path))
    assert count_trials(path) == len(found) == len(rows)
    for one, known in zip(found, read_trials(path), strict=True):
        assert isinstance(one.pnl, np.ndarray)
        lists = {name: getattr(one, name).tolist() for name in ("pnl", "holdout_pnl")}
        assert msgspec.structs.replace(one, **lists) == known
    with pytest.raises(DataError, match="there is no such file"):
        next(iter_trials(tmp_path / "none.parquet"))
