"""Samplers that learn: they propose points of a search space by what the points before them gave.

Owns settings, objectives, generations, budgets and Pareto fronts.  Knows no bars, no trial and no
leaderboard: a search is told figures of the train window it may see, and nothing else.
"""
