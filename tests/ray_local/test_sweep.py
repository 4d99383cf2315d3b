"""The sweep on a real cluster: one and two Ray nodes, death of workers and of the leaderboard, resuming."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import ray

import cluster.sweep
from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json
from aiopt.errors import InputError, SearchSpaceError, StorageError
from aiopt.evaluation.folds import plan_walk_forward
from aiopt.files import GIB, MIB
from aiopt.market.instrument import instrument
from aiopt.optimize.configuration import load_strategies
from aiopt.ranking.leaderboard import Leaderboard, Progress
from aiopt.ranking.trials import write_trials
from aiopt.screen.session import ScreenSession
from aiopt.search.settings import SearchConfig
from aiopt.strategy.spec_limits import EntryLimits
from aiopt.sweep.confirming import confirm
from aiopt.sweep.local import SweepOutcome, run_sweep_locally
from aiopt.sweep.planning import plan_sweep
from aiopt.sweep.points import plan_points
from aiopt.sweep.progress import SweepProgress
from aiopt.sweep.sweep_config import TrialLimits
from aiopt.sweep.trial import TrialContext, TrialPoint, failed_row
from aiopt.testing.bars import random_walk_bars
from cluster import lifecycle
from cluster.pipeline import RayStages
from cluster.ranking import RemoteBoard, actor_name
from cluster.resources import NodeResources
from cluster.sweep import run_sweep
from tests.ray_local.sweeping import CONFIG, Board, Spoiled, meeting, sweep, sweep_workers, trials_bytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def bars() -> dict[str, BarSet]:
    bid = dataclasses.replace(random_walk_bars(2_000, timeframe="5m", seed=4), price="bid")
    sides = {name: np.round(getattr(bid, name) + 0.00006, 5) for name in ("open", "high", "low", "close")}
    ask = dataclasses.replace(bid, price="ask", **sides)
    return {"5m": BarSet(instrument("EURUSD"), bid.timeframe, bid, ask, False, bid.data_hash)}


@pytest.fixture(scope="module")
def context(bars: dict[str, BarSet]) -> TrialContext:
    plan = plan_walk_forward(CONFIG.walk_forward, bars["5m"].bid.ts_open_ns)
    return TrialContext(backtest=BacktestConfig(), plan=plan, seed=1, data_hash=bars["5m"].data_hash)


@pytest.fixture(scope="module")
def points() -> list[TrialPoint]:
    return plan_points(load_strategies(CONFIG), CONFIG)


@pytest.fixture(autouse=True)
def eager_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report after nearly every trial, so that a test can act in mid-sweep."""
    monkeypatch.setattr(cluster.sweep, "PROGRESS_EVERY_S", 0.05)


@pytest.fixture
def board(ray_driver: object, tmp_path: Path, context: TrialContext) -> Iterator[Board]:
    found = Board(tmp_path, context)
    yield found
    ray.kill(found.actor)


@pytest.fixture(scope="module")
def reference(
    ray_driver: object,
    tmp_path_factory: pytest.TempPathFactory,
    points: list[TrialPoint],
    bars: dict[str, BarSet],
    context: TrialContext,
) -> tuple[bytes, bytes]:
    """``trials.parquet`` and the ranking of a sweep on one node that nothing disturbed."""
    board = Board(tmp_path_factory.mktemp("reference"), context)
    lines: list[SweepProgress] = []
    held = threading.Lock()

    def listen(progress: SweepProgress) -> None:
        # A lock cannot be pickled, and nor may who listens have to be.
        with held:
            lines.append(progress)

    outcome = sweep(board, points, bars, context, listen)
    assert outcome.progress.done == len(points)
    assert outcome.progress.failed == 0
    assert len(outcome.trials_by_node) == 1
    assert lines[-1].line().startswith(f"{len(points)}/{len(points)} trials (100%)")
    result = (trials_bytes(board), board.ranking())
    ray.kill(board.actor)
    return result


def test_two_nodes_give_the_same_bytes(
    ray_driver: lifecycle.ClusterState,
    board: Board,
    tmp_path: Path,
    points: list[TrialPoint],
    bars: dict[str, BarSet],
    context: TrialContext,
    reference: tuple[bytes, bytes],
) -> None:
    node = NodeResources(num_cpus=1, num_gpus=0, memory_bytes=1 * GIB, object_store_bytes=100 * MIB)
    folder = tmp_path / "node"
    lifecycle.join(folder, node, address=ray_driver.address, token_path=Path(ray_driver.token_path))
    try:
        outcome = sweep(board, points, meeting(bars, tmp_path / "arrived", 3), context)
    finally:
        lifecycle.down(folder)
    assert len(outcome.trials_by_node) == 2, "both nodes must have run trials"
    assert sum(outcome.trials_by_node.values()) == len(points)
    assert (trials_bytes(board), board.ranking()) == reference


