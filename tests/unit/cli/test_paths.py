"""``aiopt paths`` prints what ``paths.json`` says, and says what is wrong where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from aiopt.runs import load_run
from aiopt.testing.run_folder import RunModel, write_run_folder
from cluster.cli.main import cli


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "eurusd-default"
    write_run_folder(folder, RunModel(families=("rsi_reversion",), timeframes=("5m",), trials=14, days=21))
    return folder


def test_the_table_names_candidates_and_cells(run_dir: Path) -> None:
    paths = load_run(run_dir).paths
    assert paths is not None
    found = CliRunner().invoke(cli, ["paths", str(run_dir)])
    assert found.exit_code == 0, found.stderr
    assert f"{paths.splits} splits, {paths.paths} paths." in found.stdout
    for word in ("rsi_reversion@5m", "rolling", "deflated"):
        assert word in found.stdout


def test_the_document_is_the_file(run_dir: Path) -> None:
    found = CliRunner().invoke(cli, ["paths", str(run_dir), "--json"])
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout) == json.loads((run_dir / "paths.json").read_bytes())


def test_a_run_without_paths_is_told(run_dir: Path, tmp_path: Path) -> None:
    write_run_folder(
        tmp_path / "old", RunModel(families=("rsi_reversion",), timeframes=("5m",), trials=14, days=21)
    )
    (tmp_path / "old" / "paths.json").unlink()
    found = CliRunner().invoke(cli, ["paths", str(tmp_path / "old")])
    assert isinstance(found.exception, Exception)
    assert "must have a paths.json" in str(found.exception)
