"""Ticks to bars through Ray Data: an engine whose read tasks are the tick shards.

Each read task reads its row groups of the tick store itself and returns rows of bars, far smaller than the
ticks, so no tick ever passes through the object store.  Owns the Ray side only: what a shard gives, and how
it becomes bars, is in `aiopt.bars`, which runs without Ray and gives the same bars, bit for bit.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa
import ray
import ray.data
from ray.data import DataContext, Datasource, ReadTask
from ray.data.block import BlockMetadata
from ray.exceptions import RayError

from aiopt.bars.building.shard_jobs import ShardJob, ShardRows
from aiopt.bars.reducing.reducer import Columns
from aiopt.errors import AioptError, ClusterError
from aiopt.ticks.shards import Shard
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
_BATCH_COLUMN = "batch"
_RESULT_COLUMN = "result"
_FAILURE_COLUMN = "failure"


class TickShardsDatasource(Datasource):
    """What tick shards give; one read task per shard.

    Parameters
    ----------
    jobs : sequence of ShardJob
        One per shard.
    label : str
        What they make, for the dashboard.
    """

    def __init__(self, jobs: Sequence[ShardJob], label: str) -> None:
        super().__init__()
        self._tasks = [_ShardTask(job) for job in jobs]
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


class RayEngine:
    """Reduces shards on the Ray cluster this process is connected to, for `aiopt.bars.building.build`.

    Parameters
    ----------
    metrics : RunMetrics, optional
        Its gauge ``aiopt_ticks_per_second`` follows the build.

    Raises
    ------
    ClusterError
        If Ray is not connected.
    """

    name = "ray"

    def __init__(self, metrics: RunMetrics | None = None) -> None:
        if not ray.is_initialized():
            msg = "Building bars on a cluster needs a connection to Ray, but there is none. Call ray.init "
            raise ClusterError(msg + "first or use the local engine.")
        self._metrics = metrics
        self._started = time.perf_counter()

    def rows_per_shard(self, ticks: int) -> int:
        """Return one or two shards per core, within bounds."""
        return default_rows_per_shard(ticks)

    def run(
        self, jobs: Sequence[ShardJob], label: str, report: Callable[[int], None] | None = None
    ) -> list[ShardRows]:
        """Return what each job gives, in their order; call `report` with the ticks of each as it ends.

        Raises
        ------
        AioptError
            What a job raised, on whichever node.
        ClusterError
            If the cluster fails.
        """
        found = {job.shard.index: _Arriving() for job in jobs}
        ticks = {job.shard.index: job.shard.rows for job in jobs}
        done = 0
        for block in _blocks(jobs, label):
            values = [
                block.column(name).to_pylist() for name in (_SHARD_COLUMN, _BATCH_COLUMN, _RESULT_COLUMN)
            ]
            for index, number, result in zip(*values, strict=True):
                if not found[index].take(number, result) or report is None:
                    continue
                done += ticks[index]
                report(ticks[index])
                if self._metrics is not None:
                    self._metrics.set("aiopt_ticks_per_second", done / (time.perf_counter() - self._started))
        return [found[job.shard.index].whole(job.shard.index) for job in jobs]


class _Arriving:
    """What has come of one shard: its batches, in whatever order, and its end."""

    def __init__(self) -> None:
        self._batches: dict[int, list[Columns]] = {}
        self._end: ShardRows | None = None
        self._expected = 0

    def take(self, number: int, result: bytes) -> bool:
        """Take a row of a block; return whether it is the end, which says how many batches there are."""
        if number < 0:
            self._end, self._expected = pickle.loads(result), -1 - number
            return True
        self._batches[number] = pickle.loads(result)
        return False

    def whole(self, index: int) -> ShardRows:
        """Return the shard put together in order.

        Raises
        ------
        ClusterError
            If a part is missing.
        """
        if self._end is None or len(self._batches) != self._expected:
            msg = f"Ray Data delivered only {len(self._batches)} part(s) of shard {index}."
            raise ClusterError(msg + " Run the build again.")
        batches = [self._batches[number] for number in range(self._expected)]
        rows = [[batch[number] for batch in batches] for number in range(len(self._end.rows))]
        return replace(self._end, rows=rows)


def default_rows_per_shard(total: int) -> int:
    """Return the ticks of a read task on the connected cluster."""
    cores = max(1.0, ray.cluster_resources().get("CPU", 1.0))
    per_core = total / cores
    rows = per_core if per_core < SECOND_SHARD_FROM else per_core / 2
    # Rounded up, lest the last shard be a handful of ticks.
    return int(min(MAX_ROWS_PER_SHARD, max(MIN_ROWS_PER_SHARD, math.ceil(rows))))


def _blocks(jobs: Sequence[ShardJob], label: str) -> Iterator[pa.Table]:
    """Run the read tasks and yield their blocks as they come; raise the failure a block carries."""
    with _data_context():
        dataset = ray.data.read_datasource(
            TickShardsDatasource(jobs, label), override_num_blocks=len(jobs), **stage_options("bars")
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


class _ShardTask:
    """Runs the job of a shard: a named class, so that it is pickled by name."""

    def __init__(self, job: ShardJob) -> None:
        self.shard = job.shard
        self._job = job

    def __call__(self) -> Iterator[pa.Table]:
        """Yield a row per batch of the shard, and one that ends it; or one that says why there is none.

        A row per batch, and not one for all, so that Ray Data can cut a large result into blocks.
        """
        try:
            found = self._job.run()
        except AioptError as error:
            # An error of the data is a result: raised here, Ray Data would log it as a bug of its own.
            yield _row(self.shard, 0, None, pickle.dumps(error))
            return
        count = len(found.rows[0])
        for number in range(count):
            yield _row(self.shard, number, pickle.dumps([batches[number] for batches in found.rows]), None)
        yield _row(self.shard, -1 - count, pickle.dumps(replace(found, rows=[[] for _ in found.rows])), None)


def _row(shard: Shard, number: int, result: bytes | None, failure: bytes | None) -> pa.Table:
    """Return a block of one row: a batch of a shard, or with ``-1 - n`` the end of its `n` batches."""
    return pa.table(
        {
            _SHARD_COLUMN: pa.array([shard.index], type=pa.int64()),
            _BATCH_COLUMN: pa.array([number], type=pa.int64()),
            _RESULT_COLUMN: pa.array([result], type=pa.large_binary()),
            _FAILURE_COLUMN: pa.array([failure], type=pa.binary()),
        }
    )


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
