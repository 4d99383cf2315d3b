"""Reading the windows of a scan: one window, many at once, and the whole way to the finished file.

Owns the order of these and when a scan gives up.  Who reads side by side is the engine's affair: `LocalScan`
reads in this process, `cluster.scanning` on a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from aiopt.analyst.analysis import AnalysisRequest
from aiopt.analyst.chat import Complete
from aiopt.analyst.client import ChatClient
from aiopt.analyst.reading import analyse
from aiopt.analyst.scans.reading_rows import WindowReading, reading_fields
from aiopt.analyst.scans.scan_config import ScanConfig, windows_of
from aiopt.analyst.scans.scan_folder import ScanFolder, ScanSummary
from aiopt.analyst.windows import drawable, indicator_lines, request_of_window
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.charts import PreparedChart
from aiopt.charts.windows import Window
from aiopt.errors import AioptError, DataError, EndpointError
from aiopt.files import file_lock

PART_ROWS = 256
PART_S = 10.0
"""A part is written after so many rows or seconds: what a kill may cost."""

GIVE_UP_AFTER = 20
"""Windows in a row that nobody answered after which an endpoint counts as down."""

Progress = Callable[[int, int], None]
"""Called with windows read in this run, and those of them without an answer."""


class ScanEngine(Protocol):
    """What reads windows side by side."""

    def read(
        self, bars: BarSet, config: ScanConfig, windows: Sequence[tuple[int, Window]]
    ) -> Iterator[list[WindowReading]]:
        """Yield the readings of numbered windows, some at a time, in any order."""
        ...


class WindowReader:
    """Reads windows of one series.

    Parameters
    ----------
    bars : BarSet
        The series.  Nothing behind a window's last bar is ever looked at for it.
    config : ScanConfig
        Who reads and how.
    stands_in : bool
        Whether the rules' reading counts, marked, where a model gave none.
    """

    def __init__(self, bars: BarSet, config: ScanConfig, *, stands_in: bool = False) -> None:
        self.bars, self.config, self._stands_in = bars, config, stands_in
        self._chart: PreparedChart | None = None
        self._lines: dict[str, dict[str, Any]] = {}
        if config.reader == "model":
            self._spec = drawable(config.analyst.chart, bars.bid)
            self._lines = indicator_lines(bars.bid, self._spec)
            if config.draws:
                self._chart = PreparedChart(bars.bid, self._spec)

    async def read(self, number: int, window: Window, complete: Complete | None) -> WindowReading:
        """Return the reading of a window, or why there is none."""
        asked_ns, began = time.time_ns(), time.perf_counter()
        image: str | None = None
        try:
            # Drawing takes longer than asking: in a thread, so that answers are taken meanwhile.
            request = await asyncio.to_thread(self.request, window) if self._chart else self.request(window)
            image = None if request.chart_png is None else hashlib.sha256(request.chart_png).hexdigest()
            found = await analyse(request, complete, self.config.analyst)
            fields = reading_fields(found, self.config.calibrations, stands_in=self._stands_in)
        except AioptError as failure:
            fields = {"failure": "window", "error": str(failure)}
        seconds = time.perf_counter() - began
        return self.row(number, window, fields, asked_ns=asked_ns, seconds=seconds, image=image)

    def row(
        self,
        number: int,
        window: Window,
        fields: Mapping[str, Any],
        *,
        asked_ns: int,
        seconds: float,
        image: str | None = None,
    ) -> WindowReading:
        """Return the record of a window.

        Parameters
        ----------
        number : int
            Place among the windows.
        window : tuple of int
            First bar and the bar behind the last.
        fields : mapping
            What was read, or why nothing was; of `WindowReading`.
        asked_ns, seconds
            As in `WindowReading`.
        image : str or None
            Hex SHA-256 of the picture.
        """
        bars, (start, stop) = self.bars.bid, window
        facts: dict[str, Any] = {
            "number": number,
            "sample": f"{bars.instrument}-{bars.timeframe.label}-{int(bars.ts_open_ns[stop - 1])}",
            "instrument": bars.instrument,
            "timeframe": bars.timeframe.label,
            "bars": stop - start,
            "ts_start_ns": int(bars.ts_open_ns[start]),
            "ts_end_ns": int(bars.ts_open_ns[stop - 1]) + bars.timeframe.ns,
            "chart_sha256": prices_hash(bars.slice(start, stop)),
            "image_sha256": image,
            "reader": self.config.reader,
            "asked_ns": asked_ns,
            "answered_ns": time.time_ns(),
            "seconds": seconds,
        }
        return WindowReading(**facts | dict(fields))

    def request(self, window: Window) -> AnalysisRequest:
        """Return what is asked about a window."""
        start, stop = window
        spread = None
        if not self.bars.single_price:
            spread = max(0.0, float(self.bars.ask.close[stop - 1] - self.bars.bid.close[stop - 1]))
        return request_of_window(
            self.bars.bid,
            window,
            spec=self.config.analyst.chart,
            lines=self._lines,
            chart_png=None if self._chart is None else self._chart.render(start, stop),
            spread=spread,
        )

    async def read_all(
        self, windows: Sequence[tuple[int, Window]], take: Callable[[WindowReading], bool]
    ) -> None:
        """Read windows, `AnalystSettings.concurrency` at a time.

        Parameters
        ----------
        windows : sequence of (int, Window)
            Numbered.
        take : callable
            Called with each reading; no further window is begun once it returns False.
        """
        waiting = iter(windows)
        going_on = True

        async def work(complete: Complete | None) -> None:
            nonlocal going_on
            for number, window in waiting:
                if not going_on:
                    return
                going_on = take(await self.read(number, window, complete)) and going_on

        async with AsyncExitStack() as stack:
            complete, at_once = None, 1
            if self.config.reader == "model":
                complete = (await stack.enter_async_context(ChatClient(self.config.analyst))).complete
                at_once = self.config.analyst.concurrency
            await asyncio.gather(*(work(complete) for _ in range(at_once)))


def prices_hash(bars: BarArrays) -> str:
    """Return the hex SHA-256 of what a window shows: its prices, not where it lies in time."""
    digest = hashlib.sha256()
    for name in ("open", "high", "low", "close"):
        digest.update(getattr(bars, name).tobytes())
    return digest.hexdigest()


class LocalScan:
    """Reads in this process, `AnalystSettings.concurrency` requests in flight."""

    def read(
        self, bars: BarSet, config: ScanConfig, windows: Sequence[tuple[int, Window]]
    ) -> Iterator[list[WindowReading]]:
        """Yield readings as they come; closing the iterator drops what is in flight."""
        reader = WindowReader(bars, config)
        come: SimpleQueue[WindowReading | None] = SimpleQueue()
        running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []
        stopped = False
        silent = 0

        def take(reading: WindowReading) -> bool:
            # Counted here too: whoever takes the readings may be many requests behind, writing.
            nonlocal silent
            silent = silent + 1 if reading.failure == "endpoint" else 0
            come.put(reading)
            return not stopped and silent < GIVE_UP_AFTER

        async def read_all() -> None:
            task = asyncio.current_task()
            assert task is not None
            running.append((asyncio.get_running_loop(), task))
            await reader.read_all(windows, take)

        def work() -> None:
            try:
                asyncio.run(read_all())
            finally:
                come.put(None)

        with ThreadPoolExecutor(1, thread_name_prefix="aiopt-scan") as pool:
            end = pool.submit(work)
            try:
                while (found := come.get()) is not None:
                    yield [found]
                end.result()
            finally:
                stopped = True
                for loop, task in running:
                    with contextlib.suppress(RuntimeError):  # the loop has ended
                        loop.call_soon_threadsafe(task.cancel)


def run_scan(
    bars: BarSet,
    config: ScanConfig,
    out: Path,
    *,
    engine: ScanEngine | None = None,
    progress: Progress = lambda done, failed: None,
) -> ScanSummary:
    """Read the windows of a series, or go on where a killed scan stopped.

    Parameters
    ----------
    bars : BarSet
        The series.
    config : ScanConfig
        Which windows, and who reads.
    out : Path
        The scan's folder.
    engine : ScanEngine, optional
        By default `LocalScan`.
    progress : callable, optional
        Called with the windows of this run that are done, and those of them that nobody answered.

    Returns
    -------
    ScanSummary
        Windows that nobody answered are in the file with their reason, and the next run asks again.

    Raises
    ------
    RunExistsError
        If the folder holds another scan.
    EndpointError
        If nobody answered `GIVE_UP_AFTER` windows in a row; what was read is kept.
    ConfigError, DataError, StorageError, ClusterError
        As their parts say.
    """
    windows = windows_of(config, len(bars))
    folder = ScanFolder(out, config.deciding(bars), len(windows))
    busy = DataError("Another scan writes to this folder. Wait for it to end.", file=folder.folder)
    with file_lock(folder.folder / ".lock", busy=busy):
        folder.load()
        wanted = [(number, windows[number]) for number in folder.open_windows()]
        if wanted:
            _read_into(folder, (engine or LocalScan()).read(bars, config, wanted), progress)
        return folder.finish()


def _read_into(folder: ScanFolder, batches: Iterator[list[WindowReading]], progress: Progress) -> None:
    """Write readings as parts while they come; what came before a failure is written too."""
    part: list[WindowReading] = []
    done = failed = silent = 0
    written = time.monotonic()
    try:
        for batch in batches:
            part += batch
            for reading in batch:
                done += 1
                failed += reading.failure == "endpoint"
                silent = silent + 1 if reading.failure == "endpoint" else 0
            progress(done, failed)
            if len(part) >= PART_ROWS or time.monotonic() - written >= PART_S:
                folder.add(part)
                part, written = [], time.monotonic()
            if silent >= GIVE_UP_AFTER:
                raise EndpointError(
                    f"Nobody answered the last {silent} windows: {batch[-1].error} What was read is kept; "
                    "see to the endpoint and run the same command again."
                )
    finally:
        folder.add(part)
        batches.close()  # type: ignore[attr-defined]  # engines are generators: begin no further window
