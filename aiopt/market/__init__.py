"""The market: instruments, their names and files, the FX week, holidays and trading sessions.

Knows nothing of ticks, bars, strategies or Ray.
"""
