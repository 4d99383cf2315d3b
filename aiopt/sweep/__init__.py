"""Trying the points of search spaces: from a point to the row of a trial.  Knows nothing of Ray."""
