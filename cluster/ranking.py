"""The ranking actor: `aiopt.ranking.Leaderboard` as a named Ray actor that survives its own death.

Owns the actor's options and calls only; all logic is in the plain class.  A row counts once its journal line
is written, so an actor that dies starts again from the journal and Ray repeats the calls it had not answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aiopt.errors import AioptError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.files import MIB
from aiopt.ranking.earlier import NOTHING_EARLIER, Earlier
from aiopt.ranking.leaderboard import Leaderboard, Progress
from aiopt.ranking.packed_row import PackedRow
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.trials import TrialRow
from aiopt.ranking.windows import Window, WindowFigures
from aiopt.sweep.board import Reading
from cluster.resources import stage_options

WATCH_EVERY_S = 1.0
"""How often the actor is asked how far it is."""

TELL_EVERY_S = 5.0
"""How often it is said that an actor still reads the journal it opens."""

_WATCH = "watch"
"""Calls that are answered while the actor is at another."""

RankingActor = ray.remote(
    max_restarts=-1,
    max_task_retries=-1,
    concurrency_groups={_WATCH: 1},
    **stage_options("ranking"),
)(Leaderboard)
"""`Leaderboard` in a process of its own: `RankingActor.remote(journal, config, plan)`."""


def actor_name(run_id: str) -> str:
    """Return the actor's name in the dashboard and for `ray.get_actor`."""
    return f"ranking:{run_id}"


class RemoteBoard:
    """A ranking actor as an `aiopt.sweep.board.Board`: its calls answered, its errors raised as they are.

    Parameters
    ----------
    actor : actor handle
        A `RankingActor`.
    """

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    @classmethod
    def start(
        cls,
        run_id: str,
        journal: Path,
        config: RankingConfig,
        plan: WalkForwardPlan,
        tell: Callable[[str], None] = lambda text: None,
    ) -> RemoteBoard:
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
        tell : callable, optional
            Called every few seconds while a journal that is there is read, with its size and the time so far.
        """
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = RankingActor.options(name=actor_name(run_id), scheduling_strategy=here)
        found = cls(options.remote(journal, config, plan))
        if journal.is_file():
            size, began = journal.stat().st_size, time.monotonic()
            ready = found.actor.reading.remote()
            while not ray.wait([ready], timeout=TELL_EVERY_S)[0]:
                tell(f"{size / MIB:,.0f} MiB, {time.monotonic() - began:.0f} s so far")
        return found

    def trial_ids(self) -> list[str]:
        """Return the ids of all trials that have a result."""
        return self._ask("trial_ids")

    def add(self, row: TrialRow) -> bool:
        """Take a result."""
        return self._ask("add", row)

    def add_many(self, rows: Sequence[TrialRow]) -> int:
        """Take several results."""
        return self._ask("add_many", rows)

    def add_packed(self, rows: Sequence[PackedRow]) -> int:
        """Take results that were packed and checked where they were made."""
        return self._ask("add_packed", rows)

    def progress(self) -> Progress:
        """Return counts, the best so far and why trials failed."""
        return self._ask("progress")

    def write_trials(
        self, path: Path, *, every_series: bool = False, progress: Reading | None = None
    ) -> dict[str, int]:
        """Write ``trials.parquet`` where the rows are: a hundred thousand of them do not fit twice."""
        return self._watched(progress, "write_trials", path, every_series=every_series)

    def ranking(self, earlier: Earlier = NOTHING_EARLIER, *, progress: Reading | None = None) -> Ranking:
        """Rank the rows; `earlier` trials of others count too."""
        return self._watched(progress, "ranking", earlier)

    def chosen_trials(self, *, progress: Reading | None = None) -> list[str]:
        """Return the trials that a fold chooses or that would be emitted."""
        return self._watched(progress, "chosen_trials")

    def window_figures(self, windows: Sequence[Window]) -> list[list[WindowFigures]]:
        """Return what trials gave on train windows, computed where the rows are."""
        return self._ask("window_figures", windows)

    def close(self) -> None:
        """End the actor, whose name is then free for the next call in the same job."""
        ray.kill(self.actor)

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._answer(getattr(self.actor, method).remote(*arguments, **options))

    def _watched(self, progress: Reading | None, method: str, *arguments: Any, **options: Any) -> Any:
        """Ask for what takes long, and meanwhile how far it is."""
        asked = getattr(self.actor, method).remote(*arguments, **options)
        while progress is not None and not ray.wait([asked], timeout=WATCH_EVERY_S)[0]:
            watch = self.actor.reading.options(concurrency_group=_WATCH)
            progress(*self._answer(watch.remote()))
        return self._answer(asked)

    def _answer(self, reference: Any) -> Any:
        try:
            return ray.get(reference)
        except RayTaskError as error:
            # Ray's error carries a traceback as text; the cause says what a person needs.
            cause = error.cause
            if isinstance(cause, AioptError):
                raise cause from error
            raise
