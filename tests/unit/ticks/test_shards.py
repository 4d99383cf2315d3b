"""Shards of a tick store: every tick in exactly one, in order."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aiopt.testing.tick_stores import write_tick_store
from aiopt.ticks.manifest import read_manifest
from aiopt.ticks.shards import plan_shards
from tests.unit.bars.midnight_ticks import ticks_around_midnights


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("store")
    ticks = ticks_around_midnights(2_000, 7)
    write_tick_store(folder, ticks, row_group_rows=61)
    return folder, ticks


@pytest.mark.parametrize("rows_per_shard", [1, 61, 62, 200, 700, 10_000])
def test_every_tick_is_in_exactly_one_shard_in_order(
    store: tuple[Path, pl.DataFrame], rows_per_shard: int
) -> None:
    folder, ticks = store
    shards = plan_shards(folder, read_manifest(folder), rows_per_shard)
    assert [shard.index for shard in shards] == list(range(len(shards)))
    assert sum(shard.rows for shard in shards) == ticks.height
    read = [
        pq.ParquetFile(piece.path).read_row_groups(
            list(range(pq.ParquetFile(piece.path).num_row_groups))
            if piece.row_groups is None
            else piece.row_groups
        )
        for shard in shards
        for piece in shard.pieces
    ]
    assert pl.DataFrame(pa.concat_tables(read)).equals(ticks)
    whole = sum(part.rows <= rows_per_shard // 8 for part in read_manifest(folder).partitions)
    assert sum(piece.row_groups is None for shard in shards for piece in shard.pieces) == whole
