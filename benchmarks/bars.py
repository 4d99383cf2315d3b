"""Ticks to 1m, 5m and 15m bar files: Ray Data, plain Ray tasks and one process against one Polars process.

All ways read the same tick store, write the same files, and are refused unless the files are equal byte for
byte.  They take turns, round after round; the median counts, and the fastest and slowest round are given.
"Verified" checks every file and tick against the manifest as well: the default of `aiopt bars build`.

The main input is five Parquet files of 2,880,000 ticks; `days_` is a second one, 144 days of about a hundred
thousand ticks, a file each.  Fifteen files show what memory does when the input grows threefold.

`AIOPT_BENCH_BARS_ROUNDS` sets the rounds.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from aiopt.bars.building.build import build
from aiopt.bars.building.shard_jobs import ShardJob, ShardRows
from aiopt.bars.building.writing import write_bar_files
from aiopt.bars.files import bar_path, write_bars
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules, time_rules
from aiopt.bars.schema import BarMeta
from aiopt.ticks.manifest import Manifest, read_manifest
from aiopt.ticks.sample import generate_ticks
from aiopt.ticks.schema import nearest_decimal
from aiopt.ticks.shards import plan_shards
from aiopt.timeframe import Timeframe, parse_timeframe
from benchmarks._harness import CACHE, Figure, interleaved, median
from benchmarks._tick_files import exact_store

TIMEFRAMES = tuple(parse_timeframe(label) for label in ("1m", "5m", "15m"))
RULES = time_rules(TIMEFRAMES)
REQUESTS = {"mid": BarRequest(RULES, ("mid",)), "all": BarRequest(RULES, ("bid", "ask", "mid"))}
FIELDS = ("open", "high", "low", "close", "volume")
ROUNDS = int(os.environ.get("AIOPT_BENCH_BARS_ROUNDS", "9"))
EVENTS = {"tick": "500", "volume": "500000000", "range": "5", "renko": "5"}
EVENT_ROUNDS = 3
WORKER_LIMIT_MIB = 1000.0
PROJECTED_CORES = 32


def run() -> list[Figure]:
    """Measure and return the figures."""
    five, fifteen = CACHE / "ticks-5-files", CACHE / "ticks-15-files"
    manifest, large = exact_store(five, 5), exact_store(fifteen, 15)
    days = CACHE / "ticks-144-days"
    many = generate_ticks(days, days=144, progress=_say)
    with tempfile.TemporaryDirectory() as folder, _cluster(Path(folder)) as (start_s, cluster_id):
        scratch = Path(folder)
        figures = [
            Figure(name="ticks", value=manifest.rows, unit="ticks"),
            Figure(name="ray_start", value=start_s, unit="s"),
        ]
        started = time.perf_counter()
        _ray_data(five, scratch / "first", REQUESTS["mid"], verify=True)
        figures.append(Figure(name="first_ray_data_build", value=time.perf_counter() - started, unit="s"))
        figures += _compare("mid", REQUESTS["mid"], five, manifest, scratch / "mid")
        figures += _compare("all", REQUESTS["all"], five, manifest, scratch / "all")
        figures += _compare("days_mid", REQUESTS["mid"], days, many, scratch / "days")
        figures += _events(five, manifest, scratch / "events")
        figures += _memory(cluster_id, {"14m": five, "43m": fifteen}, scratch / "memory")
        figures += _scaling(fifteen, large, scratch / "scaling")
    return figures


def _compare(name: str, request: BarRequest, store: Path, manifest: Manifest, out: Path) -> list[Figure]:
    ways: dict[str, Callable[[], Any]] = {
        "polars": lambda: _polars_dynamic(store, manifest, out / "polars", request),
        "polars_sorted_keys": lambda: _polars_sorted_keys(
            store, manifest, out / "polars_sorted_keys", request
        ),
        "ray_data": lambda: _ray_data(store, out / "ray_data", request, verify=False),
        "ray_data_verified": lambda: _ray_data(store, out / "ray_data_verified", request, verify=True),
        "ray_tasks": lambda: _ray_tasks(store, manifest, out / "ray_tasks", request),
        "one_process": lambda: build(store, out / "one_process", request, verify=False),
    }
    rounds = interleaved(ways, ROUNDS)
    times = {way: median(seconds) for way, seconds in rounds.items()}
    for way in ways:
        _assert_equal(out / "polars", out / way, len(request.prices) * len(request.rules))
    figures = []
    for way, seconds in times.items():
        target = {"ray_data": 15e6, "ray_data_verified": 7.5e6}.get(way)
        rate = manifest.rows / seconds
        figures += [
            Figure(name=f"{name}_{way}_rate", value=rate, unit="ticks/s", target=target),
            Figure(name=f"{name}_{way}_fastest", value=min(rounds[way]), unit="s"),
            Figure(name=f"{name}_{way}_median", value=seconds, unit="s"),
            Figure(name=f"{name}_{way}_slowest", value=max(rounds[way]), unit="s"),
        ]
    for way in ways:
        target = 1.5 if way == "ray_data" else None
        ratio = times["polars"] / times[way]
        figures.append(Figure(name=f"{name}_{way}_over_polars", value=ratio, unit="x", target=target))
    ratio = times["ray_data"] / times["ray_data_verified"]
    figures.append(Figure(name=f"{name}_verified_over_unverified", value=ratio, unit="x", target=0.5))
    return figures


def _events(store: Path, manifest: Manifest, out: Path) -> list[Figure]:
    """Measure tick, volume, range and Renko bars of the bid in one process and through Ray Data."""
    from cluster.bars import RayEngine

    figures = []
    for type_, size in EVENTS.items():
        request = BarRequest(parse_bar_rules(type_, size), ("bid",))
        local, ray_data = out / type_ / "one_process", out / type_ / "ray_data"

        def in_one_process(request: BarRequest = request, local: Path = local) -> None:
            build(store, local, request, verify=False)

        def through_ray(request: BarRequest = request, ray_data: Path = ray_data) -> None:
            build(store, ray_data, request, engine=RayEngine(), verify=False)

        rounds = interleaved({"one_process": in_one_process, "ray_data": through_ray}, EVENT_ROUNDS)
        _assert_equal(local, ray_data, 1)
        for way, seconds in rounds.items():
            rate = manifest.rows / median(seconds)
            figures.append(Figure(name=f"{request.rules[0].label}_{way}_rate", value=rate, unit="ticks/s"))
    return figures


def _memory(cluster_id: str, stores: dict[str, Path], out: Path) -> list[Figure]:
    """Return the largest peak of resident memory of any Ray worker, for inputs of growing size."""
    figures = []
    for name, store in stores.items():
        for pid in _workers(cluster_id):
            # 5: start the peak of resident memory anew.
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        for _ in range(2):
            _ray_data(store, out / name, REQUESTS["all"], verify=True)
        peak = max(_peak_mib(pid) for pid in _workers(cluster_id))
        if not 0 < peak < WORKER_LIMIT_MIB:
            raise AssertionError(f"a worker reached {peak:.0f} MiB, the limit is {WORKER_LIMIT_MIB:.0f}")
        target = WORKER_LIMIT_MIB
        figures.append(Figure(name=f"worker_peak_rss_{name}", value=peak, unit="MiB", target=target))
    return figures


def _scaling(store: Path, manifest: Manifest, out: Path) -> list[Figure]:
    """Measure one and two cores and project more: ``fixed + tasks * per_task + ticks * per_tick / cores``.

    One read task keeps one core busy and two keep two.  The fastest rounds are used: a busy neighbour only
    ever adds.
    """
    request = REQUESTS["mid"]
    idle = {tasks: plan_shards(store, manifest, manifest.rows // tasks, verify=False) for tasks in (2, 16)}
    ways: dict[str, Callable[[], Any]] = {
        "one_core": lambda: _ray_data(store, out, request, verify=False, rows_per_shard=manifest.rows),
        "two_cores": lambda: _ray_data(store, out, request, verify=False, rows_per_shard=manifest.rows // 2),
        "idle_2": lambda: _idle_tasks(idle[2], request),
        "idle_16": lambda: _idle_tasks(idle[16], request),
    }
    fastest = {way: min(seconds) for way, seconds in interleaved(ways, ROUNDS).items()}
    one, two = fastest["one_core"], fastest["two_cores"]
    per_task = (fastest["idle_16"] - fastest["idle_2"]) / (len(idle[16]) - len(idle[2]))
    fixed = fastest["idle_2"] - len(idle[2]) * per_task
    per_tick = (one - fixed - per_task) / manifest.rows

    def model(ticks: float, cores: int, tasks: int) -> float:
        return fixed + tasks * per_task + ticks * per_tick / cores

    many = 2 * PROJECTED_CORES
    small = model(manifest.rows, PROJECTED_CORES, PROJECTED_CORES)
    billion = 1e9 / model(1e9, PROJECTED_CORES, many)
    return [
        Figure(name="scaling_ticks", value=manifest.rows, unit="ticks"),
        Figure(name="one_core", value=one, unit="s"),
        Figure(name="two_cores", value=two, unit="s"),
        Figure(name="two_cores_over_one", value=one / two, unit="x"),
        Figure(name="ray_data_fixed", value=fixed, unit="s"),
        Figure(name="ray_data_per_task", value=per_task, unit="s"),
        Figure(name="work_per_tick", value=per_tick * 1e9, unit="ns"),
        Figure(name="model_two_cores", value=model(manifest.rows, 2, 2), unit="s"),
        Figure(name="projected_32_cores_43m", value=small, unit="s"),
        Figure(name="projected_32_cores_1000m_rate", value=billion, unit="ticks/s"),
        Figure(
            name="projected_32_over_1_core_1000m",
            value=model(1e9, 1, 2) / model(1e9, PROJECTED_CORES, many),
            unit="x",
        ),
    ]


class _IdleJob(ShardJob):
    """A job that reads nothing: what is left is Ray Data's own cost."""

    __slots__ = ()

    def run(self) -> ShardRows:
        return ShardRows([[]], (), 0, 0)


