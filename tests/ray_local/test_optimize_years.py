"""Long spans through the whole way: a real year of minute bars, and twelve years of hours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiopt.bars.files import load_bar_set
from aiopt.optimize.configuration import load_optimize_config
from aiopt.ranking.ranking_file import Ranking
from aiopt.ranking.trials import read_trials
from aiopt.runs import RANKING, load_run, read_json
from cluster import lifecycle
from cluster.optimize import run_optimize

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = """
name: long
strategies: [ema_cross_atr]
trials: 2
ranking: {top: 1, min_oos_trades: 2, min_train_trades: 1, bootstrap_resamples: 100, period: PERIOD}
robustness: {draws: 4, neighbours: 8}
analysis: {enabled: false}
"""
SPREAD = "constant 0.8 pips, added to one-sided bars (given: bid)"


def check_trials(run_dir: Path, trials: int) -> None:
    """Every trial ran, and its profits cover every period of the plan: beyond 2**53 ns none is lost."""
    plan = read_json(run_dir / RANKING, Ranking).plan
    rows = read_trials(run_dir / "trials.parquet")
    assert [(row.status, row.error) for row in rows] == [("ok", "")] * trials
    for row in rows:
        assert len(row.pnl) == plan.development_periods
        assert len(row.holdout_pnl) == plan.holdout_periods
        assert sum(row.segment_trades) > 20
    assert plan.holdout_start_ns - plan.start_ns > 2**53


def test_a_year_of_minutes(ray_head: lifecycle.ClusterState, shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG.replace("PERIOD", "1h"))
    bars = shared_data / "histdata" / "HISTDATA_COM_ASCII_EURUSD_M12018.zip"
    command = [
        *(sys.executable, "-m", "cluster.cli", "optimize", str(tmp_path / "c.yaml"), "--json"),
        *("--bars", str(bars), "--spread-pips", "0.8", "--timeframes", "15m,1h"),
        *("--runs-dir", str(tmp_path / "runs"), "--state-dir", str(Path(ray_head.token_path).parent)),
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    found = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=kept, check=False)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    result, again = found
    assert (result["finished_before"], again["finished_before"]) == (False, True)
    assert (result["synthetic"], result["spread"]) == (False, SPREAD)
    run = load_run(Path(result["run_dir"]))
    assert run.finished, run.describe_missing()
    check_trials(run.path, 4)
    sizes = {label: len(load_bar_set(run.path / "bars" / "EURUSD" / label)) for label in ("15m", "1h")}
    assert sizes == {"15m": 24_904, "1h": 6_226}
    page = (run.path / "report.html").read_text()
    assert "372,607" in page
    assert page.count(SPREAD) >= 2
    assert json.loads((run.path / "report.json").read_text())["data"]["spread"] == SPREAD
    assert f"Spread: {SPREAD}." in done.stderr
    for entry in result["entries"]:
        text = Path(entry["pine"]).read_text().replace("\n//  ", "")
        assert SPREAD in text


def test_twelve_years_of_hours(ray_driver: lifecycle.ClusterState, shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG.replace("PERIOD", "1d"))
    bars = shared_data / "oanda" / "hour" / "eurusd.zip"
    config = load_optimize_config(tmp_path / "c.yaml", {"bars": [str(bars)], "timeframes": ["1h"]})
    lines: list[str] = []
    result = run_optimize(config, tmp_path / "runs", log=lines.append)
    assert "bars: 74,439 of 1h" in "\n".join(lines)
    assert result.spread == "bid and ask of the bars"
    assert load_run(Path(result.run_dir)).finished
    check_trials(Path(result.run_dir), 2)
