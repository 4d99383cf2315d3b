"""Backtests of a StrategySpec in NautilusTrader.

Owns the conversion of bars to quotes, the Nautilus strategy, the warm engine and the trial result.  Knows
nothing of Ray, rankings or Pine Script.  The only package of aiopt that imports NautilusTrader; names are
imported from the modules, so that a reader of results does not load the engine:

- `aiopt.backtest.backtest_config`: `BacktestConfig`, `Segments`
- `aiopt.backtest.results`: `TrialResult`, `Trade`, `Metrics`, `pnl_by_period`
- `aiopt.backtest.session`: `BacktestSession`
"""
