"""Strategies as data: specs, conditions, signals, search spaces and the ready families.

Owns what a strategy *means*.  Knows indicators and bar types; knows nothing of engines, scripts or Ray.
"""
