"""Ticks to bars through Ray Data: a datasource whose read tasks are the tick shards.

Each read task reads its row groups of the tick store itself and returns partial bars, far smaller than the
ticks, so no tick ever passes through the object store.  The driver merges them in the order of the shards and
writes the bar files.  Owns the Ray side only: what a shard is and how bars merge is in `aiopt.market`, which
runs without Ray and gives the same bars, bit for bit.
"""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data import DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata
from ray.exceptions import RayError

from aiopt.errors import AioptError, ClusterError
from aiopt.market.bar_shards import BarBuild, BarRequest, Progress, reduce_shard, summarise, write_bar_files
from aiopt.market.manifest import read_manifest
from aiopt.market.partial_bars import Columns, empty_partial
from aiopt.market.tick_shards import Shard, plan_shards
from aiopt.timeframe import Timeframe
from cluster.metrics import RunMetrics
from cluster.resources import stage_options

SHARDS_PER_CPU = 2
"""Read tasks per core: each costs Ray Data 5 to 10 ms, and two let a fast core take over from a slow one."""

MIN_ROWS_PER_SHARD = 262_144
MAX_ROWS_PER_SHARD = 33_554_432
"""Bounds of a shard: about 10 ms and 0.8 s of work; memory does not depend on them."""

_QUIET = {
    # Debug records of each execution go to a file, synchronously: 5 ms, a tenth of what Ray Data costs here.
    "ray.data": logging.WARNING,
    "ray.data._internal.progress": logging.ERROR,
    "ray.data._internal.execution.streaming_executor": logging.ERROR,
}

_AUTOSCALER_VARIABLE = "RAY_DATA_CLUSTER_AUTOSCALER"

_SHARD_COLUMN = "shard"
_FAILURE_COLUMN = "failure"


class TickShardsDatasource(Datasource):
    """Partial bars of tick shards; one read task and one block per shard.

    Parameters
    ----------
    shards : list of Shard
        From `aiopt.market.bar_shards.plan_shards`.
    base : Timeframe
        Length of the partial bars.
    prices : tuple of str
        Sides.
    """

    def __init__(self, shards: list[Shard], base: Timeframe, prices: tuple[str, ...]) -> None:
        super().__init__()
        self._shards = shards
        self._base = base
        self._prices = prices

    def get_name(self) -> str:
        """Return what the dashboard shows behind the word Read."""
        return f"TickShardsTo{self._base.label}PartialBars"

    def estimate_inmemory_data_size(self) -> int:
        """Return a generous size of all partial bars in bytes."""
        return sum(shard.rows for shard in self._shards)

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """Return one task per shard, whatever parallelism is asked for: the cut was made for the cluster."""
        return [
            ReadTask(
                _Reader(shard, self._base, self._prices),
                BlockMetadata(num_rows=None, size_bytes=shard.rows, input_files=None, exec_stats=None),
                per_task_row_limit=per_task_row_limit,
            )
            for shard in self._shards
        ]


def build_bars_distributed(
    ticks_dir: Path,
    out_dir: Path,
    request: BarRequest,
    *,
    progress: Progress | None = None,
    metrics: RunMetrics | None = None,
    rows_per_shard: int | None = None,
    verify: bool = True,
) -> BarBuild:
    """Build bar files from a tick store on the Ray cluster this process is connected to.

    Parameters
    ----------
    ticks_dir : Path
        Tick store, on a path every node sees.
    out_dir : Path
        Folder of the bar files; written by this process.
    request : BarRequest
        Timeframes, prices and what happens to empty bars.
    progress : callable, optional
        Called with ticks done and all ticks as shards finish.
    metrics : RunMetrics, optional
        Its gauge ``aiopt_ticks_per_second`` follows the build.
    rows_per_shard : int, optional
        Ticks of a read task; by default `SHARDS_PER_CPU` tasks per core within bounds.  The bars do not
        depend on it.
    verify : bool
        See `aiopt.market.bar_shards.plan_shards`.

    Returns
    -------
    BarBuild
        Equal files to `aiopt.market.bar_shards.build_bars_locally`.

    Raises
    ------
    DataError
        If the store is not what its manifest says; raised here whichever node found it.
    ClusterError
        If Ray is not connected or the cluster fails.
    """
    if not ray.is_initialized():
        msg = "Building bars on a cluster needs a connection to Ray, but there is none. Call ray.init first"
        raise ClusterError(msg + " or use the local engine.")
    started = time.perf_counter()
    manifest = read_manifest(Path(ticks_dir))
    total = sum(partition.rows for partition in manifest.partitions)
    shards = plan_shards(ticks_dir, manifest, rows_per_shard or default_rows_per_shard(total), verify=verify)
    partials = _collect(shards, request, _report(total, started, progress, metrics))
    files = write_bar_files(partials, request, out_dir, manifest)
    return summarise(files, manifest, total, len(shards), "ray", time.perf_counter() - started)


def default_rows_per_shard(total: int) -> int:
    """Return the ticks of a read task on the connected cluster."""
    cores = max(1.0, ray.cluster_resources().get("CPU", 1.0))
    return int(min(MAX_ROWS_PER_SHARD, max(MIN_ROWS_PER_SHARD, total / (cores * SHARDS_PER_CPU))))