def _idle_tasks(shards: list[Any], request: BarRequest) -> None:
    from cluster.bars import RayEngine

    RayEngine().run([_IdleJob(shard, request) for shard in shards], "Idle", lambda ticks: None)


def _workers(cluster_id: str) -> list[int]:
    from cluster.processes import marked

    found = []
    for process in marked(cluster_id):
        command = Path(f"/proc/{process.pid}/cmdline")
        if command.is_file() and command.read_bytes().startswith(b"ray::"):
            found.append(process.pid)
    if not found:
        raise AssertionError("no Ray worker was found")
    return found


def _peak_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _polars_dynamic(store: Path, manifest: Manifest, out: Path, request: BarRequest) -> None:
    """Build the bars as a Polars user would: dynamic groups to 1m, rolled up from there."""
    minutes = (
        _sides(store, manifest, request, pl.from_epoch("ts_event_ns", "ns").set_sorted())
        .group_by_dynamic("t", every="1m")
        .agg(*_first_rules(request))
        .collect()
    )
    longer = {
        timeframe: minutes.lazy().group_by_dynamic("t", every=timeframe.label) for timeframe in TIMEFRAMES[1:]
    }
    frames = {timeframe: group.agg(*_next_rules(request)).collect() for timeframe, group in longer.items()}
    for timeframe, bars in ({TIMEFRAMES[0]: minutes} | frames).items():
        _write(out, manifest, request, timeframe, bars.with_columns(ts_open_ns=pl.col("t").cast(pl.Int64)))


