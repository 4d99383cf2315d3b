"""What tests of sweeps on Ray share: a small configuration, a ranking actor, workers, spoiled strategies."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path
from typing import Any

import ray
from ray.util.state import list_actors

from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.optimize.configuration import OptimizeConfig
from aiopt.ranking.ranking_config import RankingConfig, StressConfig
from aiopt.ranking.trials import read_trials, write_trials
from aiopt.sweep.local import SweepOutcome
from aiopt.sweep.trial import TrialContext, TrialPoint
from cluster.ranking import RemoteBoard
from cluster.sweep import run_sweep

CONFIG = OptimizeConfig(
    timeframes=("5m",),
    strategies=("rsi_reversion", "ema_cross_atr", "stochastic_sma"),
    trials=12,
    walk_forward=WalkForwardConfig(train_segments=2, folds=2, holdout_segments=1),
    ranking=RankingConfig(
        stress=StressConfig(pip_size=1e-4), min_oos_trades=2, min_train_trades=1, bootstrap_resamples=100
    ),
)


class Board:
    """A ranking actor with its journal."""

    def __init__(self, folder: Path, context: TrialContext) -> None:
        self.name = f"test-{uuid.uuid4().hex[:6]}"
        self.folder = folder
        self.journal = folder / "leaderboard.jsonl"
        self.actor = RemoteBoard.start(self.name, self.journal, CONFIG.ranking, context.plan).actor

    def rows(self) -> list[Any]:
        return ray.get(self.actor.rows.remote(), timeout=60)

    def ranking(self) -> bytes:
        return canonical_json(ray.get(self.actor.ranking.remote(), timeout=60))

    def journalled(self) -> int:
        """Rows in the file itself; the first line is the header."""
        return self.journal.read_bytes().count(b"\n") - 1


def sweep(
    board: Board,
    points: list[TrialPoint],
    bars: dict[str, BarSet],
    context: TrialContext,
    report: Any = lambda progress: None,
) -> SweepOutcome:
    return run_sweep(points, bars, context, board.actor, scratch_dir=board.folder / "tune", report=report)


def trials_bytes(board: Board) -> bytes:
    path = board.folder / "trials.parquet"
    write_trials(path, board.rows())
    assert len(read_trials(path)) == len(board.rows())
    return path.read_bytes()


def sweep_workers() -> list[int]:
    """Process ids of the running trial workers."""
    return [
        actor.pid
        for actor in list_actors(filters=[("class_name", "=", "SweepTrainable"), ("state", "=", "ALIVE")])
        if actor.pid
    ]


def meeting(bars: dict[str, BarSet], folder: Path, workers: int) -> dict[str, Any]:
    """Return bars that reach a worker only when so many workers ask: else the first could finish alone."""

    def arrive(bar_set: BarSet) -> BarSet:
        (folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 120
        while len(list(folder.iterdir())) < workers and time.monotonic() < deadline:
            time.sleep(0.1)
        return bar_set

    class Waiting:
        def __init__(self, bar_set: BarSet) -> None:
            self.bar_set = bar_set

        def __reduce__(self) -> tuple[Any, ...]:
            return arrive, (self.bar_set,)

    folder.mkdir()
    return {label: Waiting(bar_set) for label, bar_set in bars.items()}


class Spoiled:
    """A strategy that kills its worker, or hangs in it; here it is the strategy it was made from."""

    def __init__(self, spec: Any, driver: int, *, hangs: bool) -> None:
        self.__dict__.update(_spec=spec, _driver=driver, _hangs=hangs, spec_hash=spec.spec_hash)

    def to_json(self) -> str:
        return self._spec.to_json()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if os.getpid() == self._driver:
            return getattr(self._spec, name)
        if not self._hangs:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
        raise AttributeError(name)
