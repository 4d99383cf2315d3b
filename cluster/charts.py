"""Charts in parallel on Ray: windows of one series of bars, the same bytes as one process draws.

The bars go into the object store once; every node reads them from its own shared memory, and every worker
process computes the indicators once.  A task draws a few windows and returns their PNGs; only so many tasks
are under way that memory does not grow with the number of charts.  Owns the Ray side only: what a window is,
how it is drawn and how one that fails is named is in `aiopt.charts`.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError, RayTaskError

from aiopt.bars.schema import BarArrays
from aiopt.charts import ChartSpec, PreparedChart, TradeMark
from aiopt.charts.windows import ChartProgress, Window, render_window
from aiopt.errors import AioptError, ClusterError
from cluster.resources import stage_options

TASKS_PER_CPU = 2
"""Tasks under way per core: one that draws and one that waits, so that no core waits for the driver."""

MAX_WINDOWS_PER_TASK = 16
"""About a quarter of a second of work and 1 MiB of PNGs; a task costs Ray a few milliseconds."""

MIN_TASKS_PER_CPU = 4
"""Few charts are cut into smaller tasks, so that all cores end at about the same time."""


class _Series(NamedTuple):
    """What a worker needs once to draw any window."""

    bars: BarArrays
    spec: ChartSpec
    overlays: dict[str, NDArray[np.float64]]
    trades: tuple[TradeMark, ...]


def render_charts_distributed(
    bars: BarArrays,
    spec: ChartSpec,
    windows: Sequence[Window],
    *,
    trades: Sequence[TradeMark] = (),
    overlays: Mapping[str, NDArray[np.float64]] | None = None,
    progress: ChartProgress | None = None,
) -> Iterator[bytes]:
    """Draw windows on the cluster this process is connected to; yields each PNG in the order of `windows`.

    Parameters
    ----------
    bars, spec, overlays
        As `PreparedChart`.
    windows : sequence of (int, int)
        First bar and the bar behind the last.
    trades : sequence of TradeMark
        Marked in every window they lie in.
    progress : callable, optional
        Called after each chart with the charts done and all charts.

    Yields
    ------
    bytes
        Equal to those of `aiopt.charts.render_windows`.  Not more than `TASKS_PER_CPU` tasks per core hold
        finished charts that were not taken yet.

    Raises
    ------
    ConfigError, DataError
        When the turn of a window that cannot be drawn comes; it is named, whichever node found it.
    ClusterError
        If Ray is not connected, or a task was lost with its node or worker more often than Ray retries.
    """
    if not ray.is_initialized():
        msg = "Drawing charts on a cluster needs a connection to Ray, but there is none. Call ray.init first"
        raise ClusterError(msg + " or use the local engine.")
    return _render(_Series(bars, spec, dict(overlays or {}), tuple(trades)), list(windows), progress)


def _render(series: _Series, windows: list[Window], progress: ChartProgress | None) -> Iterator[bytes]:
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    batches = _batches(windows, cores)
    draw = ray.remote(**stage_options("charts"))(_draw)
    token = uuid.uuid4().hex
    reference = ray.put(series)
    waiting: deque[tuple[list[Window], Any]] = deque()
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, len(windows))

    try:
        for batch in batches:
            # Wrapped in a list, the reference is not resolved for every task but once per worker.
            waiting.append((batch, draw.remote(token, [reference], batch)))
            if len(waiting) >= cores * TASKS_PER_CPU:
                yield from _take(waiting, report)
        while waiting:
            yield from _take(waiting, report)
    finally:
        for _, task in waiting:
            ray.cancel(task)


def _batches(windows: list[Window], cores: int) -> list[list[Window]]:
    size = min(MAX_WINDOWS_PER_TASK, max(1, len(windows) // (cores * MIN_TASKS_PER_CPU)))
    return [windows[start : start + size] for start in range(0, len(windows), size)]


def _take(waiting: deque[tuple[list[Window], Any]], report: Callable[[], None]) -> Iterator[bytes]:
    """Yield the charts of the oldest task, then raise what kept it from drawing all of them."""
    batch, task = waiting.popleft()
    try:
        pngs, failure = ray.get(task)
    except RayError as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        msg = (
            f"Drawing bars {batch[0][0]} to {batch[-1][1] - 1} ({len(batch)} charts) failed on the cluster: "
            f"{type(cause).__name__}: {cause}. See the Ray dashboard, then retry, or use --engine local."
        )
        raise ClusterError(msg) from error
    for png in pngs:
        report()
        yield png
    if failure is not None:
        raise failure


_prepared: dict[str, tuple[PreparedChart, tuple[TradeMark, ...]]] = {}
"""This worker's chart, by the token of the call: indicators are computed once per worker process."""


def _draw(token: str, reference: list[Any], batch: list[Window]) -> tuple[list[bytes], AioptError | None]:
    """Draw a batch.  An error of ours is a result: raised, Ray would wrap it in a class of its own."""
    pngs: list[bytes] = []
    try:
        if token not in _prepared:
            _prepared.clear()  # lets the bars of an earlier call go
            series: _Series = ray.get(reference[0])
            chart = PreparedChart(series.bars, series.spec, overlays=series.overlays)
            _prepared[token] = (chart, series.trades)
        chart, trades = _prepared[token]
        for window in batch:
            pngs.append(render_window(chart, window, trades))
    except AioptError as failure:
        return pngs, failure
    return pngs, None