def _polars_sorted_keys(store: Path, manifest: Manifest, out: Path, request: BarRequest) -> None:
    """Build the bars by the fastest way found in Polars: integer keys that are declared sorted."""
    minute_ns = TIMEFRAMES[0].ns
    minutes = (
        _sides(store, manifest, request, pl.col("ts_event_ns") // minute_ns)
        .with_columns(pl.col("t").set_sorted())
        .group_by("t", maintain_order=True)
        .agg(*_first_rules(request))
        .collect()
    )
    for timeframe in TIMEFRAMES:
        ratio = timeframe.ns // minute_ns
        longer = minutes.lazy().with_columns((pl.col("t") // ratio).set_sorted())
        bars = longer.group_by("t", maintain_order=True).agg(*_next_rules(request)).collect()
        _write(out, manifest, request, timeframe, bars.with_columns(ts_open_ns=pl.col("t") * timeframe.ns))


def _sides(store: Path, manifest: Manifest, request: BarRequest, key: pl.Expr) -> pl.LazyFrame:
    sides = {
        "bid": (pl.col("bid"), pl.col("bid_size")),
        "ask": (pl.col("ask"), pl.col("ask_size")),
        "mid": ((pl.col("bid") + pl.col("ask")) / 2, pl.col("bid_size") + pl.col("ask_size")),
    }
    return pl.scan_parquet([store / part.path for part in manifest.partitions]).select(
        key.alias("t"),
        *(value.alias(price) for price, (value, _) in sides.items() if price in request.prices),
        *(size.alias(f"{price}_size") for price, (_, size) in sides.items() if price in request.prices),
    )


def _first_rules(request: BarRequest) -> list[pl.Expr]:
    rules = [pl.len().cast(pl.Int64).alias("ticks")]
    for price in request.prices:
        rules += [
            pl.col(price).first().alias(f"{price}_open"),
            pl.col(price).max().alias(f"{price}_high"),
            pl.col(price).min().alias(f"{price}_low"),
            pl.col(price).last().alias(f"{price}_close"),
            pl.col(f"{price}_size").sum().alias(f"{price}_volume"),
        ]
    return rules


def _next_rules(request: BarRequest) -> list[pl.Expr]:
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    columns = [(f"{price}_{name}", rule) for price in request.prices for name, rule in rules.items()]
    return [pl.col("ticks").sum(), *(getattr(pl.col(name), rule)() for name, rule in columns)]


def _write(
    out: Path, manifest: Manifest, request: BarRequest, timeframe: Timeframe, bars: pl.DataFrame
) -> None:
    for price in request.prices:
        frame = bars.select(
            "ts_open_ns", *(pl.col(f"{price}_{name}").alias(name) for name in FIELDS), "ticks"
        )
        if price == "mid":
            frame = frame.with_columns(
                pl.Series(name, nearest_decimal(frame[name].to_numpy())) for name in FIELDS[:4]
            )
        meta = BarMeta(
            instrument=manifest.instrument,
            timeframe=timeframe.label,
            price=price,
            data_hash=manifest.data_hash,
            synthetic=manifest.synthetic,
            source=manifest.source,
        )
        write_bars(bar_path(out, manifest.instrument, timeframe, price), frame, meta)


def _ray_data(
    store: Path, out: Path, request: BarRequest, *, verify: bool, rows_per_shard: int | None = None
) -> None:
    from cluster.bars import RayEngine

    build(store, out, request, engine=RayEngine(), verify=verify, rows_per_shard=rows_per_shard)


def _ray_tasks(store: Path, manifest: Manifest, out: Path, request: BarRequest) -> None:
    """Build the bars from the same shards with plain tasks: what Ray Data adds shows in the difference."""
    import ray

    from cluster.bars import default_rows_per_shard

    reduce = ray.remote(num_cpus=1)(ShardJob.run)
    shards = plan_shards(store, read_manifest(store), default_rows_per_shard(manifest.rows), verify=False)
    found = ray.get([reduce.remote(ShardJob(shard, request)) for shard in shards])
    write_bar_files(shards, found, request, out, manifest)


def _assert_equal(expected: Path, found: Path, files: int) -> None:
    names = sorted(path.relative_to(expected) for path in expected.rglob("*.parquet"))
    if len(names) != files:
        raise AssertionError(f"{expected} holds {len(names)} files instead of {files}")
    for name in names:
        if (expected / name).read_bytes() != (found / name).read_bytes():
            raise AssertionError(f"{found / name} differs from {expected / name}")


@contextmanager
def _cluster(folder: Path) -> Iterator[tuple[float, str]]:
    """Run a Ray head of this machine's cores; yields the seconds until a driver was connected, and its id."""
    from cluster import lifecycle
    from cluster.connection import keep_loopback
    from cluster.resources import detect_machine, plan_node

    started = time.perf_counter()
    state, _ = lifecycle.up(folder / "ray", plan_node(detect_machine()))
    before = dict(os.environ)
    os.environ.update(lifecycle.client_environment(state))
    import ray

    try:
        keep_loopback(state.address)
        ray.init(address=state.address, log_to_driver=False, logging_level="error")
        yield time.perf_counter() - started, state.cluster_id
    finally:
        ray.shutdown()
        lifecycle.down(folder / "ray")
        os.environ.clear()
        os.environ.update(before)


def _say(done: int, total: int) -> None:
    if done == total or done % 20 == 0:
        print(f"generating ticks: {done} of {total} days", file=sys.stderr)
