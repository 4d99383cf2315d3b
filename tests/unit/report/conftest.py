"""A finished run folder and its report, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aiopt.report.build import build_report
from aiopt.report.document import Report
from aiopt.runs import load_run
from aiopt.testing.run_folder import RunModel, write_run_folder

MODEL = RunModel(families=("rsi_reversion", "bollinger_breakout"), timeframes=("5m",), trials=14, days=21)


@pytest.fixture(scope="session")
def pristine_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run of trials without skill; not to be changed."""
    return write_run_folder(tmp_path_factory.mktemp("runs") / "eurusd-test", MODEL)


@pytest.fixture
def run_dir(pristine_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run that a test may change."""
    return Path(shutil.copytree(pristine_run, tmp_path / pristine_run.name))


@pytest.fixture(scope="session")
def report(pristine_run: Path) -> Report:
    """Return the finished run's report."""
    return build_report(load_run(pristine_run))
