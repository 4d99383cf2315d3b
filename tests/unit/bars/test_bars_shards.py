"""Partial bars and shards: any cut of the ticks gives the bars of the reference, bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.building.build import build
from aiopt.bars.building.shard_jobs import ShardJob
from aiopt.bars.files import bar_path, read_bars
from aiopt.bars.reducing.partial_bars import (
    empty_partial,
    finish_bars,
    merge_partials,
)
from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.request import BarRequest, base_timeframe, tick_columns
from aiopt.bars.rules import time_rules
from aiopt.bars.schema import PRICES
from aiopt.errors import ConfigError, DataError, ManifestError
from aiopt.market.instrument import instrument
from aiopt.testing.reference_bars import build_bars
from aiopt.testing.tick_stores import write_tick_store
from aiopt.ticks.manifest import Manifest, RuleCount, read_manifest, write_manifest
from aiopt.ticks.shards import plan_shards
from aiopt.timeframe import Timeframe, parse_timeframe

DAY_NS = 86_400_000_000_000
T0 = 1_398_902_400_000_000_000  # 2014-05-01 00:00 UTC


def timeframes(*labels: str) -> tuple[Timeframe, ...]:
    return tuple(parse_timeframe(label) for label in labels)


def ticks_around_midnights(rows: int, seed: int) -> pl.DataFrame:
    """Ticks of three days, dense round the midnights, with equal stamps and hours without any."""
    random = np.random.default_rng(seed)
    near = random.integers(-600_000, 600_000, rows // 2) + random.choice([1, 2], rows // 2) * 86_400_000
    anywhere = random.integers(0, 3 * 86_400_000, rows - rows // 2)
    ts = np.sort(np.concatenate((near, anywhere)) // 50 * 50) * 1_000_000 + T0
    bid = (110_000 + np.cumsum(random.integers(-3, 4, rows))) / 1e5
    ask = np.round(bid + random.integers(0, 20, rows) / 1e5, 5)
    sizes = random.integers(0, 30, (2, rows)) * 10_000.0
    return pl.DataFrame(
        {"ts_event_ns": ts, "bid": bid, "ask": ask, "bid_size": sizes[0], "ask_size": sizes[1]}
    )


def reducer_of(wanted: Sequence[Timeframe], prices: tuple[str, ...] = PRICES) -> TimeReducer:
    return TimeReducer(BarRequest(time_rules(wanted), prices), instrument("EURUSD"))


def arrays(ticks: pl.DataFrame) -> dict[str, np.ndarray]:
    return {name: ticks[name].to_numpy() for name in ticks.columns}


# --- partial bars -----------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    labels=st.sampled_from(
        [("1m",), ("1m", "5m", "15m"), ("4m", "6m"), ("7m", "1h"), ("30s", "1d"), ("5h",)]
    ),
    empty=st.sampled_from(["omit", "flat"]),
)
@settings(max_examples=60, deadline=None)
def test_bars_do_not_depend_on_where_the_ticks_are_cut(
    seed: int, cuts: list[int], labels: tuple[str, ...], empty: str
) -> None:
    ticks = ticks_around_midnights(400, seed)
    wanted = timeframes(*labels)
    reducer = reducer_of(wanted)
    edges = [0, *sorted(cuts), ticks.height]
    parts = [reducer.reduce(arrays(ticks[start:stop])) for start, stop in itertools.pairwise(edges)]
    merged = merge_partials(parts, base_timeframe(wanted))
    assert merged["ticks"].sum() == ticks.height
    for timeframe in wanted:
        for price in PRICES:
            bars = finish_bars(merged, price, timeframe, empty)  # type: ignore[arg-type]
            assert bars.equals(build_bars(ticks, timeframe, price, empty))  # type: ignore[arg-type]


@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 200), min_size=2, max_size=6))
@settings(max_examples=30, deadline=None)
def test_merging_is_associative(seed: int, cuts: list[int]) -> None:
    ticks = ticks_around_midnights(200, seed)
    base = parse_timeframe("1m")
    edges = [0, *sorted(cuts), ticks.height]
    parts = [
        reducer_of([base]).reduce(arrays(ticks[start:stop])) for start, stop in itertools.pairwise(edges)
    ]
    at_once = merge_partials(parts, base)
    one_by_one = parts[0]
    for part in parts[1:]:
        one_by_one = merge_partials([one_by_one, part], base)
    for name in at_once:
        assert np.array_equal(at_once[name], one_by_one[name])


def test_the_base_is_the_longest_common_length() -> None:
    for labels, base in (
        (("1m", "5m"), "1m"),
        (("5m", "15m"), "5m"),
        (("4m", "6m"), "2m"),
        (("90s", "1m"), "30s"),
    ):
        assert base_timeframe(timeframes(*labels)).label == base


def test_only_the_columns_needed_are_read() -> None:
    assert tick_columns(["bid"]) == ["ts_event_ns", "bid", "bid_size"]
    assert tick_columns(["mid"]) == ["ts_event_ns", "bid", "ask", "bid_size", "ask_size"]
    assert tick_columns(["ask", "bid"]) == ["ts_event_ns", "bid", "ask", "bid_size", "ask_size"]


def test_ticks_out_of_order_or_not_finite_are_refused_with_their_row() -> None:
    ticks = ticks_around_midnights(50, 1)
    reducer = reducer_of([parse_timeframe("1m")], ("mid",))
    backward = arrays(ticks)
    backward["ts_event_ns"] = np.concatenate((ticks["ts_event_ns"][:20], [T0 - 1], ticks["ts_event_ns"][21:]))
    with pytest.raises(DataError, match="in time order") as caught:
        reducer.reduce(backward)
    assert caught.value.row == 20
    for column, value in (("bid", np.nan), ("ask", np.inf), ("ask_size", np.nan), ("bid", -np.inf)):
        broken = arrays(ticks)
        broken[column] = np.where(np.arange(50) == 33, value, broken[column])
        with pytest.raises(DataError, match=f"{column} is") as caught:
            reducer.reduce(broken)
        assert caught.value.row == 33


def test_parts_out_of_order_are_refused() -> None:
    ticks = ticks_around_midnights(100, 2)
    base = parse_timeframe("1m")
    reducer = reducer_of([base], ("bid",))
    parts = [reducer.reduce(arrays(part)) for part in (ticks[50:], ticks[:50])]
    with pytest.raises(DataError, match="must be in time order"):
        merge_partials(parts, base)


def test_no_ticks_are_an_empty_partial() -> None:
    base = parse_timeframe("1m")
    nothing = reducer_of([base]).reduce(arrays(ticks_around_midnights(10, 0)[:0]))
    assert all(values.size == 0 for values in nothing.values())
    some = reducer_of([base]).reduce(arrays(ticks_around_midnights(10, 0)))
    merged = merge_partials([empty_partial(PRICES, stops=True), some, nothing], base)
    assert all(np.array_equal(merged[name], some[name]) for name in some)


# --- shards -----------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("rows_per_shard", [1, 100, 1_000, 10_000])
@pytest.mark.parametrize("empty", ["omit", "flat"])
def test_local_bars_equal_the_reference(
    store: tuple[Path, pl.DataFrame], tmp_path: Path, rows_per_shard: int, empty: str
) -> None:
    folder, ticks = store
    request = BarRequest(time_rules(timeframes("7m", "1m", "5h", "1m")), PRICES, empty=empty)  # type: ignore[arg-type]
    seen: list[tuple[int, int]] = []
    built = build(
        folder, tmp_path, request, rows_per_shard=rows_per_shard, progress=lambda *step: seen.append(step)
    )
    assert len(built.files) == 9
    for file in built.files:
        table = read_bars(Path(file.path))
        assert table.frame.equals(build_bars(ticks, file.timeframe, file.price, empty))  # type: ignore[arg-type]
        assert (table.meta.instrument, table.meta.timeframe, table.meta.price) == (
            file.instrument,
            file.timeframe,
            file.price,
        )
        assert table.meta.data_hash == read_manifest(folder).data_hash == built.data_hash
        assert table.meta.synthetic
        assert file.bars == len(table)
        assert Path(file.path) == bar_path(tmp_path, "EURUSD", parse_timeframe(file.timeframe), file.price)
    assert built.ticks == ticks.height
    assert seen[-1] == (ticks.height, ticks.height)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) == built.shards


def test_a_request_must_ask_for_something_known() -> None:
    with pytest.raises(ConfigError, match="at least one rule"):
        BarRequest((), ("bid",))
    with pytest.raises(ConfigError, match="at least one price"):
        BarRequest(time_rules(timeframes("1m")), ())
    with pytest.raises(ConfigError, match="Did you mean 'mid'"):
        BarRequest(time_rules(timeframes("1m")), ("mids",))
    with pytest.raises(ConfigError, match="rows_per_shard >= 1"):
        plan_shards(Path(), None, 0)  # type: ignore[arg-type]


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
        self.refuse(small_store, rows_per_shard, "must exist")

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
        self.refuse(small_store, rows_per_shard, "SHA-256|must hold the")

    def test_other_values(self, small_store: Path, rows_per_shard: int) -> None:
        path = first_file(small_store)
        table = pq.read_table(path)
        raised = pa.compute.add(table["bid"], 1e-5)
        pq.write_table(table.set_column(1, table.schema.field("bid"), raised), path, row_group_size=40)
        self.refuse(small_store, rows_per_shard, "SHA-256")

    def test_fewer_rows_in_the_manifest(self, small_store: Path, rows_per_shard: int) -> None:
        edit(small_store, rows=read_manifest(small_store).partitions[0].rows - 1)
        self.refuse(small_store, rows_per_shard, "must hold the")

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
    with pytest.raises(ManifestError, match="must have the column ask"):
        build_all(small_store, 10_000)


def test_a_store_without_ticks_is_refused(tmp_path: Path) -> None:
    write_tick_store(tmp_path, ticks_around_midnights(10, 0)[:0])
    with pytest.raises(ManifestError, match="at least one tick"):
        build_all(tmp_path, 100)


def test_an_unknown_row_group_is_refused(small_store: Path) -> None:
    manifest: Manifest = read_manifest(small_store)
    shard = plan_shards(small_store, manifest, 10)[0]
    table = pq.read_table(first_file(small_store))
    pq.write_table(table.slice(0, 0), first_file(small_store))
    with pytest.raises(ManifestError, match=r"SHA-256|row group"):
        ShardJob(shard, BarRequest(time_rules(timeframes("1m")), ("bid",))).run()


# --- ticks the import is said to have dropped -------------------------------------------------------------


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
