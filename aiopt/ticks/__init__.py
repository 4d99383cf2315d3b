"""Ticks: their schema, sources, checks, clocks and stamps, download and store.

Knows nothing of bars, indicators, strategies, backtests or Ray.
"""
