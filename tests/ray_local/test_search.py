"""Sweeps on three nodes, searches that are killed, and the screen's alarm: the same bytes, or no result."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import cluster.optimize
from aiopt.files import GIB, MIB
from aiopt.optimize.configuration import OptimizeConfig, load_optimize_config
from aiopt.optimize.pipeline import run_pipeline
from aiopt.ranking.trials import read_trials
from aiopt.runs import DISTRUSTED, LEADERBOARD, RANKING, REPORT_HTML, SCREEN, SEARCH, TRIALS, load_run
from aiopt.ticks.sample import generate_ticks
from cluster import lifecycle
from cluster.optimize import optimize_job
from cluster.pipeline import RayStages
from cluster.resources import NodeResources
from tests.ray_local.test_optimize import Workplace, driver_pid, journal_rows, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

CONFIG = """
name: tiny
timeframes: [5m]
strategies: [rsi_reversion, ema_cross_atr]
walk_forward: {train_segments: 2, folds: 2, holdout_segments: 1}
# No entry can have so many trades: what follows the ranking takes long, and others test it.
ranking: {min_oos_trades: 100000, min_train_trades: 1, bootstrap_resamples: 100}
analysis: {enabled: false}
"""
LEARNING = "trials: 8\nsampler: SAMPLER\nsearch: {population: 4}\n"
SEARCHED = 2 * 3 * 8
SMALL = NodeResources(num_cpus=1, num_gpus=0, memory_bytes=1 * GIB, object_store_bytes=100 * MIB)


@pytest.fixture(scope="module")
def place(ray_head: lifecycle.ClusterState, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("search")
    generate_ticks(folder / "ticks", start="2024-03-04", days=5, ticks_per_day=3_000)
    for sampler in ("sobol", "evolution", "tpe"):
        more = "trials: 24\n" if sampler == "sobol" else LEARNING.replace("SAMPLER", sampler)
        (folder / f"{sampler}.yaml").write_text(CONFIG + more)
    found = Workplace.__new__(Workplace)
    found.folder, found.head = folder, ray_head
    return found


def settings(place: Workplace, sampler: str) -> OptimizeConfig:
    return load_optimize_config(place.folder / f"{sampler}.yaml", {"ticks": str(place.folder / "ticks")})


@pytest.fixture(scope="module")
def here(place: Workplace) -> dict[str, Path]:
    """The runs of this process alone, which nothing disturbed, each with a ledger of its own."""
    found = {}
    for sampler in ("sobol", "evolution", "tpe"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIOPT_LEDGER_DIR", str(place.folder / f"ledger-{sampler}"))
            result = run_pipeline(settings(place, sampler), place.folder / "here", log=silent)
        found[sampler] = Path(result.run_dir)
    return found


def silent(text: str) -> None:
    """Say nothing."""


def same_bytes(run_dir: Path, reference: Path) -> None:
    names = [TRIALS, RANKING, *([SEARCH] if (reference / SEARCH).exists() else [])]
    for name in names:
        assert (run_dir / name).read_bytes() == (reference / name).read_bytes(), name


def test_a_search_interrupted_then_killed_then_resumed_equals_undisturbed(
    place: Workplace, here: dict[str, Path]
) -> None:
    """On one node, in the engine with signals bar by bar: slow enough, and the rows must be the screen's.

    Before the tests on three nodes: raylets of one machine share a folder of unpacked packages, and one of
    them may delete what a job on another begins to read.
    """
    slow = {"AIOPT_OPTIMIZE__BACKTEST__SIGNALS": "streaming", "AIOPT_OPTIMIZE__SCREEN": "false"}

    def started(*options: str) -> Any:
        config = str(place.folder / "tpe.yaml")
        command = [config if word.endswith("tiny.yaml") else word for word in place.command("resumed")]
        place.command = lambda runs, *more: [*command, *more]  # type: ignore[method-assign]
        return place.start("resumed", *options, **slow)

    def wait_for_rows(process: Any, count: int) -> None:
        def enough() -> int | None:
            runs = list((place.folder / "resumed").glob("tiny-*"))
            rows = journal_rows(runs[0]) if runs else 0
            return rows if rows >= count else None

        wait_for(enough, process)

    process = started()
    wait_for_rows(process, 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    run_dir = place.only_run("resumed")
    kept = journal_rows(run_dir)
    assert 2 <= kept < SEARCHED

    process = started()
    # Beyond the first generation, whose points depend on no result.
    wait_for_rows(process, max(kept, 2 * 3 * 4) + 1)
    os.kill(driver_pid(run_dir), signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode == 1
    assert kept < journal_rows(run_dir) < SEARCHED

    process = started("--json")
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert json.loads(out)["trials"] == journal_rows(run_dir) == SEARCHED
    same_bytes(run_dir, here["tpe"])


@pytest.fixture(scope="module")
def three_nodes(
    ray_driver: lifecycle.ClusterState, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    folders = [tmp_path_factory.mktemp("node") for _ in range(2)]
    for folder in folders:
        lifecycle.join(folder, SMALL, address=ray_driver.address, token_path=Path(ray_driver.token_path))
    yield
    for folder in folders:
        lifecycle.down(folder)


class Sent(RayStages):
    """The stages on Ray, with bars that do something in every worker of the sweep that they reach."""

    def __init__(self, arrive: Any) -> None:
        self._arrive = arrive

    def sweep(self, generations: Any, bars: Mapping[str, Any], *arguments: Any, **options: Any) -> Any:
        """Run the sweep on the bars given, as they arrive."""
        arrive = self._arrive

        class Parcel:
            def __init__(self, bar_set: Any) -> None:
                self.bar_set = bar_set

            def __reduce__(self) -> tuple[Any, ...]:
                return arrive, (self.bar_set,)

        wrapped = {name: Parcel(one) for name, one in bars.items()}
        return super().sweep(generations, wrapped, *arguments, **options)  # type: ignore[arg-type]


def meets(folder: Path, workers: int) -> Any:
    """Return what lets a worker begin only when so many have their bars: else few could do all."""

    def arrive(bar_set: Any) -> Any:
        (folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 120
        while len(list(folder.iterdir())) < workers and time.monotonic() < deadline:
            time.sleep(0.1)
        return bar_set

    folder.mkdir()
    return arrive


@pytest.mark.parametrize("sampler", ["sobol", "evolution"])
def test_three_nodes_give_the_bytes_of_this_process(
    three_nodes: None, place: Workplace, here: dict[str, Path], tmp_path: Path, sampler: str
) -> None:
    said: list[str] = []
    engine = Sent(meets(tmp_path / "arrived", 4))
    result = run_pipeline(settings(place, sampler), tmp_path / "runs", engine=engine, log=said.append)
    nodes = [int(line.split(" ran ")[1].split()[0]) for line in said if "sweep: node" in line]
    assert len(nodes) == 3, "every node must have run trials"
    assert sum(nodes) == SEARCHED == result.trials
    same_bytes(Path(result.run_dir), here[sampler])


def test_the_alarm_ends_a_run_on_the_cluster(
    three_nodes: None, place: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers whose screen is a cent off from the middle of the bars: said loudly, and nothing is left."""

    def arrive(bar_set: Any) -> Any:
        from aiopt.screen.session import ScreenSession

        if not hasattr(ScreenSession, "right"):
            ScreenSession.right = ScreenSession.equity  # type: ignore[attr-defined]

            def wrong(self: Any, *arguments: Any) -> Any:
                equity = self.right(*arguments)
                return equity + 0.01 * (np.arange(equity.size) >= equity.size // 2)

            ScreenSession.equity = wrong  # type: ignore[method-assign,assignment]
        return bar_set

    monkeypatch.setattr(cluster.optimize, "RayStages", lambda: Sent(arrive))
    left = tmp_path / "result.json"
    code = optimize_job(
        config_path=place.folder / "sobol.yaml",
        overrides={"ticks": str(place.folder / "ticks"), "trials": 4},
        runs_dir=tmp_path / "runs",
        result_path=left,
    )
    assert code == 1
    error = msgspec.json.decode(left.read_bytes())["error"]
    assert error["type"] == "ScreenMismatchError"
    for words in ("the screen must not be trusted", "differ in pnl", "The engine finds", '"family":'):
        assert words in error["message"]
    # The screen of this process is right, so the bar is not found here, and that is said.
    assert "Run once more here, both agree" in error["message"]
    (run_dir,) = (path for path in (tmp_path / "runs").iterdir() if path.name.startswith("tiny-"))
    state = load_run(run_dir).state
    assert (state.status, state.stage) == ("failed", "confirm")
    for name in (RANKING, REPORT_HTML, SCREEN, TRIALS, LEADERBOARD):
        assert not (run_dir / name).exists(), name
    assert len(read_trials(run_dir / DISTRUSTED / TRIALS)) == 8
