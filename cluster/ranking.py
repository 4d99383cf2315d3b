"""The ranking actor: `aiopt.ranking.Leaderboard` as a named Ray actor that survives its own death.

Owns the actor's options only; all logic is in the plain class.  A row counts once its journal line is
written, so an actor that dies starts again from the journal and Ray repeats the calls it had not answered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.ranking_config import RankingConfig
from cluster.resources import stage_options

RankingActor = ray.remote(
    max_restarts=-1,
    max_task_retries=-1,
    **stage_options("ranking"),
)(Leaderboard)
"""`Leaderboard` in a process of its own: `RankingActor.remote(journal, config, plan)`."""


def actor_name(run_id: str) -> str:
    """Return the actor's name in the dashboard and for `ray.get_actor`."""
    return f"ranking:{run_id}"


def start_ranking(run_id: str, journal: Path, config: RankingConfig, plan: WalkForwardPlan) -> Any:
    """Start the ranking actor of a run on this node, where the journal's folder is.

    Parameters
    ----------
    run_id : str
        Gives the actor its name.
    journal : Path
        Absolute path of the journal; rows in it are taken over.
    config : RankingConfig
        How rows are judged.
    plan : WalkForwardPlan
        What rows are measured by.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return RankingActor.options(name=actor_name(run_id), scheduling_strategy=here).remote(
        journal, config, plan
    )