def _collect(
    shards: list[Shard], request: BarRequest, report: Callable[[int], None]
) -> dict[str, list[Columns]]:
    """Run the read tasks and return the partial bars of each instrument in the order of the shards."""
    found: dict[int, list[Columns]] = {shard.index: [] for shard in shards}
    with _data_context():
        dataset = ray.data.read_datasource(
            TickShardsDatasource(shards, request.base, request.prices),
            override_num_blocks=len(shards),
            **stage_options("bars"),
        )
        dataset.set_name("aiopt_bars")
        try:
            # References and not batches: the batch iterator starts two threads and a statistics actor's
            # round trip for each execution, a fifth of what Ray Data costs here.
            for bundle in dataset.iter_internal_ref_bundles():
                for block in ray.get([entry.ref for entry in bundle.blocks]):
                    for index, columns in _shards_of(block):
                        found[index].append(columns)
                        report(int(columns["ticks"].sum()))
        except RayError as failure:
            msg = f"Building bars on the cluster failed: {failure}. See the Ray dashboard, then run it again."
            raise ClusterError(msg) from failure
    partials: dict[str, list[Columns]] = {}
    for shard in shards:
        # Ray Data cuts a large result into several blocks; a shard's bars are distinct, so time orders them.
        blocks = sorted(found[shard.index], key=lambda columns: int(columns["ts_open_ns"][0]))
        delivered = sum(int(columns["ticks"].sum()) for columns in blocks)
        if delivered != shard.rows:
            msg = f"Shard {shard.index} must hold {shard.rows} ticks, but Ray Data delivered {delivered}."
            raise ClusterError(msg + " Run the build again.")
        partials.setdefault(shard.instrument, []).extend(blocks)
    return partials


class _Reader:
    """The function a read task runs: a named class, pickled by name, and the shard alone."""

    def __init__(self, shard: Shard, base: Timeframe, prices: tuple[str, ...]) -> None:
        self._shard = shard
        self._base = base
        self._prices = prices

    def __call__(self) -> Iterable[pa.Table]:
        """Yield the partial bars of the shard as one block."""
        try:
            columns, failure = reduce_shard(self._shard, self._base, self._prices), None
        except AioptError as error:
            # An error of the data is a result: raised here, Ray Data would log it as a bug of its own.
            columns, failure = empty_partial(self._prices), pickle.dumps(error)
        yield _block(self._shard.index, columns, failure)


def _block(index: int, columns: Columns, failure: bytes | None) -> pa.Table:
    """Return partial bars as one block: a row per bar, or one row carrying the failure."""
    rows = 1 if failure is not None else columns["ts_open_ns"].size
    if failure is not None:
        columns = {name: np.zeros(1, dtype=values.dtype) for name, values in columns.items()}
    arrays = {name: pa.array(values) for name, values in columns.items()}
    arrays[_SHARD_COLUMN] = pa.array(np.full(rows, index, dtype=np.int64))
    arrays[_FAILURE_COLUMN] = pa.array([failure] * rows, type=pa.binary())
    return pa.table(arrays)


def _shards_of(block: pa.Table) -> Iterator[tuple[int, Columns]]:
    """Yield the shards whose partial bars a block holds, or raise the failure it carries."""
    failures = block.column(_FAILURE_COLUMN)
    if failures.null_count < len(failures):
        raise pickle.loads(failures.drop_null()[0].as_py())
    index = block.column(_SHARD_COLUMN).to_numpy()
    columns = {
        name: block.column(name).to_numpy()
        for name in block.column_names
        if name not in (_SHARD_COLUMN, _FAILURE_COLUMN)
    }
    for shard in np.unique(index):
        rows = index == shard
        yield int(shard), {name: values[rows] for name, values in columns.items()}


def _report(
    total: int, started: float, progress: Progress | None, metrics: RunMetrics | None
) -> Callable[[int], None]:
    """Return a function that takes the ticks of each block as it arrives."""
    done = 0

    def report(ticks: int) -> None:
        nonlocal done
        done += ticks
        if progress is not None:
            progress(done, total)
        if metrics is not None:
            metrics.set("aiopt_ticks_per_second", done / (time.perf_counter() - started))

    return report


@contextmanager
def _data_context() -> Iterator[None]:
    """Run with the Ray Data settings of this stage, whatever the caller's are."""
    context = DataContext.get_current().copy()
    # Blocks carry their shard's number, so tasks may finish in any order and none waits for another.
    context.execution_options.preserve_order = False
    # Leave scheduling to Ray itself.  With its own reservation Ray Data runs one task at a time for the first
    # second, because the cluster's resources reach it asynchronously and it caches their absence that long.
    # The reservation protects the object store from large blocks; partial bars are small.
    context.op_resource_reservation_enabled = False
    # The caller shows progress; Ray Data would print its own and a line about not doing so.
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    levels = {name: logging.getLogger(name).level for name in _QUIET}
    autoscaler = os.environ.get(_AUTOSCALER_VARIABLE)
    # The default creates an actor handle per execution before anything is scheduled: 10 ms. This one asks for
    # nodes just the same, and has no throughput to learn from in a stage of one operator.
    os.environ.setdefault(_AUTOSCALER_VARIABLE, "V2")
    try:
        for name, level in _QUIET.items():
            logging.getLogger(name).setLevel(level)
        with DataContext.current(context):
            yield
    finally:
        if autoscaler is None:
            os.environ.pop(_AUTOSCALER_VARIABLE, None)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
