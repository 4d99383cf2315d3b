"""Sweep and rank: many sets of parameters, judged out of sample, every trial counted.

    python examples/04_sweep_and_rank.py [BARS] [TRIALS]

BARS is a folder with bid and ask bars; without it, bars are built from five generated days.  With
`cluster.connect()` before it, the same call runs on a Ray cluster and gives the same rows.
"""

from __future__ import annotations

import sys
from pathlib import Path

import aiopt as ao

mine = Path(__file__).with_name("02_my_strategy.yaml")
bars = ao.read_bars(sys.argv[1]) if len(sys.argv) > 1 else ao.build_bars(ao.sample_ticks(days=5), "5m")
trials = int(sys.argv[2]) if len(sys.argv) > 2 else 12

sweep = ao.sweep([mine, "ema_cross_atr"], bars, trials=trials, walk_forward=ao.WalkForwardConfig(folds=3))
print(sweep)
print("failures:", sweep.failures or "none")
best = sweep.to_polars().sort("sharpe", descending=True, nulls_last=True)
print(best.select("trial_id", "trades", "pnl", "sharpe").head(3))
print("The best in-sample is luck and skill; what counts is out of sample:")

# Five days are little: so few trades are asked for.  Leave the minimum alone on real data.
ranked = ao.rank(sweep, min_train_trades=2, min_oos_trades=5, top=3)
print(ranked.headline)
print(ranked.to_polars().select("rank", "strategy", "oos_pnl", "trades", "deflated_sharpe", "verdict"))
print(ranked.rejected.to_polars().select("name", "reason").head(3))
if len(ranked):
    print("the first entry trades", ranked.spec(1).params)
