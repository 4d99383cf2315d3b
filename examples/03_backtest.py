"""Backtest and look: figures, trades, equity and a chart.

    python examples/03_backtest.py [BARS] [FOLDER]

BARS is a folder with bid and ask bars; without it, bars are built from five generated days.  The chart is
written to FOLDER (default: the current one).
"""

from __future__ import annotations

import sys
from pathlib import Path

import aiopt as ao

strategy = Path(__file__).with_name("02_my_strategy.yaml")
bars = ao.read_bars(sys.argv[1]) if len(sys.argv) > 1 else ao.build_bars(ao.sample_ticks(days=5), "5m")
folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()

# Research pays the spread, commission and the first quote beyond a stop.
tested = ao.backtest(strategy, bars, initial_balance=10_000.0)
print(tested)
figures = tested.metrics
print(f"profit factor {figures.profit_factor:.2f}, deepest fall {figures.max_drawdown:.2%}")
print(tested.trades.to_polars().select("entry_ts", "exit_ts", "side", "pnl", "exit_reason").tail(5))

# Costs are assumptions: see what is left when they are higher.
for commission in (0.0, 35.0, 70.0):
    again = ao.backtest(strategy, bars, commission_per_million=commission, slippage_ticks=1)
    print(f"commission {commission:4.0f} per million and a tick of slippage: {again.metrics.net_profit:8.2f}")

# The equity curve as a pandas series, the trades on the price as a picture.
equity = tested.equity.to_pandas().set_index("ts")["equity"]
print("worst day:", equity.resample("1D").last().diff().min())
print(ao.render_chart(tested, ["ema:length=100", "rsi:length=7"]).save(folder))
