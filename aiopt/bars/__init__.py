"""Bars: schema, files, building from ticks, importing a provider's, and where stops inside them are filled.

Knows nothing of indicators, strategies, backtests or Ray.
"""
