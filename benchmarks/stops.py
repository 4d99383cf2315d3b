"""Stop ladders: what they add to building bars and to their size, and by how much ticks fill stops beyond.

One process builds bid and ask bars of 1m, 5m and 15m of the generated month with and without ladders, in
turns; the medians count.  A year is the month's size times the open days of a year over those of the month.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from aiopt.bars.building.build import build
from aiopt.bars.files import bar_path
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import time_rules
from aiopt.bars.stops.stop_files import STOPS_NAME, read_stop_table
from aiopt.bars.stops.stop_slippage import measure_slippage
from aiopt.ticks.sample import generate_ticks
from aiopt.timeframe import parse_timeframe
from benchmarks._harness import CACHE, Figure, median

TIMEFRAMES = ("1m", "5m", "15m")
ROUNDS = 7
DAYS_PER_YEAR = 260
LOOKUPS = 100_000


def run() -> list[Figure]:
    """Measure and return the figures."""
    store = CACHE / "ticks-month"
    manifest = generate_ticks(store, progress=lambda done, total: print(f"{done}/{total}", file=sys.stderr))
    figures = [Figure(name="ticks", value=manifest.rows, unit="ticks")]
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for number in range(2 * (ROUNDS + 1)):
            stops = number % 2 == 1
            started = time.perf_counter()
            _build(store, out, stops=stops)
            if number >= 2:  # the first of each compiles
                seconds[stops].append(time.perf_counter() - started)
        with_s, without_s = median(seconds[True]), median(seconds[False])
        figures += [
            Figure(name="build_without_ladders", value=without_s, unit="s"),
            Figure(name="build_with_ladders", value=with_s, unit="s"),
            Figure(name="share_added", value=with_s / without_s - 1, unit=""),
        ]
        _build(store, out, stops=True)
        days = len(manifest.partitions)
        for label in TIMEFRAMES:
            path = bar_path(out, manifest.instrument, label, "bid").with_name(STOPS_NAME)
            table = read_stop_table(path)
            found = measure_slippage(table)
            ladder = table.ladder
            records = ladder.bid_steps.size + ladder.ask_steps.size
            per_year = DAYS_PER_YEAR / days / 2**20
            figures += [
                Figure(name=f"records_per_bar_and_side_{label}", value=records / len(ladder) / 2, unit=""),
                Figure(name=f"file_per_year_{label}", value=path.stat().st_size * per_year, unit="MiB"),
                Figure(name=f"memory_per_year_{label}", value=ladder.nbytes * per_year, unit="MiB"),
                Figure(name=f"mean_slippage_{label}", value=found.mean_pips, unit="pip"),
            ]
        ladder = read_stop_table(bar_path(out, manifest.instrument, "1m", "bid").with_name(STOPS_NAME)).ladder
        lows = [int(ladder.bid_steps[end - 1]) / ladder.price_scale for end in ladder.bid_offsets[1:]]
        started = time.perf_counter()
        for number in range(LOOKUPS):
            bar = number % len(lows)
            ladder.fill_price(bar, lows[bar], sells=True)
        elapsed_s = time.perf_counter() - started
        figures.append(Figure(name="lookup", value=1e6 * elapsed_s / LOOKUPS, unit="us"))
    return figures


def _build(store: Path, out: Path, *, stops: bool) -> None:
    timeframes = tuple(parse_timeframe(label) for label in TIMEFRAMES)
    build(store, out, BarRequest(time_rules(timeframes), ("bid", "ask"), stops=stops))
