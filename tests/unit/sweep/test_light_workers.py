"""A worker that screens waits for no engine: NautilusTrader is loaded where a trial runs in it."""

from __future__ import annotations

import subprocess
import sys

_SCREENS = """
import sys
from aiopt.sweep.trial_runner import open_runner
from aiopt.sweep.local import run_points
from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import add_spread
from aiopt.bars.schema import BarSet
from aiopt.market.instrument import instrument
from aiopt.testing.bars import random_walk_bars
bid = random_walk_bars(200, seed=1)
bars = add_spread(BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash), 0.8)
open_runner(bars, BacktestConfig(), screen=True)
print("nautilus_trader" in sys.modules)
open_runner(bars, BacktestConfig(), screen=False)
print("nautilus_trader" in sys.modules)
"""


def test_the_engine_is_loaded_only_for_trials_in_it() -> None:
    done = subprocess.run([sys.executable, "-c", _SCREENS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "True"]
