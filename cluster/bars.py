"""Ticks to bars through Ray Data: a datasource whose read tasks are the tick shards.

Each read task reads its row groups of the tick store itself and returns partial bars, or rows of event bars,
far smaller than the ticks, so no tick ever passes through the object store.  The driver puts them together in
the order of the shards and writes the bar files.  Owns the Ray side only: what a shard is and how bars merge
is in `aiopt.market`, which runs without Ray and gives the same bars, bit for bit.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data import DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata
from ray.exceptions import RayError

from aiopt.bars.building.event_shards import (
    EventRequest,
    ShardRows,
    States,
    cut_shard,
    measure_shard,
    states_before,
    take_over,
    write_event_files,
)
from aiopt.bars.building.partial_bars import Columns, empty_partial
from aiopt.bars.building.shards import (
    BarBuild,
    BarRequest,
    Progress,
    reduce_shard,
    summarise,
    write_bar_files,
)
from aiopt.bars.stops.stop_ladders import RECORD_COLUMNS, RECORD_PRICES
from aiopt.errors import AioptError, ClusterError
from aiopt.ticks.manifest import Manifest, read_manifest
from aiopt.ticks.shards import Shard, plan_shards, without_verification
from cluster.metrics import RunMetrics
from cluster.resources import stage_options

SECOND_SHARD_FROM = 16_777_216
"""Ticks per core from which a core gets two read tasks, so that a fast core can take over from a slow one.
With fewer, one: each task costs Ray Data 5 to 10 ms, and 16 million ticks are 0.4 s of work."""

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
_OUTSIDE_COLUMN = "outside"
_RESULT_COLUMN = "result"
_FAILURE_COLUMN = "failure"


class ShardTask(Protocol):
    """What a read task runs: a named class, pickled by name, and its shard."""

    shard: Shard

    def __call__(self) -> Iterable[pa.Table]:
        """Yield what the shard gives as blocks."""


class TickShardsDatasource(Datasource):
    """What tick shards give; one read task per shard.

    Parameters
    ----------
    tasks : sequence of ShardTask
        One per shard.
    label : str
        What they make, for the dashboard.
    """

    def __init__(self, tasks: Sequence[ShardTask], label: str) -> None:
        super().__init__()
        self._tasks = tasks
        self._label = label

    def get_name(self) -> str:
        """Return what the dashboard shows behind the word Read."""
        return f"TickShardsTo{self._label}"

    def estimate_inmemory_data_size(self) -> int:
        """Return a generous size of all results in bytes."""
        return sum(task.shard.rows for task in self._tasks)

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """Return one task per shard, whatever parallelism is asked for: the cut was made for the cluster."""
        return [
            ReadTask(
                task,
                BlockMetadata(num_rows=None, size_bytes=task.shard.rows, input_files=None, exec_stats=None),
                per_task_row_limit=per_task_row_limit,
            )
            for task in self._tasks
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
    """Build files of time bars from a tick store on the Ray cluster this process is connected to.

    Parameters
    ----------
    ticks_dir : Path
        Tick store, on a path every node sees.
    out_dir : Path
        Folder of the bar files; written by this process.
    request : BarRequest
        Which bars.
    progress : callable, optional
        Called with ticks done and all ticks as shards finish.
    metrics : RunMetrics, optional
        Its gauge ``aiopt_ticks_per_second`` follows the build.
    rows_per_shard : int, optional
        Ticks of a read task; by default one or two tasks per core within bounds.  The bars do not
        depend on it.
    verify : bool
        See `aiopt.ticks.shards.plan_shards`.

    Returns
    -------
    BarBuild
        Equal files to `aiopt.bars.building.shards.build_bars_locally`.

    Raises
    ------
    DataError
        If the store is not what its manifest says; raised here whichever node found it.
    ClusterError
        If Ray is not connected or the cluster fails.
    """
    started = time.perf_counter()
    manifest, shards = _plan(ticks_dir, rows_per_shard, verify=verify)
    report = _report(manifest.rows, started, progress, metrics)
    partials, outside = _collect(shards, request, report)
    files = write_bar_files(partials, request, out_dir, manifest, outside)
    return summarise(files, manifest, len(shards), "ray", time.perf_counter() - started, outside)


def build_event_bars_distributed(
    ticks_dir: Path,
    out_dir: Path,
    request: EventRequest,
    *,
    progress: Progress | None = None,
    metrics: RunMetrics | None = None,
    rows_per_shard: int | None = None,
    verify: bool = True,
) -> BarBuild:
    """Build files of tick, volume, range or Renko bars on the Ray cluster this process is connected to.

    Tick and volume bars take a first pass that adds up what lies before each shard.  Of range and Renko bars
    this process reads the first ticks of each shard again.

    Parameters
    ----------
    ticks_dir, out_dir, progress, metrics, rows_per_shard, verify
        As in `build_bars_distributed`.
    request : EventRequest
        Which bars.

    Returns
    -------
    BarBuild
        Equal files to `aiopt.bars.building.event_shards.build_event_bars_locally`.

    Raises
    ------
    DataError
        If the store is not what its manifest says, or has no bar of a series.
    ClusterError
        If Ray is not connected or the cluster fails.
    """
    started = time.perf_counter()
    manifest, shards = _plan(ticks_dir, rows_per_shard, verify=verify)
    unverified = [without_verification(shard) for shard in shards]
    states: Sequence[States | None] = [None] * len(shards)
    if not request.sequential and len(shards) > 1:
        measured = _run([_EventTask(shard, request, measure=True) for shard in unverified], "Amounts")
        states = states_before(shards, measured, request)
    report = _report(manifest.rows, started, progress, metrics)
    tasks = [_EventTask(shard, request, states=state) for shard, state in zip(shards, states, strict=True)]
    cut = _run(tasks, "EventBars", report)
    rows: dict[str, list[list[Columns]]] = {}
    if request.sequential:
        # What a read task verified is not verified again where its first ticks are cut again.
        rows = take_over(unverified, cut, request)
    else:
        for shard, part in zip(shards, cut, strict=True):
            series = rows.setdefault(shard.instrument, [[] for _ in request.series])
            for mine, batches in zip(series, part.rows, strict=True):
                mine += batches
    outside = sum(part.outside for part in cut)
    files, left_over = write_event_files(rows, request, out_dir, manifest, outside)
    elapsed_s = time.perf_counter() - started
    return summarise(files, manifest, len(shards), "ray", elapsed_s, outside, left_over)


def _plan(ticks_dir: Path, rows_per_shard: int | None, *, verify: bool) -> tuple[Manifest, list[Shard]]:
    if not ray.is_initialized():
        msg = "Building bars on a cluster needs a connection to Ray, but there is none. Call ray.init first"
        raise ClusterError(msg + " or use the local engine.")
    manifest = read_manifest(Path(ticks_dir))
    rows = rows_per_shard or default_rows_per_shard(manifest.rows)
    return manifest, plan_shards(ticks_dir, manifest, rows, verify=verify)


def default_rows_per_shard(total: int) -> int:
    """Return the ticks of a read task on the connected cluster."""
    cores = max(1.0, ray.cluster_resources().get("CPU", 1.0))
    per_core = total / cores
    rows = per_core if per_core < SECOND_SHARD_FROM else per_core / 2
    # Rounded up, lest the last shard be a handful of ticks.
    return int(min(MAX_ROWS_PER_SHARD, max(MIN_ROWS_PER_SHARD, math.ceil(rows))))


def _blocks(tasks: Sequence[ShardTask], label: str) -> Iterator[pa.Table]:
    """Run the read tasks and yield their blocks as they come; raise the failure a block carries."""
    with _data_context():
        dataset = ray.data.read_datasource(
            TickShardsDatasource(tasks, label), override_num_blocks=len(tasks), **stage_options("bars")
        )
        dataset.set_name("aiopt_bars")
        try:
            # References and not batches: the batch iterator starts two threads and a statistics actor's
            # round trip for each execution, a fifth of what Ray Data costs here.
            for bundle in dataset.iter_internal_ref_bundles():
                for block in ray.get([entry.ref for entry in bundle.blocks]):
                    failures = block.column(_FAILURE_COLUMN)
                    if failures.null_count < len(failures):
                        raise pickle.loads(failures.drop_null()[0].as_py())
                    yield block
        except RayError as failure:
            msg = f"Building bars on the cluster failed: {failure}. See the Ray dashboard, then run it again."
            raise ClusterError(msg) from failure


def _collect(
    shards: list[Shard], request: BarRequest, report: Callable[[int], None]
) -> tuple[dict[str, list[Columns]], int]:
    """Return the partial bars of each instrument in the order of the shards, and the ticks outside."""
    found: dict[int, list[Columns]] = {shard.index: [] for shard in shards}
    tasks = [_TimeTask(shard, request) for shard in shards]
    for block in _blocks(tasks, f"{request.base.label}PartialBars"):
        for index, columns in _shards_of(block):
            found[index].append(columns)
            report(int(columns["ticks"].sum() + columns[_OUTSIDE_COLUMN].sum()))
    partials: dict[str, list[Columns]] = {}
    beyond = 0
    for shard in shards:
        # Ray Data cuts a large result into several blocks; a shard's bars are distinct, so time orders them.
        blocks = sorted(found[shard.index], key=lambda columns: int(columns["ts_open_ns"][0]))
        outside = sum(int(columns.pop(_OUTSIDE_COLUMN).sum()) for columns in blocks)
        delivered = sum(int(columns["ticks"].sum()) for columns in blocks) + outside
        if delivered != shard.rows:
            msg = f"Shard {shard.index} must hold {shard.rows} ticks, but Ray Data delivered {delivered}."
            raise ClusterError(msg + " Run the build again.")
        # A shard without bars sends one row without ticks.
        bars = [columns for columns in blocks if columns["ticks"].any()]
        partials.setdefault(shard.instrument, []).extend(bars)
        beyond += outside
    return {symbol: parts or [_no_bars(request)] for symbol, parts in partials.items()}, beyond


def _run(
    tasks: Sequence[_EventTask], label: str, report: Callable[[int], None] | None = None
) -> list[ShardRows]:
    """Return what each shard gives, in their order."""
    found: dict[int, ShardRows] = {}
    rows = {task.shard.index: task.shard.rows for task in tasks}
    for block in _blocks(tasks, label):
        for index, result in zip(
            block.column(_SHARD_COLUMN).to_pylist(), block.column(_RESULT_COLUMN), strict=True
        ):
            found[index] = pickle.loads(result.as_py())
            if report is not None:
                report(rows[index])
    return [found[task.shard.index] for task in tasks]


class _TimeTask:
    """Reduces a shard to partial bars: a row per bar."""

    def __init__(self, shard: Shard, request: BarRequest) -> None:
        self.shard = shard
        self._request = request

    def __call__(self) -> Iterable[pa.Table]:
        """Yield the partial bars of the shard as one block."""
        try:
            columns, outside = reduce_shard(self.shard, self._request)
        except AioptError as error:
            # An error of the data is a result: raised here, Ray Data would log it as a bug of its own.
            yield _block(self.shard.index, _no_bars(self._request), 0, pickle.dumps(error))
        else:
            yield _block(self.shard.index, columns, outside, None)


class _EventTask:
    """Cuts a shard into rows of event bars, or measures it: one row with the pickled result."""

    def __init__(
        self, shard: Shard, request: EventRequest, *, states: States | None = None, measure: bool = False
    ) -> None:
        self.shard = shard
        self._request = request
        self._states = states
        self._measure = measure

    def __call__(self) -> Iterable[pa.Table]:
        """Yield one block of one row."""
        result = failure = None
        try:
            if self._measure:
                result = pickle.dumps(measure_shard(self.shard, self._request))
            else:
                result = pickle.dumps(cut_shard(self.shard, self._request, self._states))
        except AioptError as error:
            failure = pickle.dumps(error)
        yield pa.table(
            {
                _SHARD_COLUMN: pa.array([self.shard.index], type=pa.int64()),
                _RESULT_COLUMN: pa.array([result], type=pa.large_binary()),
                _FAILURE_COLUMN: pa.array([failure], type=pa.binary()),
            }
        )


def _no_bars(request: BarRequest) -> Columns:
    return empty_partial(request.prices, spread=request.spread_stats, stops=request.with_stops)


def _block(index: int, columns: Columns, outside: int, failure: bytes | None) -> pa.Table:
    """Return partial bars as one block: a row per bar, or one row without ticks where there are none."""
    rows = columns["ts_open_ns"].size
    if rows == 0:
        rows = 1
        columns = {
            name: values if name in RECORD_PRICES.values() else np.zeros(1, dtype=values.dtype)
            for name, values in columns.items()
        }
    arrays = {name: pa.array(values) for name, values in columns.items() if name not in RECORD_COLUMNS}
    for count, price in RECORD_PRICES.items():
        if price in columns:
            # A bar has as many records as it has: a list in each row, which Ray Data may cut between rows.
            offsets = np.concatenate(([0], np.cumsum(columns[count])))
            arrays[price] = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(columns[price]))
    beyond = np.zeros(rows, dtype=np.int64)
    beyond[0] = outside
    arrays[_OUTSIDE_COLUMN] = pa.array(beyond)
    arrays[_SHARD_COLUMN] = pa.array(np.full(rows, index, dtype=np.int64))
    arrays[_FAILURE_COLUMN] = pa.array([failure] * rows, type=pa.binary())
    return pa.table(arrays)


def _shards_of(block: pa.Table) -> Iterator[tuple[int, Columns]]:
    """Yield the shards whose partial bars a block holds."""
    index = block.column(_SHARD_COLUMN).to_numpy()
    for shard in np.unique(index):
        rows = block.filter(pa.array(index == shard)).drop_columns([_SHARD_COLUMN, _FAILURE_COLUMN])
        columns: Columns = {}
        for name in rows.column_names:
            column = rows.column(name)
            if name not in RECORD_PRICES.values():
                columns[name] = column.to_numpy()
                continue
            records = column.combine_chunks()
            count = next(key for key, price in RECORD_PRICES.items() if price == name)
            columns[count] = np.diff(records.offsets.to_numpy())
            columns[name] = records.flatten().to_numpy()
        yield int(shard), columns


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
