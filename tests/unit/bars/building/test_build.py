"""Building time bars from a store: equal to the reference, refused where the store is not what it says."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl
import pytest

from aiopt.bars.building.build import LOCAL_BELOW_TICKS, build, choose_engine
from aiopt.bars.files import bar_path, read_bars
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import time_rules
from aiopt.bars.schema import PRICES
from aiopt.errors import ConfigError
from aiopt.testing.reference_bars import build_bars
from aiopt.testing.tick_stores import write_tick_store
from aiopt.ticks.manifest import read_manifest
from aiopt.ticks.shards import plan_shards
from aiopt.timeframe import parse_timeframe
from tests.unit.bars.midnight_ticks import ticks_around_midnights, timeframes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("store")
    ticks = ticks_around_midnights(2_000, 7)
    write_tick_store(folder, ticks, row_group_rows=61)
    return folder, ticks


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


def test_an_engine_is_local_or_an_object(store: tuple[Path, pl.DataFrame], tmp_path: Path) -> None:
    request = BarRequest(time_rules(["1m"]), ("bid",))
    with pytest.raises(ConfigError, match=r"got 'ray'\. For Ray give cluster\.bars\.RayEngine\(\)"):
        build(store[0], tmp_path, request, engine="ray")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "connected", "rows", "chosen"),
    [
        ("auto", False, 5, "local"),
        ("auto", True, 5, "ray"),
        ("auto", False, LOCAL_BELOW_TICKS, "ray"),
        ("local", True, LOCAL_BELOW_TICKS, "local"),
        ("ray", False, 5, "ray"),
    ],
)
def test_auto_starts_no_cluster_for_few_ticks(
    store: tuple[Path, pl.DataFrame], asked: str, connected: bool, rows: int, chosen: str
) -> None:
    manifest = msgspec.structs.replace(read_manifest(store[0]), rows=rows)
    assert choose_engine(asked, manifest, connected=connected) == chosen


def test_an_unknown_engine_is_refused(store: tuple[Path, pl.DataFrame]) -> None:
    with pytest.raises(ConfigError, match="must be auto, local or ray, but got 'dask'"):
        choose_engine("dask", read_manifest(store[0]), connected=False)
