"""Rows of shards as Ray Data blocks: what a shard sent is what the driver puts together, in any order."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiopt.bars.building.shard_jobs import ShardJob, ShardRows
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.errors import ClusterError, ManifestError
from aiopt.testing.tick_stores import write_tick_store
from aiopt.ticks.manifest import read_manifest
from aiopt.ticks.shards import plan_shards
from cluster.bars import _Arriving, _ShardTask


def job(folder: Path, type_: str = "time", size: str = "1m") -> ShardJob:
    rng = np.random.default_rng(3)
    bid = np.round(1.1 + rng.integers(-9, 9, 200).cumsum() / 1e5, 5)
    ticks = {
        "ts_event_ns": rng.integers(0, 9, 200).cumsum() * 1_000_000_000,
        "bid": bid,
        "ask": np.round(bid + 8e-5, 5),
        "bid_size": np.ones(200),
        "ask_size": np.ones(200),
    }
    write_tick_store(folder, pl.DataFrame(ticks), row_group_rows=31)
    (shard,) = plan_shards(folder, read_manifest(folder))
    return ShardJob(shard, BarRequest(parse_bar_rules(type_, size), ("bid", "ask")))


def arrived(blocks: list[pa.Table]) -> ShardRows:
    arriving = _Arriving()
    ends = [arriving.take(row["batch"], row["result"]) for block in blocks for row in block.to_pylist()]
    assert ends.count(True) == 1
    return arriving.whole(0)


@pytest.mark.parametrize(("type_", "size"), [("time", "1m"), ("range", "0.5"), ("tick", "7")])
def test_blocks_give_back_the_rows_of_a_shard_in_whatever_order_they_come(
    tmp_path: Path, type_: str, size: str
) -> None:
    work = job(tmp_path, type_, size)
    expected = work.run()
    blocks = list(_ShardTask(work)())
    assert len(blocks) == len(expected.rows[0]) + 1 > 3
    for order in (blocks, blocks[::-1], [pa.concat_tables(blocks)]):
        found = arrived(order)
        assert (found.first, found.outside) == (expected.first, expected.outside)
        assert all(map(np.array_equal, found.states, expected.states))
        for ours, theirs in zip(found.rows, expected.rows, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert one.keys() == other.keys()
                assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("lost", [0, -1])
def test_a_lost_block_is_an_error(tmp_path: Path, lost: int) -> None:
    blocks = list(_ShardTask(job(tmp_path))())
    del blocks[lost]
    arriving = _Arriving()
    for block in blocks:
        for row in block.to_pylist():
            arriving.take(row["batch"], row["result"])
    with pytest.raises(ClusterError, match="Ray Data delivered only"):
        arriving.whole(0)


def test_an_error_of_the_data_is_a_block_of_its_own(tmp_path: Path) -> None:
    work = job(tmp_path)
    Path(work.shard.pieces[0].path).unlink()
    (block,) = _ShardTask(work)()
    failure = pickle.loads(block["failure"][0].as_py())
    assert isinstance(failure, ManifestError)
    assert "is missing" in failure.reason
