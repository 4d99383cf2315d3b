"""Ticks in memory to bars in memory: a reducer per kind of bar, its algebra, and the reference it equals.

Arrays and frames in, arrays and frames out: no module here opens a file.
"""
