"""The examples of all commands, run in the order in which a reader would."""

from __future__ import annotations

import zipfile
from pathlib import Path

import click
import pytest

from aiopt.featurelog import FeatureLog
from aiopt.strategy.families import FAMILIES
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from aiopt.testing.run_folder import RunModel, write_run_folder
from cluster.cli import main
from tests.unit.docs.test_examples_of_commands import FOUND, example, words_of

LEAVES = [name for name, (command, _) in FOUND.items() if not isinstance(command, click.Group)]

NOT_RUN = {
    "a network": ("ticks download",),
    "a cluster": ("optimize", "serve", "model", "cluster", "jobs"),
    "a served model": ("analyst",),
    "a server of streams": ("bus",),
    "a database server; tests/unit/library/test_library_cli.py runs them": ("library",),
    "many seconds for each Pine script": ("pine",),
    "a whole month of ticks": ("ticks sample",),
    "a finished set of tasks, hundreds of charts": ("dataset judge",),
    "bars that the trials of a run were computed on": ("trials rerun", "paths", "dataset from-trades"),
    "an hour of training": ("eyes",),
    "a session that runs": (
        *("live pause", "live resume", "live set", "live levels", "live size", "live spec", "live mode"),
        *("live model", "live reload", "live flatten", "live kill", "live stop", "live tell"),
    ),
    "a session that has run": ("live readings",),
}
"""What a command's example would need, and which commands do."""

LEFT_OUT = tuple(name for names in NOT_RUN.values() for name in names)
RUN = [name for name in LEAVES if not any(f"{name} ".startswith(f"{one} ") for one in LEFT_OUT)]
# Of the session that it leaves the other commands show something; commands of a group are in their alphabet.
RUN.remove("live run")
RUN.insert(next(place for place, name in enumerate(RUN) if name.startswith("live ")), "live run")


def test_what_is_not_run_exists() -> None:
    assert set(LEFT_OUT) <= FOUND.keys()
    assert len(RUN) >= 28


def _histdata(path: Path) -> None:
    """Write minute bars as HistData's zip has them: one bid price, Eastern Standard Time all year."""
    rows = [
        f"201801{day:02} {hour:02}{minute:02}00;1.20000;1.20010;1.19990;1.20005;0"
        for day in (2, 3)
        for hour in range(24)
        for minute in range(60)
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("DAT_ASCII_EURUSD_M1_2018.csv", "\r\n".join(rows) + "\r\n")


def _tick_file(path: Path) -> None:
    path.parent.mkdir(parents=True)
    rows = [
        f"2024-03-{day:02} {hour:02}:{minute:02}:{second:02}.{minute:03},"
        f"1.{10_000 + minute * second % 7},{1.1002 + minute * second % 7 * 1e-5:.5f}"
        for day in range(4, 8)
        for hour in range(24)
        for minute in range(60)
        for second in range(3, 60, 13)
    ]
    path.write_text("timestamp,bid,ask\n" + "\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with what the examples read."""
    place = tmp_path_factory.mktemp("place")
    _histdata(place / "HISTDATA_COM_ASCII_EURUSD_M12018.zip")
    _tick_file(place / "downloads" / "EURUSD" / "ticks.csv")
    bars = random_walk_bar_set(3_000, seed=5)
    for side in ("bid", "ask"):
        write_bar_file(getattr(bars, side), place / "data" / "bars" / "EURUSD" / "5m" / f"{side}.parquet")
    model = RunModel(families=("rsi_reversion", "ema_cross_atr"), timeframes=("5m",), trials=14, days=21)
    write_run_folder(place / "runs" / "eurusd-default", model)
    for stream in ("signals", "features"):
        with FeatureLog(place / "data" / "logs") as log:
            log.append(stream, {"ts_ns": 1_700_000_000_000_000_000, "value": 0.5})
    (place / "my_strategy.yaml").write_text(FAMILIES["rsi_reversion"].spec.to_json())
    return place


def test_the_examples_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one test: what one example writes, another reads."""
    monkeypatch.chdir(place)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for before, commission in (("before.json", "35"), ("after.json", "0")):
        arguments = ["backtest", "rsi_reversion", "--bars", "data/bars/EURUSD/5m", "--out", before]
        assert main.run([*arguments, "--commission", commission]) == 0
    for name in RUN:
        capsys.readouterr()
        code = main.run(words_of(example(name)))
        assert code == 0, f"{example(name)}: exit code {code}, {capsys.readouterr().err}"
