"""Market data: instruments, the FX week, ticks and bars, their files and their sources.

Knows nothing of indicators, strategies, backtests or Ray.
"""