def test_this_process_alone_gives_the_same_bytes(
    tmp_path: Path,
    points: list[TrialPoint],
    bars: dict[str, BarSet],
    context: TrialContext,
    reference: tuple[bytes, bytes],
) -> None:
    """The local runner's rows are those of Ray Tune, by the hash of the file that holds them."""
    leaderboard = Leaderboard(tmp_path / "leaderboard.jsonl", CONFIG.ranking, context.plan)
    outcome = run_sweep_locally(points, bars, context, leaderboard)
    assert (outcome.progress.done, outcome.progress.failed) == (len(points), 0)
    write_trials(tmp_path / "trials.parquet", leaderboard.rows())
    assert ((tmp_path / "trials.parquet").read_bytes(), canonical_json(leaderboard.ranking())) == reference


def test_the_screen_gives_the_same_bytes_and_the_engine_agrees(
    board: Board,
    points: list[TrialPoint],
    bars: dict[str, BarSet],
    context: TrialContext,
    reference: tuple[bytes, bytes],
) -> None:
    screened = dataclasses.replace(context, screen=True)
    outcome = sweep(board, points, bars, screened)
    assert (outcome.progress.done, outcome.progress.failed) == (len(points), 0)
    remote = RemoteBoard(board.actor)
    engine = RayStages()
    compared = confirm(points, remote, screened, lambda again, plain: engine.run_trials(again, bars, plain))
    assert 0 < compared <= len(points)
    assert (trials_bytes(board), board.ranking()) == reference
    assert board.journalled() == len(points), "no row twice"


@pytest.fixture
def told_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let progress be told while so few trials still run: on a fast machine they are done in a second."""
    monkeypatch.setattr(cluster.sweep, "PROGRESS_EVERY_S", 0.1)


@pytest.mark.usefixtures("told_often")
def test_killed_leaderboard_loses_no_row(
    board: Board,
    points: list[TrialPoint],
    bars: dict[str, BarSet],
    context: TrialContext,
    reference: tuple[bytes, bytes],
) -> None:
    killed: list[int] = []

    def kill_once(progress: SweepProgress) -> None:
        if progress.done and not killed:
            killed.append(progress.done)
            ray.kill(board.actor, no_restart=False)

    outcome = sweep(board, points, bars, context, kill_once)
    assert killed
    assert killed[0] < len(points), "it died in mid-sweep"
    assert outcome.progress.done == len(points)
    assert (trials_bytes(board), board.ranking()) == reference
    assert board.journalled() == len(points), "no row twice"
    assert ray.get_actor(actor_name(board.name), namespace="tests") == board.actor


@pytest.mark.usefixtures("told_often")
def test_killed_worker_is_replaced_and_its_batch_run_again(
    board: Board,
    points: list[TrialPoint],
    bars: dict[str, BarSet],
    context: TrialContext,
    reference: tuple[bytes, bytes],
) -> None:
    killed: list[int] = []

    def kill_once(progress: SweepProgress) -> None:
        workers = sweep_workers()
        if progress.done and workers and not killed:
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    outcome = sweep(board, points, bars, context, kill_once)
    assert killed
    assert outcome.progress.failed == 0
    assert (trials_bytes(board), board.ranking()) == reference


@pytest.mark.usefixtures("told_often")
def test_the_sweep_ends_where_a_dead_worker_finds_no_room_to_start_again(
    board: Board,
    points: list[TrialPoint],
    bars: dict[str, BarSet],
    context: TrialContext,
    reference: tuple[bytes, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody else takes its core: the worker left runs its batch, and nobody waits for it at the end."""
    killed: list[int] = []
    taken: list[Any] = []
    recover = cluster.sweep._ProgressCallback.on_trial_recover

    @ray.remote(num_cpus=1)
    class Somebody:
        def is_here(self) -> bool:
            return True

    def kill_once(progress: SweepProgress) -> None:
        workers = [] if killed else sweep_workers()
        if progress.done and len(workers) == 2:
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    def take_its_place(callback: Any, *arguments: Any, **named: Any) -> None:
        taken.append(Somebody.remote())
        assert ray.get(taken[-1].is_here.remote(), timeout=120)
        recover(callback, *arguments, **named)

    monkeypatch.setattr(cluster.sweep._ProgressCallback, "on_trial_recover", take_its_place)
    try:
        outcome = sweep(board, points, meeting(bars, tmp_path / "arrived", 2), context, kill_once)
    finally:
        for actor in taken:
            ray.kill(actor)
    assert (len(killed), len(taken)) == (1, 1), "one of two workers must have died"
    assert outcome.progress.failed == 0
    assert (trials_bytes(board), board.ranking()) == reference


