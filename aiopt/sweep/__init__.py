"""Trying the points of search spaces: which points, in which order, and the row each gives.

Owns the settings of a sweep, its points, the trial and the runner in this process.  Knows nothing of Ray, of
run folders or of how a sweep's input was read.
"""
