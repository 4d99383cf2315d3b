"""Pine Script: a StrategySpec as a TradingView strategy, and a checker of what was written.

Owns the text of scripts.  Reads `aiopt.strategy`; knows nothing of backtests or runs, whose figures it is
handed as a `Provenance`.
"""
