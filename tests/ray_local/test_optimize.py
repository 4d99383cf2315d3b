"""`aiopt optimize` from ticks to scripts on a real cluster: whole, interrupted, killed, resumed, by hand."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.ranking.journal import Journal
from aiopt.ranking.packing import pack_row
from aiopt.ranking.trials import read_plan, read_trials
from aiopt.runs import load_run
from aiopt.ticks.sample import generate_ticks
from cluster import lifecycle

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = """
name: tiny
timeframes: [5m]
strategies: [rsi_reversion, ema_cross_atr]
trials: 12
walk_forward: {train_segments: 2, folds: 2, holdout_segments: 1}
ranking: {top: 2, min_oos_trades: 2, min_train_trades: 1, bootstrap_resamples: 100}
robustness: {draws: 4, neighbours: 8}
"""
TRIALS = 24


class Workplace:
    """A folder with ticks and a configuration, and the cluster to run on."""

    def __init__(self, folder: Path, head: lifecycle.ClusterState) -> None:
        self.folder = folder
        self.head = head
        generate_ticks(folder / "ticks", start="2024-03-04", days=5, ticks_per_day=4_000)
        (folder / "tiny.yaml").write_text(CONFIG)

    def command(self, runs: str, *options: str) -> list[str]:
        return [
            *(sys.executable, "-m", "cluster.cli", "optimize", str(self.folder / "tiny.yaml")),
            *("--ticks", str(self.folder / "ticks"), "--runs-dir", str(self.folder / runs)),
            *("--state-dir", str(Path(self.head.token_path).parent), *options),
        ]

    def start(self, runs: str, *options: str, **environment: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return subprocess.Popen(
            self.command(runs, *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**kept, **environment},
        )

    def run(self, runs: str, *options: str, **environment: str) -> tuple[int, str, str]:
        with self.start(runs, *options, **environment) as process:
            out, err = process.communicate(timeout=400)
        return process.returncode, out, err

    def only_run(self, runs: str) -> Path:
        (found,) = (path for path in (self.folder / runs).iterdir() if path.name.startswith("tiny-"))
        return found


@pytest.fixture(scope="module")
def place(ray_head: lifecycle.ClusterState, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("optimize"), ray_head)


@pytest.fixture(scope="module")
def finished(place: Workplace) -> dict[str, Any]:
    """The result document of an undisturbed run."""
    code, out, err = place.run("runs", "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_run_leaves_everything_it_promises(place: Workplace, finished: dict[str, Any]) -> None:
    run = load_run(Path(finished["run_dir"]))
    assert run.finished, run.describe_missing()
    assert finished["trials"] == TRIALS
    assert finished["synthetic"] is True
    rows = read_trials(run.path / "trials.parquet")
    assert len(rows) == TRIALS
    assert {row.group for row in rows} == {"rsi_reversion@5m", "ema_cross_atr@5m"}
    assert 1 <= len(finished["entries"]) <= 2
    for entry in finished["entries"]:
        script = Path(entry["pine"])
        assert script.read_text().startswith("//@version=6")
        assert "SYNTHETIC" in script.read_text()
        assert run.run_id in script.read_text()
        assert json.loads(script.with_suffix(".json").read_text())["params"]
        expected = json.loads(script.with_name(f"{entry['name']}.trades.json").read_text())
        assert {"bars", "trades", "open_trade"} <= set(expected)
    assert run.analyses is not None
    assert run.analyses.reader == "rules"
    assert len(run.analyses.opinions) == len(finished["entries"])
    for chart in run.analyses.charts:
        assert (run.path / chart.picture).read_bytes().startswith(b"\x89PNG")
    assert "<html" in Path(finished["report"]).read_text()[:200].lower()
    assert not (run.path / ".tune").exists()
    assert not any((place.folder / "runs" / ".jobs").iterdir())


def test_proposals_are_swept_and_counted(place: Workplace) -> None:
    """What the analyst proposes is swept beside the run's strategies, and every trial of it is kept."""
    proposed = {
        "AIOPT_OPTIMIZE__ANALYSIS__PROPOSALS": "true",
        "AIOPT_OPTIMIZE__ANALYSIS__PROPOSAL_TRIALS": "3",
    }
    code, out, err = place.run("proposed", "--json", **proposed)
    assert code == 0, err
    finished = json.loads(out)
    run = load_run(Path(finished["run_dir"]))
    proposals = json.loads((run.path / "proposals.json").read_text())
    names = {f"{strategy['spec']['family']}@5m" for strategy in proposals["strategies"]}
    assert {"rsi_reversion_near_5m@5m", "ema_cross_atr_near_5m@5m"} <= names
    rows = read_trials(run.path / "trials.parquet")
    assert {row.group for row in rows} == {"rsi_reversion@5m", "ema_cross_atr@5m"} | names
    assert len(rows) == finished["trials"] == TRIALS + 3 * len(names)
    assert run.finished, run.describe_missing()


def test_second_call_prints_the_same_result_at_once(place: Workplace, finished: dict[str, Any]) -> None:
    code, out, err = place.run("runs", "--json")
    assert code == 0, err
    again = json.loads(out)
    assert again.pop("finished_before") is True
    assert again == {name: value for name, value in finished.items() if name != "finished_before"}
    assert "sweep:" not in err


