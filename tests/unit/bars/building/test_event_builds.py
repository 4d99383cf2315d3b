"""Files of tick, volume, range and Renko bars: equal whatever shards and engine; stores that make none."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aiopt.bars.building.build import build
from aiopt.bars.building.shard_jobs import ShardJob, ShardRows
from aiopt.bars.files import bar_path, load_bar_set, read_bars
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.bars.schema import PRICES
from aiopt.errors import DataError, UnevenBarsError
from aiopt.market.sessions import TradingSession, parse_session
from aiopt.testing.tick_stores import write_tick_store
from tests.unit.bars.jumping_ticks import WINDOW, some_ticks


class Backwards:
    """An engine that runs the last job first, each as it were pickled to another process."""

    name = "backwards"

    def rows_per_shard(self, ticks: int) -> int:
        return ticks

    def run(
        self, jobs: Sequence[ShardJob], label: str, report: Callable[[int], None] | None = None
    ) -> list[ShardRows]:
        found = [pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(job)).run())) for job in reversed(jobs)]
        for job in jobs:
            if report is not None:
                report(job.shard.rows)
        return found[::-1]


@pytest.mark.parametrize("type_", ["tick", "volume", "range", "renko"])
@pytest.mark.parametrize("session", [None, WINDOW])
@pytest.mark.parametrize("rows_per_shard", [1, 90, 100_000])
def test_files_of_any_shards_equal_those_of_one(
    tmp_path: Path, type_: str, session: TradingSession | None, rows_per_shard: int
) -> None:
    ticks = pl.DataFrame(some_ticks(600, 5))
    write_tick_store(tmp_path / "ticks", ticks, row_group_rows=31)
    sizes = {"tick": "7,50", "volume": "500000", "range": "1.5,4", "renko": "1,2.5"}[type_]
    request = BarRequest(parse_bar_rules(type_, sizes), PRICES, session, spread_stats=True)
    whole = build(tmp_path / "ticks", tmp_path / "one", request, rows_per_shard=100_000)
    assert len(whole.files) == len(request.rules) * len(PRICES)
    assert whole.ticks == 600
    small = build(tmp_path / "ticks", tmp_path / "many", request, rows_per_shard=rows_per_shard)
    # As a cluster does it: every shard on its own, the last first.
    alone = build(
        tmp_path / "ticks", tmp_path / "apart", request, engine=Backwards(), rows_per_shard=rows_per_shard
    )
    assert alone.engine == "backwards"
    outside, left_over = alone.ticks_outside, alone.ticks_left_over
    assert outside == whole.ticks_outside == small.ticks_outside
    assert left_over == whole.ticks_left_over
    for one, many, apart in zip(whole.files, small.files, alone.files, strict=True):
        content = Path(one.path).read_bytes()
        assert content == Path(many.path).read_bytes()
        assert content == Path(apart.path).read_bytes()
        table = read_bars(Path(one.path))
        assert table.meta.type == type_
        assert table.meta.session == ("" if session is None else session.label)
        columns = table.columns()
        assert columns["ts_close_ns"].flags.c_contiguous
        assert (columns["ts_close_ns"] >= columns["ts_open_ns"]).all()
        with pytest.raises(UnevenBarsError, match=f"these are {type_} bars"):
            load_bar_set(Path(one.path))
    bars = read_bars(bar_path(tmp_path / "one", "EURUSD", request.rules[0].label, "bid")).frame
    held = int(bars["ticks"].sum())
    assert held + outside + left_over.get(f"{request.rules[0].label}/bid", 0) == 600


def test_stores_that_make_no_bar_are_refused(tmp_path: Path) -> None:
    ticks = some_ticks(50, 1)
    ticks["bid_size"] = np.zeros(50)
    write_tick_store(tmp_path, pl.DataFrame(ticks))
    out = tmp_path / "bars"
    with pytest.raises(DataError, match="need tick sizes"):
        build(tmp_path, out, BarRequest(parse_bar_rules("volume", "100"), ("bid",)))
    with pytest.raises(DataError, match="smaller size"):
        build(tmp_path, out, BarRequest(parse_bar_rules("renko", "5000"), ("bid",)))
    never = parse_session("03:00-03:01", "UTC")
    with pytest.raises(DataError, match="ticks must lie in the session"):
        build(tmp_path, out, BarRequest(parse_bar_rules("tick", "5"), ("bid",), never))
    assert not out.exists()


@pytest.mark.parametrize("type_", ["tick", "volume", "range", "renko"])
def test_a_tick_that_is_no_number_is_named(tmp_path: Path, type_: str) -> None:
    ticks = some_ticks(50, 1)
    ticks["ask_size" if type_ == "volume" else "ask"][33] = np.nan
    write_tick_store(tmp_path, pl.DataFrame(ticks), row_group_rows=8)
    with pytest.raises(DataError, match=r"must be finite, but ask(_size)? is nan") as caught:
        build(tmp_path, tmp_path / "b", BarRequest(parse_bar_rules(type_, "5"), ("ask",)))
    assert caught.value.file is not None
    assert caught.value.row is not None