def test_point_that_kills_its_worker_is_recorded_and_its_neighbours_survive(
    board: Board, points: list[TrialPoint], bars: dict[str, BarSet], context: TrialContext
) -> None:
    driver = os.getpid()
    good = points[:3]

    class Deadly:
        """Stands for a spec that crashes the engine's process."""

        spec_hash = "deadly"

        def to_json(self) -> str:
            return "{}"

        def __getattr__(self, name: str) -> Any:
            if os.getpid() != driver and not name.startswith("__"):
                os.kill(os.getpid(), signal.SIGKILL)
            raise AttributeError(name)

    deadly = TrialPoint(trial_id="deadly@5m-0", family="deadly", timeframe="5m", params={}, spec=Deadly())  # type: ignore[arg-type]
    outcome = sweep(board, [good[0], deadly, *good[1:]], bars, context)
    rows = {row.trial_id: row for row in board.rows()}
    assert (outcome.progress.done, outcome.progress.failed) == (4, 1)
    assert "worker process died" in rows["deadly@5m-0"].error
    assert all(rows[point.trial_id].ok for point in good)


def test_a_trial_that_takes_too_much_costs_only_itself(
    board: Board, points: list[TrialPoint], bars: dict[str, BarSet], context: TrialContext
) -> None:
    driver = os.getpid()

    class Greedy:
        """Stands for a spec that hangs, or that exhausts memory."""

        def __init__(self, gib: float) -> None:
            self.gib = gib
            self.spec_hash = f"greedy-{gib}"

        def to_json(self) -> str:
            return "{}"

        def __getattr__(self, name: str) -> Any:
            if os.getpid() != driver and not name.startswith("__"):
                kept = np.ones(int(self.gib * GIB / 8))
                time.sleep(60)
                del kept
            raise AttributeError(name)

    def greedy(name: str, gib: float) -> TrialPoint:
        return TrialPoint(trial_id=f"{name}@5m-0", family=name, timeframe="5m", params={}, spec=Greedy(gib))  # type: ignore[arg-type]

    limited = dataclasses.replace(context, limits=TrialLimits(seconds=10, memory_gib=1.5))
    outcome = sweep(
        board, [points[0], greedy("hangs", 0.0), greedy("swells", 2.0), *points[1:3]], bars, limited
    )
    rows = {row.trial_id: row for row in board.rows()}
    assert (outcome.progress.done, outcome.progress.failed) == (5, 2)
    assert rows["hangs@5m-0"].error == "it ran longer than 10 s (`limits.seconds`)"
    assert rows["swells@5m-0"].error == (
        "its worker needed more than 1.50 GiB of memory (`limits.memory_gib`)"
    )
    assert all(rows[point.trial_id].ok for point in points[:3])


def test_finished_trials_are_neither_run_again_nor_counted_twice(
    board: Board,
    points: list[TrialPoint],
    bars: dict[str, BarSet],
    context: TrialContext,
    reference: tuple[bytes, bytes],
) -> None:
    half = points[::2]
    assert sweep(board, half, bars, context).progress.done == len(half)
    second = sweep(board, points, bars, context)
    assert second.progress.earlier == len(half)
    assert sum(second.trials_by_node.values()) == len(points) - len(half)
    assert sweep(board, points, bars, context).trials_by_node == {}
    assert board.journalled() == len(points)
    assert (trials_bytes(board), board.ranking()) == reference


def test_the_actor_refuses_a_second_result_in_the_leaderboards_own_words(
    board: Board, points: list[TrialPoint], context: TrialContext
) -> None:
    remote = RemoteBoard(board.actor)
    assert remote.add_many([failed_row(points[0], context, "no bars")]) == 1
    with pytest.raises(
        InputError, match=r"^Trial .* came back with two results that differ in error\."
    ) as caught:
        remote.add_many([failed_row(points[0], context, "no margin")])
    assert "Traceback" not in str(caught.value)
    assert remote.progress().failures[0].reason == "no bars"


def test_no_points(board: Board, bars: dict[str, BarSet], context: TrialContext) -> None:
    with pytest.raises(SearchSpaceError, match="at least one trial"):
        sweep(board, [], bars, context)


