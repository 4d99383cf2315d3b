"""Bars through Ray Data on a real cluster: tiny row groups, odd edges, damaged stores, metrics."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import ray

from aiopt.bars.building.build import BarBuild, build
from aiopt.bars.building.shard_jobs import ShardJob
from aiopt.bars.files import read_bars
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.bars.schema import PRICES
from aiopt.errors import ClusterError, DataError, ManifestError
from aiopt.market.sessions import TradingSession, parse_session
from aiopt.testing.reference_bars import build_bars
from aiopt.testing.tick_stores import write_tick_store
from aiopt.ticks.manifest import read_manifest
from aiopt.ticks.shards import plan_shards
from cluster.bars import RayEngine, TickShardsDatasource
from cluster.metrics import RunMetrics

# Ray Data warns of the defaults of its own settings when it first builds them.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated.*:DeprecationWarning")

T0 = 1_398_902_400_000_000_000  # 2014-05-01 00:00 UTC
REQUEST = BarRequest(parse_bar_rules("time", "1m,7m,1h"), PRICES)


def build_on_ray(store: Path, out: Path, request: BarRequest, rows: int | None = None) -> BarBuild:
    return build(store, out, request, engine=RayEngine(), rows_per_shard=rows)


@pytest.fixture(autouse=True)
def connected(ray_driver: object) -> None:
    """Every test here runs as a driver of the test cluster."""


@pytest.fixture(scope="module")
def ticks() -> pl.DataFrame:
    """3,000 ticks of three days: bursts round both midnights, equal stamps, empty hours."""
    random = np.random.default_rng(11)
    near = random.integers(-400_000, 400_000, 1_500) + random.choice([1, 2], 1_500) * 86_400_000
    anywhere = random.integers(0, 3 * 86_400_000, 1_500)
    ts = np.sort(np.concatenate((near, anywhere)) // 100 * 100) * 1_000_000 + T0
    bid = (110_000 + np.cumsum(random.integers(-3, 4, ts.size))) / 1e5
    ask = np.round(bid + random.integers(0, 20, ts.size) / 1e5, 5)
    sizes = random.integers(0, 30, (2, ts.size)) * 10_000.0
    return pl.DataFrame(
        {"ts_event_ns": ts, "bid": bid, "ask": ask, "bid_size": sizes[0], "ask_size": sizes[1]}
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, ticks: pl.DataFrame) -> Path:
    folder = tmp_path_factory.mktemp("ticks")
    write_tick_store(folder, ticks, row_group_rows=97)
    return folder


@pytest.mark.parametrize("rows_per_shard", [50, 300, 5_000, None])
@pytest.mark.parametrize("empty", ["omit", "flat"])
def test_bars_equal_the_reference_bit_for_bit(
    store: Path, ticks: pl.DataFrame, tmp_path: Path, rows_per_shard: int | None, empty: str
) -> None:
    request = BarRequest(REQUEST.rules, PRICES, empty=empty)  # type: ignore[arg-type]
    seen: list[tuple[int, int]] = []
    built = build(
        store,
        tmp_path / "ray",
        request,
        engine=RayEngine(),
        rows_per_shard=rows_per_shard,
        progress=lambda *step: seen.append(step),
    )
    assert built.engine == "ray"
    assert built.shards == len(plan_shards(store, read_manifest(store), rows_per_shard or 262_144))
    assert len(built.files) == 9
    for file in built.files:
        expected = build_bars(ticks, file.timeframe, file.price, empty)  # type: ignore[arg-type]
        assert read_bars(Path(file.path)).frame.equals(expected)
    local = build(store, tmp_path / "local", request)
    for ours, theirs in zip(built.files, local.files, strict=True):
        assert Path(ours.path).read_bytes() == Path(theirs.path).read_bytes()
    assert seen[-1] == (ticks.height, ticks.height)


def test_a_large_result_cut_into_blocks_is_put_together(
    store: Path, ticks: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.data import DataContext

    monkeypatch.setattr(DataContext.get_current(), "target_max_block_size", 4_096)
    built = build_on_ray(store, tmp_path, REQUEST, 5_000)
    for file in built.files:
        assert read_bars(Path(file.path)).frame.equals(build_bars(ticks, file.timeframe, file.price))
    assert DataContext.get_current().target_max_block_size == 4_096
    assert DataContext.get_current().op_resource_reservation_enabled


def test_a_damaged_store_is_an_error_that_names_the_file(ticks: pl.DataFrame, tmp_path: Path) -> None:
    folder = tmp_path / "ticks"
    manifest = write_tick_store(folder, ticks, row_group_rows=97)
    damaged = folder / manifest.partitions[1].path
    content = damaged.read_bytes()
    damaged.write_bytes(content[:200] + bytes(20) + content[220:])
    with pytest.raises(ManifestError, match="SHA-256") as caught:
        build_on_ray(folder, tmp_path / "bars", REQUEST, 5_000)
    assert caught.value.file == damaged
    damaged.unlink()
    with pytest.raises(DataError, match="is missing") as missing:
        build_on_ray(folder, tmp_path / "bars", REQUEST, 5_000)
    assert missing.value.file == damaged
    assert not (tmp_path / "bars").exists()


def test_a_bug_in_a_task_fails_the_build(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A class Ray must pickle by value: the workers could not import this test module.
    class Broken:
        def __init__(self, job: ShardJob) -> None:
            self.shard = job.shard

        def __call__(self) -> list[object]:
            raise ZeroDivisionError("a bug")

    monkeypatch.setattr("cluster.bars._ShardTask", Broken)
    with pytest.raises(ClusterError, match="a bug"):
        build_on_ray(store, tmp_path, REQUEST)
    assert list(tmp_path.iterdir()) == []


def test_operator_tasks_and_gauge_can_be_recognised(store: Path, tmp_path: Path, ray_driver: object) -> None:
    shards = plan_shards(store, read_manifest(store), 500)
    source = TickShardsDatasource([ShardJob(shard, REQUEST) for shard in shards], "TimeBars")
    assert source.get_name() == "TickShardsToTimeBars"
    assert len(source.get_read_tasks(parallelism=1)) == len(shards)
    build(store, tmp_path, REQUEST, engine=RayEngine(RunMetrics("bars-test")))
    assert "aiopt_ticks_per_second" in scrape('run="bars-test"')


def scrape(needle: str, timeout_s: float = 60.0) -> str:
    """Return the metric lines of this node that contain `needle`, waiting for Ray's export interval."""
    port = next(node["MetricsExportPort"] for node in ray.nodes() if node["Alive"])
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=10) as answer:
            lines = [line for line in answer.read().decode().splitlines() if needle in line]
        if lines:
            return "\n".join(lines)
        time.sleep(1)
    return ""


