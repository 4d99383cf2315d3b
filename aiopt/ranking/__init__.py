"""Ranking trials by what they did out of sample.

Owns a trial's row, the leaderboard, the score and the verdicts; `docs/explanation/ranking.md` explains them.
Knows nothing of engines, Ray or reports.
"""

from aiopt.ranking.leaderboard import BestSoFar, Leaderboard, Progress
from aiopt.ranking.rank import rank_trials
from aiopt.ranking.ranking_config import RankingConfig, ScoreWeights, StressConfig
from aiopt.ranking.ranking_file import Entry, Ranking, Rejection, Statistics
from aiopt.ranking.reasons import ReasonCount, failure_reasons, rejection_reasons
from aiopt.ranking.trials import TrialRow, check_row, read_plan, read_trials, write_trials

__all__ = [
    "BestSoFar",
    "Entry",
    "Leaderboard",
    "Progress",
    "Ranking",
    "RankingConfig",
    "ReasonCount",
    "Rejection",
    "ScoreWeights",
    "Statistics",
    "StressConfig",
    "TrialRow",
    "check_row",
    "failure_reasons",
    "rank_trials",
    "read_plan",
    "read_trials",
    "rejection_reasons",
    "write_trials",
]
