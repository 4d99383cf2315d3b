"""Analyst: pattern detectors in bars per second, readings per second by the rules, and through an endpoint.

An endpoint is measured where ANALYST_ENDPOINT (and AIOPT_ANALYST_TOKEN) name one: the same charts one after
the other and eight at once, in turn.  Elsewhere a line says that it was left out.
"""

from __future__ import annotations

import asyncio
import os
import sys

from aiopt.analyst import AnalysisRequest, AnalystSettings, analyse, read_by_rules
from aiopt.analyst.client import ChatClient
from aiopt.analyst.windows import request_of_window
from aiopt.charts import PreparedChart
from aiopt.patterns import Prices, find_patterns
from aiopt.testing.bars import random_walk_bars
from benchmarks._harness import Figure, interleaved, median

N_BARS = 100_000
N_READINGS = 300
N_ASKED = 24
ROUNDS = 5
AT_ONCE = 8


def run() -> list[Figure]:
    bars = random_walk_bars(N_BARS, seed=7, timeframe="5m")
    prices = Prices(bars.open, bars.high, bars.low, bars.close)
    windows = [(start, start + 120) for start in range(200, 200 + 120 * N_READINGS, 120)]

    def detect() -> None:
        # `Prices` keeps its unit once computed: a new object each time, so that all of the work is done.
        found = find_patterns(Prices(prices.open, prices.high, prices.low, prices.close))
        assert len(found) > N_BARS / 10, "no patterns: nothing was measured"

    def read() -> None:
        readings = [read_by_rules(AnalysisRequest(bars=bars.slice(*window))) for window in windows]
        assert {reading.bias for reading in readings} == {"long", "short", "neutral"}

    times = interleaved({"detect": detect, "read": read}, ROUNDS)
    figures = [
        Figure(name="detectors", value=N_BARS / median(times["detect"]), unit="bars/s"),
        Figure(name="readings_by_rules", value=N_READINGS / median(times["read"]), unit="readings/s"),
    ]
    endpoint = os.environ.get("ANALYST_ENDPOINT")
    if endpoint is None:
        print("ANALYST_ENDPOINT is not set: readings by a model left out.", file=sys.stderr)
        return figures
    return figures + _by_model(endpoint, bars, windows[:N_ASKED])


def _by_model(endpoint: str, bars: object, windows: list[tuple[int, int]]) -> list[Figure]:
    settings = AnalystSettings(endpoint=endpoint, concurrency=AT_ONCE)
    chart = PreparedChart(bars, settings.chart)
    requests = [
        request_of_window(bars, window, spec=settings.chart, chart_png=chart.render(*window))
        for window in windows
    ]
    asked: dict[str, int] = {}

    async def ask(at_once: int) -> None:
        gate = asyncio.Semaphore(at_once)
        async with ChatClient(settings) as client:

            async def one(request: AnalysisRequest) -> int:
                async with gate:
                    result = await analyse(request, client.complete, settings)
                assert all(attempt.prompt_tokens for attempt in result.attempts), result.attempts
                return len(result.attempts)

            counts = await asyncio.gather(*(one(request) for request in requests))
        asked[str(at_once)] = sum(counts)

    ways = {str(n): (lambda n=n: asyncio.run(ask(n))) for n in (1, AT_ONCE)}
    times = interleaved(ways, 2)
    single, batched = median(times["1"]), median(times[str(AT_ONCE)])
    return [
        Figure(name="readings_one_by_one", value=N_ASKED / single, unit="readings/s"),
        Figure(name=f"readings_{AT_ONCE}_at_once", value=N_ASKED / batched, unit="readings/s"),
        Figure(name="speedup_at_once", value=single / batched, unit="x"),
        Figure(name="questions_per_reading", value=asked[str(AT_ONCE)] / N_ASKED, unit="questions"),
    ]