# --- tick, volume, range and Renko bars -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "sizes"), [("tick", "50"), ("volume", "2000000"), ("range", "2,5"), ("renko", "1.5")]
)
@pytest.mark.parametrize("session", [None, parse_session("08:00-20:00", "America/New_York")])
def test_event_bars_equal_those_of_one_process(
    store: Path, tmp_path: Path, type_: str, sizes: str, session: TradingSession | None
) -> None:
    request = BarRequest(parse_bar_rules(type_, sizes), PRICES, session, spread_stats=True)
    local = build(store, tmp_path / "local", request)
    seen: list[tuple[int, int]] = []
    ray_build = build(
        store,
        tmp_path / "ray",
        request,
        engine=RayEngine(),
        rows_per_shard=700,
        progress=lambda *step: seen.append(step),
    )
    assert (ray_build.engine, ray_build.ticks) == ("ray", 3_000)
    assert ray_build.shards > 3
    assert seen[-1] == (3_000, 3_000)
    assert ray_build.ticks_outside == local.ticks_outside
    assert (local.ticks_outside > 0) == (session is not None)
    assert ray_build.ticks_left_over == local.ticks_left_over
    for ours, theirs in zip(ray_build.files, local.files, strict=True):
        assert Path(ours.path).read_bytes() == Path(theirs.path).read_bytes()


def test_session_bars_with_spread_and_fill_equal_those_of_one_process(store: Path, tmp_path: Path) -> None:
    # Three of four shards of fifty ticks lie outside the window: they send no bar.
    window = parse_session("06:00-06:30", "Asia/Tokyo")
    request = BarRequest(REQUEST.rules, PRICES, session=window, spread_stats=True, fill="flat")
    local = build(store, tmp_path / "local", request)
    ray_build = build_on_ray(store, tmp_path / "ray", request, 50)
    assert ray_build.ticks_outside == local.ticks_outside > 2_000
    for ours, theirs in zip(ray_build.files, local.files, strict=True):
        assert Path(ours.path).read_bytes() == Path(theirs.path).read_bytes()


def test_a_damaged_store_stops_event_bars(ticks: pl.DataFrame, tmp_path: Path) -> None:
    folder = tmp_path / "ticks"
    manifest = write_tick_store(folder, ticks, row_group_rows=97)
    damaged = folder / manifest.partitions[1].path
    content = damaged.read_bytes()
    damaged.write_bytes(content[:200] + bytes(20) + content[220:])
    request = BarRequest(parse_bar_rules("range", "2"), ("bid",))
    with pytest.raises(ManifestError, match="SHA-256") as caught:
        build_on_ray(folder, tmp_path / "bars", request)
    assert caught.value.file == damaged
    assert not (tmp_path / "bars").exists()
