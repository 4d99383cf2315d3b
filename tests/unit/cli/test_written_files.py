"""What commands write: where the user says, said with its full path, and nothing else."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from aiopt.cli.options import OutFile, OutFolder
from aiopt.featurelog import FeatureLog
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from aiopt.testing.run_folder import RunModel, write_run_folder
from cluster.cli import main as cli
from docs.generate_cli import commands, root

WRITES = {"--out", "--html", "--chart", "--log"}
"""Options that name what a command writes."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars, generated ticks, a run and a log."""
    place = tmp_path_factory.mktemp("place")
    bars = random_walk_bar_set(900, seed=4)
    for side in ("bid", "ask"):
        write_bar_file(getattr(bars, side), place / "bars" / f"{side}.parquet")
    sample = ["ticks", "sample", "--out", str(place / "ticks"), "--days", "1", "--ticks-per-day", "3000"]
    assert cli.run([*sample, "--start", "2024-03-04"]) == 0
    write_run_folder(place / "run", RunModel(families=("rsi_reversion",), timeframes=("5m",), trials=14))
    with FeatureLog(place / "log") as log:
        log.append("signals", {"bar": 1})
    return place


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty folder the working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    return folder


LINES = (
    # command, option, what it writes below the working directory
    ("backtest rsi_reversion --bars {bars}", "--out", "new/a.json"),
    ("backtest rsi_reversion --bars {bars}", "--chart", "new/a.png"),
    ("ticks validate {ticks}", "--html", "new/a.html"),
    ("ticks spread-model {ticks}", "--out", "new/a.yaml"),
    ("indicators compute --bars {bars} --kind rsi", "--out", "new/a.csv"),
    ("dataset logs show {log} signals", "--out", "new/a.parquet"),
    ("analyst read --bars {bars}", "--out", "new/a.png"),
    ("report {run}", "--out", "new/a.html"),
)
FOLDERS = (
    ("charts render --bars {bars}", "--out", "new/charts"),
    ("bars build --ticks {ticks}", "--out", "new/bars"),
    ("pine emit rsi_reversion", "--out", "new/pine"),
)


def called(line: str, place: Path, *more: str) -> int:
    where = {name: str(place / name) for name in ("bars", "ticks", "log", "run")}
    return cli.run([*(part.format(**where) for part in line.split()), *more])


def test_every_option_that_names_an_output_follows_the_rule() -> None:
    seen = set()
    for path, command, context in commands(cli.cli, root()):
        for option in command.get_params(context):
            if isinstance(option, click.Option) and WRITES & set(option.opts):
                assert isinstance(option.type, OutFile | OutFolder), f"{' '.join(path)}: {option.opts[0]}"
                seen.add(" ".join(path))
    assert {line[0].partition(" -")[0].partition(" {")[0] for line in LINES[2:6] + FOLDERS[:2]} <= seen


# Without the last: the first check of a Pine script takes seconds, and its tests look at the files.
@pytest.mark.parametrize(
    ("line", "option", "name"), LINES + FOLDERS[:-1], ids=lambda part: part.replace(" ", "_")
)
def test_it_lands_where_the_user_says(
    line: str, option: str, name: str, place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(line, place, option, name) == 0
    assert str(here / name) in capsys.readouterr().out
    assert (here / name).exists()
    assert [path.name for path in here.iterdir()] == ["new"]
    # The same again: a file of the same kind is replaced.
    assert called(line, place, option, name) == 0


@pytest.mark.parametrize(("line", "option", "name"), LINES, ids=lambda part: part.replace(" ", "_"))
def test_without_the_option_nothing_is_written_here(
    line: str, option: str, name: str, place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = called(line, place)
    assert code == (2 if "spread-model" in line else 0), capsys.readouterr().err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("line", "option", "name"), LINES, ids=lambda part: part.replace(" ", "_"))
def test_a_file_of_another_kind_stays(
    line: str, option: str, name: str, place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = here / "notes"
    notes.write_text("mine")
    assert called(line, place, option, "notes") == 2
    assert "would replace" in capsys.readouterr().err
    assert notes.read_text() == "mine"
    assert list(here.iterdir()) == [notes]
    assert called(line, place, option, f"notes/{Path(name).name}") == 2
    assert "is a file, not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(("line", "option", "name"), FOLDERS, ids=lambda part: part.replace(" ", "_"))
def test_a_file_in_place_of_a_folder_is_said_before_work_begins(
    line: str, option: str, name: str, place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "notes").write_text("mine")
    assert called(line, place, option, "notes") == 2
    assert f"must be a folder, but {here / 'notes'} is a file" in capsys.readouterr().err


def test_what_lies_beside_a_report_or_a_script_is_not_replaced(
    place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "page.trades.csv").write_text("date,ticket,pips\n")
    assert called("report {run} --out page.html", place) == 2
    assert "which is not a table of a report" in capsys.readouterr().err
    (here / "mine.json").write_text('{"todo": []}')
    assert called("pine emit rsi_reversion --out . --name mine", place) == 2
    assert "which is not the JSON of a strategy" in capsys.readouterr().err
    assert sorted(path.name for path in here.iterdir()) == ["mine.json", "page.trades.csv"]


def test_pine_emit_asks_for_a_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["pine", "emit", "rsi_reversion"]) == 2
    assert "Missing option '--out'" in capsys.readouterr().err