def test_unwritable_journal_ends_the_sweep_with_its_reason(
    board: Board, points: list[TrialPoint], bars: dict[str, BarSet], context: TrialContext
) -> None:
    class FullDisk:
        """A leaderboard whose disk is full."""

        def trial_ids(self) -> list[str]:
            return []

        def progress(self) -> Progress:
            return Progress(rows=0, failed=0, best=None, failures=[])

        def without_result(self, trial_ids: list[str]) -> list[str]:
            return trial_ids

        def add_packed(self, rows: object) -> None:
            from aiopt.errors import StorageError

            raise StorageError("the disk of /runs is full")

    full = ray.remote(num_cpus=0)(FullDisk).remote()
    began = time.monotonic()
    with pytest.raises(StorageError, match="the disk of /runs is full"):
        run_sweep(
            points, bars, context, full, scratch_dir=board.folder / "tune", report=lambda progress: None
        )
    assert time.monotonic() - began < 120


def test_searches_give_the_rows_of_this_process(
    board: Board, bars: dict[str, BarSet], context: TrialContext
) -> None:
    """A sampler that learns asks for a generation at a time; which worker ends first decides nothing.

    One strategy is held back by entry limits, which the screen follows in the workers as here.
    """
    config = msgspec.structs.replace(
        CONFIG, strategies=("rsi_reversion", "ema_cross_atr"), sampler="evolution", trials=10
    )
    config = msgspec.structs.replace(config, search=SearchConfig(population=5))
    screened = dataclasses.replace(context, screen=True)
    free, held = load_strategies(config)
    assert held.space is not None
    limited = msgspec.structs.replace(held.spec, limits=EntryLimits(pause_bars=3, trades_per_day=2))
    space = msgspec.structs.replace(held.space, spec=limited)
    strategies = [free, msgspec.structs.replace(held, spec=limited, space=space)]
    screen = ScreenSession(bars["5m"], screened.backtest)
    assert len(screen.screen(limited).trades) < len(screen.screen(held.spec).trades), "the limits must act"
    found: dict[str, tuple[bytes, bytes]] = {}
    for where in ("here", "ray"):
        planned = plan_sweep(strategies, config, context.plan)
        local = Leaderboard(None, CONFIG.ranking, context.plan)
        records: list[bytes] = []
        remote = RemoteBoard(board.actor)
        points, _ = planned.run(
            local if where == "here" else remote,
            lambda asked, where=where, local=local: (
                run_sweep_locally(asked, bars, screened, local)
                if where == "here"
                else sweep(board, list(asked), bars, screened)
            ),
            keep=lambda record, records=records: records.append(canonical_json(record)),
        )
        assert len(points) == planned.trials == 2 * 3 * 10
        rows = local.rows() if where == "here" else board.rows()
        found[where] = (canonical_json(rows), records[-1])
    assert found["here"] == found["ray"]


def test_a_point_of_a_search_that_kills_or_hangs_its_worker_costs_only_itself(
    board: Board, bars: dict[str, BarSet], context: TrialContext
) -> None:
    """The search goes on as one here does that is told of the same two failures."""
    config = msgspec.structs.replace(
        CONFIG,
        strategies=("rsi_reversion",),
        sampler="evolution",
        trials=8,
        search=SearchConfig(population=4),
    )
    # The limit covers what a worker loads at its first trial.
    limited = dataclasses.replace(context, screen=True, limits=TrialLimits(seconds=10))
    died = "the worker process died 3 times running this trial"
    reasons = {
        "rsi_reversion@5m-f1-00001": "it ran longer than 10 s (`limits.seconds`)",
        "rsi_reversion@5m-refit-00002": died,
    }
    driver = os.getpid()
    found: dict[str, tuple[bytes, bytes]] = {}
    for where in ("here", "ray"):
        planned = plan_sweep(load_strategies(config), config, context.plan)
        local = Leaderboard(None, CONFIG.ranking, context.plan)
        records: list[bytes] = []

        def keep(record: Any, records: list[bytes] = records) -> None:
            records.append(canonical_json(record))

        def run(asked: Any, where: str = where, local: Leaderboard = local) -> SweepOutcome:
            if where == "here":
                spoiled = [point for point in asked if point.trial_id in reasons]
                local.add_many(failed_row(point, limited, reasons[point.trial_id]) for point in spoiled)
                return run_sweep_locally(asked, bars, limited, local)
            sent = [
                dataclasses.replace(
                    point, spec=Spoiled(point.spec, driver, hangs=reasons[point.trial_id] != died)
                )
                if point.trial_id in reasons
                else point
                for point in asked
            ]
            return sweep(board, sent, bars, limited)

        planned.run(
            local if where == "here" else RemoteBoard(board.actor),
            run,
            keep=keep,
        )
        rows = local.rows() if where == "here" else board.rows()
        assert {row.trial_id: row.error for row in rows if not row.ok} == reasons
        assert len(rows) == planned.trials == 3 * 8
        found[where] = (canonical_json(rows), records[-1])
    assert found["here"] == found["ray"]
