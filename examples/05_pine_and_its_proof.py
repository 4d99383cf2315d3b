"""Pine and its proof: emit a script, check it, and list the trades TradingView must show.

    python examples/05_pine_and_its_proof.py [BARS] [FOLDER]

BARS is a folder of bars of the chart; without it, bars are built from five generated days.  The script and
the trades are written to FOLDER (default: the current one).
"""

from __future__ import annotations

import sys
from pathlib import Path

import aiopt as ao

strategy = Path(__file__).with_name("02_my_strategy.yaml")
bars = ao.read_bars(sys.argv[1]) if len(sys.argv) > 1 else ao.build_bars(ao.sample_ticks(days=5), "5m")
folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()

script = ao.emit_pine(strategy, instrument=bars.instrument, out=folder)
print(repr(script))

# The checker reads the script as a compiler does.
print(repr(ao.check_pine(script)))
broken = script.text.replace("strategy.entry(", "strategy.enter(")
for finding in list(ao.check_pine(broken))[:2]:
    print("a broken one:", finding)

# Parity: one price, no costs, as the chart.  These are the trades TradingView's list must show, bar by bar.
# (The tests of aiopt run emitted scripts in an independent Pine engine and compare every trade.)
expected = ao.backtest(strategy, bars, mode="parity")
trades = expected.trades.to_polars().select("entry_ts", "exit_ts", "side", "entry_price", "exit_price")
trades.write_csv(folder / f"{script.name}-expected.csv")
print(trades.head(5))
print(f"{trades.height} trades in {folder / f'{script.name}-expected.csv'}")

# What the chart does not show: the same trades with spread and commission.
research = ao.backtest(strategy, bars)
print(f"on the chart {expected.metrics.net_profit:.2f}, after costs {research.metrics.net_profit:.2f}")