def test_interrupted_then_killed_then_resumed_equals_undisturbed(
    place: Workplace, finished: dict[str, Any]
) -> None:
    """In the engine, with signals bar by bar: slow enough to interrupt, and the rows must be the same."""
    slow = {"AIOPT_OPTIMIZE__BACKTEST__SIGNALS": "streaming", "AIOPT_OPTIMIZE__SCREEN": "false"}
    process = place.start("resumed", **slow)
    rows = wait_for_rows(place, process, 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    run_dir = place.only_run("resumed")
    assert load_run(run_dir).state.status == "interrupted"
    kept = journal_rows(run_dir)
    assert rows <= kept < TRIALS

    process = place.start("resumed", **slow)
    wait_for_rows(place, process, kept + 2)
    os.kill(driver_pid(run_dir), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "run the same command again" in err
    survived = journal_rows(run_dir)
    assert kept + 2 <= survived < TRIALS

    code, out, err = place.run("resumed", "--json", **slow)
    assert code == 0, err
    assert json.loads(out)["trials"] == TRIALS
    assert journal_rows(run_dir) == TRIALS
    undisturbed = Path(finished["run_dir"])
    assert (run_dir / "trials.parquet").read_bytes() == (undisturbed / "trials.parquet").read_bytes()
    assert (run_dir / "ranking.json").read_bytes() == (undisturbed / "ranking.json").read_bytes()
    for name in ("analyses.json", "robustness.json"):
        assert (run_dir / name).read_bytes() == (undisturbed / name).read_bytes(), name


def begun_by_other_software(run_dir: Path) -> None:
    """Make a run look interrupted in its sweep by an older version."""
    state = json.loads((run_dir / "state.json").read_text())
    state.update(status="interrupted", stage="sweep", sessions=[])
    state["versions"] |= {"aiopt": "0.0.9", "code": "0123456789ab"}
    (run_dir / "state.json").write_text(json.dumps(state))


def test_a_run_of_other_software_continues_only_if_its_trials_come_out_the_same(
    place: Workplace, finished: dict[str, Any]
) -> None:
    run_dir = place.folder / "upgraded" / Path(finished["run_dir"]).name
    shutil.copytree(finished["run_dir"], run_dir)
    begun_by_other_software(run_dir)
    code, out, err = place.run("upgraded", "--json")
    assert code == 0, err
    assert "aiopt 0.0.9, now 0.1.0" in err
    (session,) = load_run(run_dir).state.sessions
    assert session.proof == f"4 of {TRIALS} finished trials run again, all rows equal"
    assert json.loads(out)["trials"] == TRIALS

    # The same with a row that this software does not reproduce: refused, and nothing is lost.
    rows = read_trials(run_dir / "trials.parquet")
    plan = read_plan(run_dir / "trials.parquet")
    (run_dir / "leaderboard.jsonl").unlink()
    journal = Journal(run_dir / "leaderboard.jsonl", plan)
    for row in rows:
        other = msgspec.structs.replace(row, segment_units=[x + 1 for x in row.segment_units])
        journal.append([pack_row(other)])
    journal.close()
    begun_by_other_software(run_dir)
    kept = (run_dir / "leaderboard.jsonl").read_bytes()
    code, _, err = place.run("upgraded", "--json")
    assert code == 2, err
    assert "they differ: " in err
    assert "differ in segment_units" in err
    assert "Finish it with the versions in its state.json, or start anew" in err
    assert (run_dir / "leaderboard.jsonl").read_bytes() == kept


def test_by_hand_with_ray_job_submit(place: Workplace, finished: dict[str, Any]) -> None:
    done = submit(place, "--runs-dir", str(place.folder / "runs"))
    assert done.returncode == 0, done.stderr
    assert f"run folder  {finished['run_dir']}" in done.stdout


def test_by_hand_with_a_relative_folder(place: Workplace) -> None:
    done = submit(place, "--runs-dir", "runs")
    assert done.returncode != 0
    assert "`--runs-dir` must be an absolute path in a Ray job" in done.stdout


def submit(place: Workplace, *options: str) -> subprocess.CompletedProcess[str]:
    job = ["python", "jobs/optimize.py", "--config", str(place.folder / "tiny.yaml")]
    return subprocess.run(
        [
            *(
                str(Path(sys.executable).parent / "ray"),
                "job",
                "submit",
                "--working-dir",
                str(REPOSITORY),
                "--",
            ),
            *(*job, "--ticks", str(place.folder / "ticks"), *options),
        ],
        env={**os.environ, **lifecycle.client_environment(place.head)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def wait_for_rows(place: Workplace, process: subprocess.Popen[str], count: int) -> int:
    def enough() -> int | None:
        runs = list((place.folder / "resumed").glob("tiny-*"))
        rows = journal_rows(runs[0]) if runs else 0
        return rows if rows >= count else None

    return wait_for(enough, process)


def wait_for(found: Callable[[], int | None], process: subprocess.Popen[str]) -> int:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, "\n".join(process.communicate())
        value = found()
        if value is not None:
            return value
        time.sleep(0.1)
    raise AssertionError("the sweep did not get that far")


def journal_rows(run_dir: Path) -> int:
    """Whole lines of the journal, less its header."""
    journal = run_dir / "leaderboard.jsonl"
    return max(0, journal.read_bytes().count(b"\n") - 1) if journal.exists() else 0


def driver_pid(run_dir: Path) -> int:
    """The process whose command line names this run's folder and the job script."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"jobs/optimize.py" in words and str(run_dir.parent).encode() in words:
                return int(folder.name)
    raise AssertionError("no driver runs")
