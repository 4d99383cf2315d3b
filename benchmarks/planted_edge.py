"""What a planted edge is worth: the Sharpe ratio of its reference rule over years of generated ticks.

For each stated ratio, years of ticks with that edge are generated, each with its own seed, and the family
`aiopt.ticks.planted_edge.REFERENCE` with its own parameters is backtested on 5m bars at default costs through
the screen.  The true ratio is that of all years' hourly profits, one after another; its standard error is the
one of a ratio over that many years, ``1 / sqrt(years)``.

`AIOPT_BENCH_EDGE_YEARS` sets the years per ratio, `AIOPT_BENCH_EDGES` the ratios; 0 is a sample without one.
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.building.build import build
from aiopt.bars.files import load_bar_set
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import time_rules
from aiopt.evaluation.folds import period_profits
from aiopt.evaluation.metrics import SECONDS_PER_YEAR, sharpe_ratio
from aiopt.screen.session import ScreenSession
from aiopt.strategy.families import FAMILIES
from aiopt.ticks.planted_edge import REFERENCE
from aiopt.ticks.sample import generate_ticks
from aiopt.utc import HOUR_NS
from benchmarks._harness import Figure

YEARS = int(os.environ.get("AIOPT_BENCH_EDGE_YEARS", "8"))
EDGES = tuple(float(text) for text in os.environ.get("AIOPT_BENCH_EDGES", "0,2,4,6,8").split(","))
DAYS = 364
TICKS_PER_DAY = 4_000
HOURS_PER_YEAR = SECONDS_PER_YEAR / 3600


def run() -> list[Figure]:
    """Measure and return the figures."""
    figures = [Figure(name="years", value=YEARS, unit="years")]
    for edge in EDGES:
        profits = [year_profits(edge, seed) for seed in range(101, 101 + YEARS)]
        ratio = sharpe_ratio(np.concatenate(profits), periods_per_year=HOURS_PER_YEAR)
        figures.append(Figure(name=f"sharpe_at_edge_{edge:g}", value=round(ratio, 2), unit="Sharpe ratio"))
    figures.append(Figure(name="standard_error", value=round(1 / math.sqrt(YEARS), 2), unit="Sharpe ratio"))
    return figures


def year_profits(edge: float, seed: int) -> npt.NDArray[np.float64]:
    """Return the hourly profits of the reference over one generated year."""
    with tempfile.TemporaryDirectory() as folder:
        ticks, bars = Path(folder) / "ticks", Path(folder) / "bars"
        generate_ticks(
            ticks,
            start="2023-01-02",
            days=DAYS,
            ticks_per_day=TICKS_PER_DAY,
            seed=seed,
            edge=edge or msgspec.UNSET,
        )
        build(ticks, bars, BarRequest(time_rules(("5m",)), ("bid", "ask")))
        bar_set = load_bar_set(bars, timeframe="5m")
    result = ScreenSession(bar_set, BacktestConfig()).run(FAMILIES[REFERENCE].spec)
    times = bar_set.bid.ts_open_ns
    start = int(times[0]) // HOUR_NS * HOUR_NS
    stop = (int(times[-1]) // HOUR_NS + 1) * HOUR_NS
    return period_profits(times, result.equity, start_ns=start, stop_ns=stop, period_ns=HOUR_NS)
