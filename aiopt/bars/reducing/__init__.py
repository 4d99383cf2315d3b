"""Ticks in memory to bars in memory: the `Reducer` protocol, a reducer per kind of bar, and their algebra.

Arrays and frames in, arrays and frames out: no module here opens a file.
"""
