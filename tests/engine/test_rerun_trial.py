"""A trial run again on a run's own bars gives the recorded row, bit for bit; another row is told apart."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.session import BacktestSession
from aiopt.bars.files import load_bar_set
from aiopt.evaluation.folds import WalkForwardConfig, plan_walk_forward
from aiopt.optimize.rerunning import as_recorded, differences, find_trial, rerun_trial
from aiopt.ranking.kept_series import summed_up
from aiopt.ranking.trials import TrialRow, read_trials, write_trials
from aiopt.runs import load_run
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.trial import TrialContext, TrialPoint, run_trial
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from aiopt.utc import HOUR_NS
from cluster.cli import main as cli


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "small"
    folder = root / "bars" / "EURUSD" / "5m"
    made = random_walk_bar_set(6_000, seed=7)
    for side in ("bid", "ask"):
        write_bar_file(getattr(made, side), folder / f"{side}.parquet")
    bars = load_bar_set(folder)
    plan = plan_walk_forward(WalkForwardConfig(), bars.bid.ts_open_ns, period_ns=HOUR_NS)
    context = TrialContext(backtest=BacktestConfig(), plan=plan, seed=3, data_hash="made")
    space = FAMILIES["rsi_reversion"]
    rows = []
    with BacktestSession(bars, context.backtest) as session:
        for number, params in enumerate(space.sample(2, seed=3)):
            spec = space.spec.with_params(params)
            point = TrialPoint(f"rsi_reversion@5m-{number:05d}", "rsi_reversion", "5m", params, spec)
            rows.append(run_trial(session, point, context))
    assert all(row.ok for row in rows)
    write_trials(root / "trials.parquet", rows, plan=plan)
    config = {"instrument": "EURUSD", "backtest": msgspec.to_builtins(context.backtest), "data_hash": "made"}
    (root / "config.json").write_text(json.dumps(config))
    return root


def test_the_row_is_the_same(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = load_run(run_dir)
    row, plan = find_trial(run, "rsi_reversion@5m-00001")
    done: list[float] = []
    again = rerun_trial(run, row, plan, progress=done.append)
    assert differences(row, again) == {}
    assert done[-1] == row.n_bars
    assert done == sorted(done)
    assert cli.run(["trials", "rerun", row.trial_id, "--run", str(run_dir)]) == 0
    assert "equal to the recorded one, bit for bit" in capsys.readouterr().out


def test_another_row_is_told_apart(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = load_run(run_dir)
    row, plan = find_trial(run, "rsi_reversion@5m-00001")
    pnl = [value + (1e-8 if place == 40 else 0.0) for place, value in enumerate(row.pnl)]
    forged: TrialRow = msgspec.structs.replace(row, pnl=pnl)
    assert list(differences(forged, rerun_trial(run, row, plan))) == ["pnl"]
    other = tmp_path / "forged"
    other.mkdir()
    (other / "bars").symlink_to(run_dir / "bars")
    (other / "config.json").write_bytes((run_dir / "config.json").read_bytes())
    write_trials(other / "trials.parquet", [forged], plan=plan)
    assert cli.run(["trials", "rerun", row.trial_id, "--run", str(other)]) == 1
    assert "differs from the recorded one in pnl" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("keep", [True, False])
def test_the_hash_of_a_series_that_was_not_kept_is_checked(
    keep: bool, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "large"
    other.mkdir()
    (other / "bars").symlink_to(run_dir / "bars")
    (other / "config.json").write_bytes((run_dir / "config.json").read_bytes())
    row, plan = find_trial(load_run(run_dir), "rsi_reversion@5m-00001")
    rows = [summed_up(one, plan, keep=keep) for one in read_trials(run_dir / "trials.parquet")]
    write_trials(other / "trials.parquet", rows, plan=plan)
    recorded, _ = find_trial(load_run(other), row.trial_id)
    assert len(recorded.pnl) == (len(row.pnl) if keep else 0)
    assert cli.run(["trials", "rerun", row.trial_id, "--run", str(other)]) == 0
    assert "equal to the recorded one, bit for bit" in capsys.readouterr().out
    pnl = [value + (1e-8 if place == 40 else 0.0) for place, value in enumerate(row.pnl)]
    forged = as_recorded(recorded, msgspec.structs.replace(row, pnl=pnl), plan)
    assert "series_hash" in differences(recorded, forged)
