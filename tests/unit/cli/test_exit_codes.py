"""Exit codes as the reference has them: 0 done, 1 failed, 2 bad input.  A walk with real commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from aiopt.testing.run_folder import RunModel, write_run_folder
from cluster.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with bars, a run and a file that is none of aiopt's."""
    place = tmp_path_factory.mktemp("place")
    bars = random_walk_bar_set(600, seed=4)
    for side in ("bid", "ask"):
        write_bar_file(getattr(bars, side), place / "bars" / f"{side}.parquet")
    write_run_folder(place / "run", RunModel(families=("rsi_reversion",), timeframes=("5m",), trials=14))
    (place / "notes.txt").write_text("mine\n")
    return place


BAD_INPUT = (
    "nothing",
    "runs list --colour",
    "runs show absent",
    "runs delete absent --yes",
    "report absent",
    "trials show x --run run",
    "compare absent.json other.json",
    "compare notes.txt notes.txt",
    "pine check absent.pine",
    "pine import absent.pine",
    "data show absent",
    "data verify absent",
    "data list absent",
    "data export-nautilus absent --out catalog",
    "dataset show absent",
    "dataset check absent",
    "dataset judge absent",
    "dataset logs list absent",
    "dataset build --bars absent --out set",
    "ticks import absent --out store",
    "ticks import notes.txt --out store",
    "ticks validate absent",
    "ticks sample --out store --days 0",
    "bars build --ticks absent --out built",
    "bars show absent",
    "bars import notes.txt --out built",
    "indicators compute --bars bars --kind absent",
    "charts render --bars bars --out charts --width 3",
    "specs check notes.txt",
    "backtest absent --bars bars",
    "backtest rsi_reversion --bars bars --balance 1",
    "backtest rsi_reversion --bars bars --out /dev/null",
    "analyst read",
    "optimize absent.yaml",
    "cluster join --address absent --token-file absent --state-dir state",
    "serve up --profile absent --model x --state-dir state",
    "model list --state-dir state",
)
FAILED = ("cluster status --state-dir state", "serve status --state-dir state")
DONE = (
    "runs list --runs-dir absent",
    "runs show run",
    "cluster down --state-dir state",
    "serve down --state-dir state",
)


@pytest.mark.parametrize(
    ("code", "line"),
    [*((2, line) for line in BAD_INPUT), *((1, line) for line in FAILED), *((0, line) for line in DONE)],
)
def test_a_command_ends_with_the_code_of_the_reference(
    code: int,
    line: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    for name in ("RAY_ADDRESS", "AIOPT_SERVE_URL"):
        monkeypatch.delenv(name, raising=False)
    before = sorted(place.rglob("*"))
    assert main.run(line.split()) == code
    captured = capsys.readouterr()
    assert [path for path in sorted(place.rglob("*")) if path not in before] == []
    if code == 2:
        assert "error: " in captured.err
        assert captured.out == ""


@pytest.mark.parametrize("line", ["runs show absent", "backtest rsi_reversion --bars bars --balance 1"])
def test_with_json_the_error_is_a_document_with_its_code(
    line: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert main.run([*line.split(), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)["error"]
    assert found["exit_code"] == 2
    assert found["message"]
