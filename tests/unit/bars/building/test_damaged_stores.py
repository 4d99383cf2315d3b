"""A store that is not what its manifest says: an error that names the file, and no bars."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aiopt.bars.building.build import build
from aiopt.bars.building.shard_jobs import ShardJob
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import time_rules
from aiopt.errors import DataError, ManifestError
from aiopt.testing.tick_stores import write_tick_store
from aiopt.ticks.manifest import Manifest, RuleCount, read_manifest, write_manifest
from aiopt.ticks.shards import plan_shards
from tests.unit.bars.midnight_ticks import T0, ticks_around_midnights, timeframes

DAY_NS = 86_400_000_000_000


def edit(folder: Path, **changes: object) -> None:
    """Change the first partition of a manifest and keep the manifest consistent in itself."""
    import msgspec

    from aiopt.ticks.manifest import hash_partitions

    manifest = read_manifest(folder)
    first = msgspec.structs.replace(manifest.partitions[0], **changes)
    partitions = [first, *manifest.partitions[1:]]
    changed = msgspec.structs.replace(manifest, partitions=partitions, data_hash=hash_partitions(partitions))
    write_manifest(folder, changed)


def first_file(folder: Path) -> Path:
    return folder / read_manifest(folder).partitions[0].path


def build_all(folder: Path, rows_per_shard: int) -> None:
    request = BarRequest(time_rules(timeframes("1m")), ("bid", "ask"))
    build(folder, folder / "bars", request, rows_per_shard=rows_per_shard)


@pytest.fixture
def small_store(tmp_path: Path) -> Path:
    write_tick_store(tmp_path / "ticks", ticks_around_midnights(300, 3), row_group_rows=40)
    return tmp_path / "ticks"


@pytest.mark.parametrize("rows_per_shard", [10, 10_000])
class TestDamage:
    """A store that is not what its manifest says: an error that names the file, and no bars."""

    def refuse(self, folder: Path, rows_per_shard: int, match: str) -> None:
        with pytest.raises(DataError, match=match) as caught:
            build_all(folder, rows_per_shard)
        assert caught.value.file == first_file(folder)
        assert not (folder / "bars").exists()

    def test_missing(self, small_store: Path, rows_per_shard: int) -> None:
        first_file(small_store).unlink()
        self.refuse(small_store, rows_per_shard, "is missing")

    def test_truncated(self, small_store: Path, rows_per_shard: int) -> None:
        path = first_file(small_store)
        path.write_bytes(path.read_bytes()[:-50])
        self.refuse(small_store, rows_per_shard, "readable Parquet")

    def test_a_flipped_byte(self, small_store: Path, rows_per_shard: int) -> None:
        path = first_file(small_store)
        content = bytearray(path.read_bytes())
        content[60] ^= 0xFF
        path.write_bytes(content)
        self.refuse(small_store, rows_per_shard, "SHA-256|readable Parquet")

    def test_rows_removed(self, small_store: Path, rows_per_shard: int) -> None:
        path = first_file(small_store)
        table = pq.read_table(path)
        pq.write_table(table.slice(0, table.num_rows - 1), path, row_group_size=40)
        self.refuse(small_store, rows_per_shard, "SHA-256|the manifest says")

    def test_other_values(self, small_store: Path, rows_per_shard: int) -> None:
        path = first_file(small_store)
        table = pq.read_table(path)
        raised = pa.compute.add(table["bid"], 1e-5)
        pq.write_table(table.set_column(1, table.schema.field("bid"), raised), path, row_group_size=40)
        self.refuse(small_store, rows_per_shard, "SHA-256")

    def test_fewer_rows_in_the_manifest(self, small_store: Path, rows_per_shard: int) -> None:
        edit(small_store, rows=read_manifest(small_store).partitions[0].rows - 1)
        self.refuse(small_store, rows_per_shard, "the manifest says")

    def test_another_first_stamp_in_the_manifest(self, small_store: Path, rows_per_shard: int) -> None:
        edit(small_store, first_ts_ns=T0 + 1)
        self.refuse(small_store, rows_per_shard, "first tick")

    def test_another_last_stamp_in_the_manifest(self, small_store: Path, rows_per_shard: int) -> None:
        edit(small_store, last_ts_ns=T0 + DAY_NS)
        self.refuse(small_store, rows_per_shard, "last tick")


def test_bytes_are_compared_unless_told_otherwise(small_store: Path, tmp_path: Path) -> None:
    edit(small_store, sha256="0" * 64)
    request = BarRequest(time_rules(timeframes("1m")), ("bid",))
    with pytest.raises(ManifestError, match="SHA-256"):
        build(small_store, tmp_path / "bars", request)
    assert build(small_store, tmp_path / "bars", request, verify=False).ticks == 300


def rewrite_first(folder: Path, table: pa.Table) -> None:
    """Replace the first partition and let the manifest agree with its bytes."""
    from aiopt.files import sha256_file

    path = first_file(folder)
    pq.write_table(table, path, row_group_size=40)
    edit(folder, sha256=sha256_file(path), rows=table.num_rows)


def test_ticks_out_of_order_name_file_and_row(small_store: Path) -> None:
    table = pq.read_table(first_file(small_store))
    order = np.arange(table.num_rows)
    order[[50, 60]] = order[[60, 50]]
    rewrite_first(small_store, table.take(order))
    with pytest.raises(DataError, match=r"ticks\.parquet, row 51: .*time order"):
        build_all(small_store, 10_000)


def test_columns_of_another_kind_are_refused(small_store: Path) -> None:
    table = pq.read_table(first_file(small_store))
    rewrite_first(small_store, table.set_column(1, "bid", table["bid"].cast(pa.float32())))
    with pytest.raises(ManifestError, match="bid must be double"):
        build_all(small_store, 10_000)
    nulls = pa.array([None, *table["ask"].to_pylist()[1:]], type=pa.float64())
    rewrite_first(small_store, table.set_column(2, pa.field("ask", pa.float64()), nulls))
    with pytest.raises(ManifestError, match="1 nulls"):
        build_all(small_store, 10_000)
    rewrite_first(small_store, table.drop_columns(["ask"]))
    with pytest.raises(ManifestError, match="no column ask"):
        build_all(small_store, 10_000)


def test_a_store_without_ticks_is_refused(tmp_path: Path) -> None:
    write_tick_store(tmp_path, ticks_around_midnights(10, 0)[:0])
    with pytest.raises(ManifestError, match="has no ticks"):
        build_all(tmp_path, 100)


def test_an_unknown_row_group_is_refused(small_store: Path) -> None:
    manifest: Manifest = read_manifest(small_store)
    shard = plan_shards(small_store, manifest, 10)[0]
    table = pq.read_table(first_file(small_store))
    pq.write_table(table.slice(0, 0), first_file(small_store))
    with pytest.raises(ManifestError, match=r"SHA-256|row group"):
        ShardJob(shard, BarRequest(time_rules(timeframes("1m")), ("bid",))).run()


@pytest.mark.parametrize(("rule", "row"), [("crossed", 7), ("duplicate", 4)])
@pytest.mark.parametrize("treatment", ["drop", "keep"])
def test_crossed_and_duplicate_ticks_are_refused_where_the_import_dropped_them(
    tmp_path: Path, rule: str, row: int, treatment: str
) -> None:
    ticks = ticks_around_midnights(20, 3).with_columns(
        ts_event_ns=pl.int_range(20, dtype=pl.Int64) * 1_000_000_000 + T0
    )
    columns = {name: ticks[name].to_numpy().copy() for name in ticks.columns}
    if rule == "crossed":
        columns["ask"][row] = columns["bid"][row] - 0.001
    else:
        for name in ("ts_event_ns", "bid", "ask"):
            columns[name][row] = columns[name][row - 1]
    manifest = write_tick_store(tmp_path, pl.DataFrame(columns), row_group_rows=6)
    count = RuleCount(rule=rule, treatment=treatment, found=0, dropped=0, hours={})
    write_manifest(tmp_path, msgspec.structs.replace(manifest, rules=[count]))
    request = BarRequest(time_rules(timeframes("1m")), ("bid",))
    if treatment == "keep":
        assert build(tmp_path, tmp_path / "bars", request).ticks == 20
        return
    with pytest.raises(DataError, match=f"dropped {rule} ticks, but one is here") as caught:
        build(tmp_path, tmp_path / "bars", request)
    assert caught.value.row == row
    assert build(tmp_path, tmp_path / "bars", request, verify=False).ticks == 20
