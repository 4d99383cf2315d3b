"""Windows read on the cluster: Ray Data actors that draw and ask, each with a share of the requests.

The bars go into the object store once.  Several engines need nothing here: Serve itself spreads the requests
over its replicas.  Owns the Ray side only: what a window is, how it is read and what is kept of it is in
`aiopt.analyst.scans`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from aiopt.analyst.scans.reading_rows import WindowReading, readings_of, table_of
from aiopt.analyst.scans.scan_config import ScanConfig
from aiopt.analyst.scans.scanning import WindowReader
from aiopt.bars.schema import BarSet
from aiopt.charts.windows import Window
from aiopt.errors import AioptError, ClusterError
from cluster.resources import stage_options

if TYPE_CHECKING:
    from aiopt.analyst.scans import ScanSummary

BATCH_PER_REQUEST = 16
"""Windows of a batch per request in flight: its end, when fewer are in flight, is a small share of it."""

MIN_BATCH = 32
MAX_BATCH = 1_024
SHOWN_EVERY_S = 5.0

_QUIET = ("ray.data", "ray.data._internal.progress", "ray.data._internal.execution.streaming_executor")


class RayScan:
    """Reads windows on the cluster this process is connected to; a `aiopt.analyst.scans.scanning.ScanEngine`.

    Raises
    ------
    ClusterError
        If Ray is not connected.
    """

    def __init__(self) -> None:
        import ray

        if not ray.is_initialized():
            msg = "Scanning on a cluster needs a connection to Ray, but there is none. Call ray.init first"
            raise ClusterError(msg + " or use the local engine.")

    def read(
        self, bars: BarSet, config: ScanConfig, windows: Sequence[tuple[int, Window]]
    ) -> Iterator[list[WindowReading]]:
        """Yield the readings of each batch as it ends.

        Raises
        ------
        ClusterError
            If the cluster fails.
        """
        import ray
        import ray.data
        from ray.exceptions import RayError

        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        actors, share = shares(config, cores)
        batches = batches_of(windows, share, actors)
        analyst = msgspec.structs.replace(config.analyst, concurrency=share)
        token = os.environ.get(config.analyst.token_variable, "")
        arguments = ([ray.put(bars)], msgspec.structs.replace(config, analyst=analyst), token)
        with _quiet_data_context():
            dataset = ray.data.from_items(
                [{"numbers": [number for number, _ in batch]} | _edges(batch) for batch in batches],
                override_num_blocks=len(batches),
            ).map_batches(
                BatchReader,
                fn_constructor_args=arguments,
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
                **stage_options("scan"),
            )
            dataset.set_name("aiopt_scan")
            try:
                for bundle in dataset.iter_internal_ref_bundles():
                    for block in ray.get([entry.ref for entry in bundle.blocks]):
                        yield readings_of(block)
            except RayError as failure:
                cause = getattr(failure, "cause", None)
                if isinstance(cause, AioptError):
                    raise cause from failure
                msg = f"Scanning on the cluster failed: {failure}. What was read is kept: run it again."
                raise ClusterError(msg) from failure


class BatchReader:
    """One actor: reads batches of windows of one series.

    Parameters
    ----------
    reference : list of one object reference
        To the bars; wrapped, so that Ray does not resolve it for every actor's arguments.
    config : ScanConfig
        With this actor's share of the requests in flight.
    token : str
        Of the endpoint; empty where it asks for none.
    """

    def __init__(self, reference: list[Any], config: ScanConfig, token: str) -> None:
        import ray

        if token:
            os.environ[config.analyst.token_variable] = token
        self._reader = WindowReader(ray.get(reference[0]), config)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the readings of a batch, one row of lists, as a table."""
        (row,) = batch.to_pylist()
        windows = [
            (number, (start, stop))
            for number, start, stop in zip(row["numbers"], row["starts"], row["stops"], strict=True)
        ]
        found: list[WindowReading] = []

        def take(reading: WindowReading) -> bool:
            found.append(reading)
            return True

        asyncio.run(self._reader.read_all(windows, take))
        return table_of(found)


def shares(config: ScanConfig, cores: int) -> tuple[int, int]:
    """Return how many actors there may be, and how many requests each has in flight.

    As many actors as cores, but so that their requests add up to no more than was asked for.
    """
    if config.reader == "rules":
        return cores, 1
    wanted = config.analyst.concurrency
    actors = max(count for count in range(1, min(cores, wanted) + 1) if wanted % count == 0)
    return actors, wanted // actors


