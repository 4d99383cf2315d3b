"""Judging results: figures, walk-forward folds, and statistics against luck.

Owns statistics over arrays.  Knows nothing of strategies, engines, files or Ray.
"""
