"""What a backtest knows of stops: the bars' own ladder, or one measured on ticks that lie near.

Owns which of them counts.  Measures nothing itself (`aiopt.bars.stops`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import with_stop_slippage
from aiopt.bars.schema import BarSet
from aiopt.bars.stops.stop_measuring import find_tick_store, measure_store
from aiopt.errors import ConfigError

Meter = Callable[[str, float], AbstractContextManager[Callable[[float], None]]]
"""Opens a progress bar: takes its description and its total."""


def with_measured_stops(
    bars: BarSet, config: BacktestConfig, ticks_dir: Path | None, *, meter: Meter
) -> BarSet:
    """Return bars with what ticks say of their stops: their own, those named, those found.

    Parameters
    ----------
    bars : BarSet
        Research bars.
    config : BacktestConfig
        A stop slippage given there counts instead.
    ticks_dir : Path or None
        Tick store named by the user; None: one of traded ticks in ``data/ticks/SYMBOL``, if there is.
    meter : callable
        Shows how far the measuring is.

    Raises
    ------
    ConfigError
        If a store is named although something else says how stops fill.
    """
    if bars.stops is not None or config.stop_slippage_ticks is not None:
        if ticks_dir is not None:
            has = "their own stop ladder" if bars.stops is not None else "--stop-slippage"
            msg = f"Stop slippage is measured where nothing else says it, but there is {has}."
            raise ConfigError(msg + " Leave --ticks out.")
        return bars
    store = ticks_dir or find_tick_store(bars.instrument.symbol, Path())
    if store is None:
        return bars
    with meter(f"measuring stops on {store}", 100) as report:
        measured = measure_store(store, progress=lambda done, total: report(100.0 * done / max(total, 1)))
    return with_stop_slippage(bars, measured)
