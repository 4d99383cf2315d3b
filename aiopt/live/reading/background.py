"""Asking beside trading: a thread with an event loop of its own, and one answer per question.

Owns the thread, the connections and the time limit.  Knows no session; when an answer counts is not its
matter.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, NamedTuple

import msgspec
import numpy as np

from aiopt.analyst.chat import ChatReply, ChatRequest, Complete
from aiopt.analyst.client import ChatClient
from aiopt.analyst.scans.reading_rows import WindowReading
from aiopt.analyst.scans.scan_config import ScanConfig
from aiopt.analyst.scans.scanning import WindowReader
from aiopt.analyst.settings import AnalystSettings
from aiopt.analyst.windows import drawable, indicator_lines, values_at
from aiopt.bars.schema import BarSet
from aiopt.errors import EndpointError
from aiopt.patterns import Prices, find_patterns

_JOIN_S = 30.0


class Chart(NamedTuple):
    """A chart to be read.

    Attributes
    ----------
    number : int
        Of the question.
    bars : BarSet
        The chart's bars and those before them, which its indicators are made of.
    window : tuple of int
        The chart's first bar and the bar behind its last, in `bars`.
    """

    number: int
    bars: BarSet
    window: tuple[int, int]


class Terms(NamedTuple):
    """How a chart is read.

    Attributes
    ----------
    scan : ScanConfig
        Who reads; as in a scan.
    limit_s : float
        Seconds a model has.
    stands_in : bool
        Whether the rules' reading counts where the model gave none.
    on_patterns : bool
        Ask only where the last bar completes a pattern.
    """

    scan: ScanConfig
    limit_s: float
    stands_in: bool
    on_patterns: bool


class Answer(NamedTuple):
    """What became of a question.

    Attributes
    ----------
    reading : WindowReading
        With the seconds it took.
    features : dict of str to float
        The chart's indicators at its last bar, by title.
    """

    reading: WindowReading
    features: dict[str, float]


class BackgroundReader:
    """Reads charts in a thread; started by the first question, ended by `close`."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._clients: dict[bytes, ChatClient] = {}

    def ask(self, chart: Chart, terms: Terms) -> Future[Answer]:
        """Begin to read a chart and return at once; no answer is ever an exception of the reading."""
        return self._begin(_Reading(self, chart, terms).answer())

    def served(self, settings: AnalystSettings) -> Future[tuple[str, ...]]:
        """Begin to ask an endpoint which models it serves."""
        return self._begin(self._served(settings))

    async def _served(self, settings: AnalystSettings) -> tuple[str, ...]:
        async with ChatClient(settings) as client:
            return await client.models()

    def client(self, settings: AnalystSettings) -> ChatClient:
        """Return the connections to an endpoint; called in the thread."""
        key = msgspec.json.encode(settings)
        if key not in self._clients:
            self._clients[key] = ChatClient(settings)
        return self._clients[key]

    def close(self) -> None:
        """Drop what is under way, and end the thread."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        asyncio.run_coroutine_threadsafe(self._end(), loop).result(_JOIN_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_JOIN_S)
        loop.close()

    async def _end(self) -> None:
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for client in self._clients.values():
            await client.__aexit__(None, None, None)
        self._clients.clear()

    def _begin(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="aiopt-analyst", daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop)


class _Reading:
    """One chart that is being read."""

    def __init__(self, background: BackgroundReader, chart: Chart, terms: Terms) -> None:
        self._background, self._chart, self._terms = background, chart, terms

    async def answer(self) -> Answer:
        """Return the answer, whatever happens."""
        chart, terms = self._chart, self._terms
        asked_ns, began = time.time_ns(), time.perf_counter()
        plain = WindowReader(chart.bars, ScanConfig(reader="rules", analyst=terms.scan.analyst))
        try:
            features = self._features()
            if terms.on_patterns and not self._completes_pattern():
                fields = {
                    "failure": "unasked",
                    "error": "no pattern ends here",
                    "reader": terms.scan.reader,
                }
            else:
                reader = WindowReader(chart.bars, terms.scan, stands_in=terms.stands_in)
                complete = self._limited() if terms.scan.reader == "model" else None
                return Answer(await reader.read(chart.number, chart.window, complete), features)
        except Exception as error:  # noqa: BLE001 - trading goes on, whatever reading raises
            said = f"{type(error).__name__}: {error}"
            fields = {"failure": "window", "error": said, "reader": terms.scan.reader}
            features = {}
        seconds = time.perf_counter() - began
        row = plain.row(chart.number, chart.window, fields, asked_ns=asked_ns, seconds=seconds)
        return Answer(row, features)

    def _features(self) -> dict[str, float]:
        bars = self._chart.bars.bid
        lines = indicator_lines(bars, drawable(self._terms.scan.analyst.chart, bars))
        return values_at(lines, self._chart.window[1] - 1)

    def _completes_pattern(self) -> bool:
        start, stop = self._chart.window
        bars = self._chart.bars.bid.slice(start, stop)
        columns = (np.ascontiguousarray(side) for side in (bars.open, bars.high, bars.low, bars.close))
        return any(one.confirmed_bar == stop - start - 1 for one in find_patterns(Prices(*columns)))

    def _limited(self) -> Complete:
        """Return the endpoint as the analyst asks it, every question until one moment."""
        terms, client = self._terms, self._background.client(self._terms.scan.analyst)
        until = asyncio.get_running_loop().time() + terms.limit_s

        async def complete(request: ChatRequest) -> ChatReply:
            try:
                async with asyncio.timeout_at(until):
                    return await client.complete(request)
            except TimeoutError as slow:
                msg = f"The model endpoint gave no reading within the {terms.limit_s:g} s of `limit_s`"
                raise EndpointError(msg) from slow

        return complete