def batches_of(
    windows: Sequence[tuple[int, Window]], share: int, actors: int
) -> list[list[tuple[int, Window]]]:
    """Cut windows into batches, in their order; few windows are shared out evenly."""
    even = -(-len(windows) // actors)
    size = min(MAX_BATCH, max(MIN_BATCH, BATCH_PER_REQUEST * share), max(1, even))
    return [list(windows[first : first + size]) for first in range(0, len(windows), size)]


def _edges(batch: Sequence[tuple[int, Window]]) -> dict[str, list[int]]:
    return {"starts": [start for _, (start, _) in batch], "stops": [stop for _, (_, stop) in batch]}


@contextmanager
def _quiet_data_context() -> Iterator[None]:
    """Run with Ray Data's own progress off: the caller shows it."""
    from ray.data import DataContext

    context = DataContext.get_current().copy()
    context.execution_options.preserve_order = False
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    levels = {name: logging.getLogger(name).level for name in _QUIET}
    try:
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.ERROR)
        with DataContext.current(context):
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


# --- the command and the job ------------------------------------------------------------------------------


class ScanMeter:
    """Says how far a scan is: readings a second and the time left, every few seconds.

    Parameters
    ----------
    windows, before : int
        Planned, and settled by earlier runs.
    say : callable
        Prints a line.
    """

    def __init__(self, windows: int, before: int, say: Callable[[str], None]) -> None:
        self._windows, self._before, self._say = windows, before, say
        self._began = self._shown = time.monotonic()

    def __call__(self, done: int, failed: int) -> None:
        """Take the windows of this run that are done, and those of them that nobody answered."""
        now = time.monotonic()
        total = self._before + done
        if now - self._shown < SHOWN_EVERY_S and total < self._windows:
            return
        self._shown = now
        rate = done / max(now - self._began, 1e-9)
        left = round((self._windows - total) / rate)
        unanswered = f", {failed:,} unanswered" if failed else ""
        self._say(
            f"{total:,} of {self._windows:,} windows, {rate:.1f} readings/s, "
            f"{left // 60}:{left % 60:02} left{unanswered}"
        )


def scan(
    bars: BarSet, config: ScanConfig, out: Path, *, engine: str, say: Callable[[str], None]
) -> ScanSummary:
    """Scan by this process or on the cluster, telling how far it is.

    Parameters
    ----------
    bars, config, out
        As in `aiopt.analyst.scans.run_scan`.
    engine : {"local", "ray"}
        Who reads side by side; ray connects to a cluster, or starts the local one.
    say : callable
        Prints a line of progress.
    """
    from aiopt.analyst.scans import ScanFolder, run_scan, windows_of
    from cluster.connection import cluster_connection

    windows = windows_of(config, len(bars))
    folder = ScanFolder(out, config.deciding(bars), len(windows))
    folder.load()
    before = len(windows) - len(folder.open_windows())
    if before:
        say(f"Going on: {before:,} of {len(windows):,} windows are settled.")
    meter = ScanMeter(len(windows), before, say)
    if engine == "local":
        return run_scan(bars, config, out, progress=meter)
    with cluster_connection():
        return run_scan(bars, config, out, engine=RayScan(), progress=meter)


def scan_job(
    document: dict[str, Any], *, bars_path: Path, timeframe: str | None, symbol: str | None, out: Path
) -> int:
    """Run a submitted scan on the cluster it was submitted to; print, and return the exit code.

    Parameters
    ----------
    document : dict
        A `ScanConfig` as plain data.
    bars_path, timeframe, symbol, out
        As the command's options.

    Returns
    -------
    int
        1 while windows are open: unread, or unanswered by the endpoint.
    """
    from aiopt.bars.files import load_bar_set
    from aiopt.config import decode
    from cluster.optimize import connect

    log = sys.stdout  # while connected, stdout is stderr: see `cluster_connection`

    def say(text: str) -> None:
        log.write(text + "\n")
        log.flush()

    try:
        config = decode(document, ScanConfig, where="scan")
        bars = load_bar_set(bars_path, timeframe=timeframe, symbol=symbol)
        connect()
        found = scan(bars, config, out, engine="ray", say=say)
    except AioptError as error:
        say(f"error: {error}")
        return error.exit_code
    for line in summary_lines(found):
        say(line)
    return 1 if found.open else 0


def summary_lines(found: ScanSummary) -> list[str]:
    """Return what came out, in sentences."""
    words = {
        "endpoint": "nobody answered (the same command asks again)",
        "reply": "answered with what is no reading",
        "window": "cannot be drawn or read",
    }
    biases = ", ".join(f"{name} {count:,}" for name, count in found.biases.items())
    lines = [f"{found.read:,} of {found.windows:,} windows read: {biases or 'nothing'}."]
    lines += [f"{count:,} windows: {words[reason]}." for reason, count in found.failed.items()]
    if found.first_error:
        lines.append(f"The first unanswered: {found.first_error}")
    if len(found.models) > 1:
        parts = ", ".join(f"{name} {count:,}" for name, count in found.models.items())
        lines.append(f"More than one model or revision answered: {parts}.")
    if found.path:
        lines.append(f"Readings: {found.path}")
    return lines
