"""Ticks to 1m, 5m and 15m bar files: Ray Data, plain Ray tasks and one process against one Polars process.

All ways read the same tick store, write the same files, and are refused unless the files are equal byte for
byte.  They take turns, round after round; the median counts.  "Verified" compares the SHA-256 of every file
with the manifest as well, which is the default of `aiopt bars build`.

`AIOPT_BENCH_BARS_DAYS` sets the size (default 144: about 14.4 million ticks), `AIOPT_BENCH_BARS_ROUNDS` the
rounds.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from aiopt.market.bar_shards import (
    BarRequest,
    build_bars_locally,
    plan_shards,
    reduce_shard,
    write_bar_files,
)
from aiopt.market.bars import BarMeta, bar_path, write_bars
from aiopt.market.manifest import Manifest, read_manifest
from aiopt.market.sample import generate_ticks
from aiopt.timeframe import parse_timeframe
from benchmarks._harness import CACHE, Figure, interleaved, median

TIMEFRAMES = tuple(parse_timeframe(label) for label in ("1m", "5m", "15m"))
REQUESTS = {"mid": BarRequest(TIMEFRAMES, ("mid",)), "all": BarRequest(TIMEFRAMES, ("bid", "ask", "mid"))}
FIELDS = ("open", "high", "low", "close", "volume")
DAYS = int(os.environ.get("AIOPT_BENCH_BARS_DAYS", "144"))
ROUNDS = int(os.environ.get("AIOPT_BENCH_BARS_ROUNDS", "7"))


def run() -> list[Figure]:
    """Measure and return the figures."""
    store = CACHE / f"ticks-{DAYS}-days"
    manifest = generate_ticks(store, days=DAYS, progress=_say)
    with tempfile.TemporaryDirectory() as scratch, _cluster(Path(scratch)) as start_s:
        figures = [
            Figure(name="ticks", value=manifest.rows, unit="ticks"),
            Figure(name="ray_start", value=start_s, unit="s"),
        ]
        started = time.perf_counter()
        _ray_data(store, Path(scratch) / "first", REQUESTS["mid"], verify=True)
        figures.append(Figure(name="first_ray_data_build", value=time.perf_counter() - started, unit="s"))
        for name, request in REQUESTS.items():
            figures += _compare(name, request, store, manifest, Path(scratch) / name)
    return figures


def _compare(name: str, request: BarRequest, store: Path, manifest: Manifest, out: Path) -> list[Figure]:
    ways = {
        "polars": lambda: _polars(store, manifest, out / "polars", request),
        "ray_data": lambda: _ray_data(store, out / "ray_data", request, verify=False),
        "ray_data_verified": lambda: _ray_data(store, out / "ray_data_verified", request, verify=True),
        "ray_tasks": lambda: _ray_tasks(store, manifest, out / "ray_tasks", request),
        "one_process": lambda: build_bars_locally(store, out / "one_process", request, verify=False),
    }
    times = {way: median(seconds) for way, seconds in interleaved(ways, ROUNDS).items()}
    for way in ways:
        _assert_equal(out / "polars", out / way, len(request.prices) * len(request.timeframes))
    targets = {"ray_data": 15e6, "ray_data_verified": 7.5e6}
    figures = [
        Figure(
            name=f"{name}_{way}_rate", value=manifest.rows / seconds, unit="ticks/s", target=targets.get(way)
        )
        for way, seconds in times.items()
    ]
    for way, target in (
        ("ray_data", 1.5),
        ("ray_data_verified", None),
        ("ray_tasks", None),
        ("one_process", None),
    ):
        ratio = times["polars"] / times[way]
        figures.append(Figure(name=f"{name}_{way}_over_polars", value=ratio, unit="x", target=target))
    return figures


def _polars(store: Path, manifest: Manifest, out: Path, request: BarRequest) -> None:
    """Build the bars as a Polars user would: dynamic groups to 1m, rolled up from there."""
    ticks = pl.scan_parquet([store / part.path for part in manifest.partitions])
    sides = {
        "bid": (pl.col("bid"), pl.col("bid_size")),
        "ask": (pl.col("ask"), pl.col("ask_size")),
        "mid": ((pl.col("bid") + pl.col("ask")) / 2, pl.col("bid_size") + pl.col("ask_size")),
    }
    stamped = ticks.select(
        pl.from_epoch("ts_event_ns", "ns").set_sorted().alias("t"),
        *(value.alias(price) for price, (value, _) in sides.items() if price in request.prices),
        *(size.alias(f"{price}_size") for price, (_, size) in sides.items() if price in request.prices),
    )
    minutes = (
        stamped.group_by_dynamic("t", every="1m")
        .agg(
            *(
                expression
                for price in request.prices
                for expression in (
                    pl.col(price).first().alias(f"{price}_open"),
                    pl.col(price).max().alias(f"{price}_high"),
                    pl.col(price).min().alias(f"{price}_low"),
                    pl.col(price).last().alias(f"{price}_close"),
                    pl.col(f"{price}_size").sum().alias(f"{price}_volume"),
                )
            ),
            ticks=pl.len().cast(pl.Int64),
        )
        .collect()
    )
    for timeframe in request.timeframes:
        bars = minutes if timeframe.label == "1m" else _roll_up(minutes, timeframe.label, request.prices)
        for price in request.prices:
            frame = bars.select(
                pl.col("t").cast(pl.Int64).alias("ts_open_ns"),
                *(
                    pl.col(f"{price}_{name}").alias(name)
                    for name in ("open", "high", "low", "close", "volume")
                ),
                "ticks",
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


def _roll_up(minutes: pl.DataFrame, label: str, prices: tuple[str, ...]) -> pl.DataFrame:
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return (
        minutes.lazy()
        .group_by_dynamic("t", every=label)
        .agg(
            *(getattr(pl.col(f"{price}_{name}"), rule)() for price in prices for name, rule in rules.items()),
            pl.col("ticks").sum(),
        )
        .collect()
    )


def _ray_data(store: Path, out: Path, request: BarRequest, *, verify: bool) -> None:
    from cluster.data import build_bars_distributed

    build_bars_distributed(store, out, request, verify=verify)


def _ray_tasks(store: Path, manifest: Manifest, out: Path, request: BarRequest) -> None:
    """Build the bars from the same shards with plain tasks: what Ray Data adds shows in the difference."""
    import ray

    from cluster.data import default_rows_per_shard

    reduce = ray.remote(num_cpus=1)(reduce_shard)
    shards = plan_shards(store, read_manifest(store), default_rows_per_shard(manifest.rows), verify=False)
    parts = ray.get([reduce.remote(shard, request.base, request.prices) for shard in shards])
    write_bar_files({manifest.instrument: parts}, request, out, manifest)


def _assert_equal(expected: Path, found: Path, files: int) -> None:
    names = sorted(path.relative_to(expected) for path in expected.rglob("*.parquet"))
    if len(names) != files:
        raise AssertionError(f"{expected} holds {len(names)} files instead of {files}")
    for name in names:
        if (expected / name).read_bytes() != (found / name).read_bytes():
            raise AssertionError(f"{found / name} differs from {expected / name}")


@contextmanager
def _cluster(folder: Path) -> Iterator[float]:
    """Run a Ray head of this machine's cores; yields the seconds until a driver was connected."""
    from cluster import lifecycle
    from cluster.resources import detect_machine, plan_node

    started = time.perf_counter()
    state, _ = lifecycle.up(folder / "ray", plan_node(detect_machine()))
    before = dict(os.environ)
    os.environ.update(lifecycle.client_environment(state))
    import ray

    try:
        ray.init(address=state.address, log_to_driver=False, logging_level="error")
        yield time.perf_counter() - started
    finally:
        ray.shutdown()
        lifecycle.down(folder / "ray")
        os.environ.clear()
        os.environ.update(before)


def _say(done: int, total: int) -> None:
    if done == total or done % 20 == 0:
        print(f"generating ticks: {done} of {total} days", file=sys.stderr)
