"""The commands `aiopt report` and `aiopt runs` on runs that are unfinished, absent or damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from aiopt.cli import report as report_cli
from aiopt.cli import runs as runs_cli
from aiopt.optimize.run_portfolio import write_portfolio
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.trials import read_trials
from aiopt.runs import NotARunError, RunFileError
from aiopt.testing.sweeps import PLAN, failed, noise_sweep


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "alpha"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"status": "interrupted", "stage": "sweep"}')
    (folder / "config.json").write_text('{"name": "alpha", "seed": 3, "trials": 40}')
    return folder


def invoke(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def test_report_of_an_unfinished_run_says_what_is_missing(unfinished):
    result = invoke(report_cli.command, unfinished, "--json")
    document = json.loads(result.stdout)
    assert document["finished"] is False
    assert "trials.parquet" in document["missing"]
    page = Path(document["report"]).read_text()
    assert "Unfinished run: interrupted, stage sweep." in page
    assert "trials.parquet (the trials)" in page
    assert json.loads((unfinished / "report.json").read_text())["missing"]


def test_report_goes_where_out_says(unfinished, tmp_path):
    page = tmp_path / "elsewhere" / "page.html"
    result = invoke(report_cli.command, unfinished, "--out", page)
    assert result.exit_code == 0
    assert str(page) in result.stdout
    assert "not there yet" in result.stdout
    assert page.is_file()
    assert {path.name for path in page.parent.iterdir()} == {
        *("page.html", "page.json", "page.trades.csv", "page.entries.csv")
    }
    assert not (unfinished / "report.html").exists()


def test_list_is_one_json_document(unfinished):
    document = json.loads(invoke(runs_cli.command, "list", "--runs-dir", unfinished.parent, "--json").stdout)
    assert [(run["run"], run["status"], run["finished"]) for run in document["runs"]] == [
        ("alpha", "interrupted", False)
    ]


def test_list_of_nothing_names_the_way_to_a_first_run(tmp_path):
    result = invoke(runs_cli.command, "list", "--runs-dir", tmp_path / "none")
    assert "aiopt optimize" in result.stdout


def test_show_an_unfinished_run(unfinished):
    document = json.loads(invoke(runs_cli.command, "show", unfinished, "--json").stdout)
    assert document["entries"] == []
    assert document["seed"] == 3
    text = invoke(runs_cli.command, "show", unfinished).stdout
    assert "No trial has been recorded yet." in text
    assert "interrupted" in text


def test_show_a_finished_run_prints_its_entries(pristine_run):
    document = json.loads(invoke(runs_cli.command, "show", pristine_run, "--json").stdout)
    assert document["finished"] is True
    assert document["synthetic"] is True
    assert [entry["rank"] for entry in document["entries"]] == list(range(1, len(document["entries"]) + 1))
    assert {"in_sample", "out_of_sample", "holdout", "grade"} <= set(document["entries"][0])
    text = invoke(runs_cli.command, "show", pristine_run).stdout
    assert "SYNTHETIC DATA" in text
    assert document["data_hash"] in text
    assert document["config_hash"] in text
    for entry in document["entries"]:
        assert f"{entry['family']}@{entry['timeframe']}" in text


def test_pages_in_one_folder_do_not_share_their_files(unfinished, pristine_run, tmp_path):
    for name, run in (("one", unfinished), ("other", pristine_run)):
        document = json.loads(
            invoke(report_cli.command, run, "--out", tmp_path / f"{name}.html", "--json").stdout
        )
        assert [Path(document[key]).name for key in ("json", "trades_csv", "entries_csv")] == [
            *(f"{name}.json", f"{name}.trades.csv", f"{name}.entries.csv")
        ]
    found = [json.loads((tmp_path / f"{name}.json").read_text())["run_id"] for name in ("one", "other")]
    assert found == ["alpha", pristine_run.name]


def test_show_says_what_the_entries_come_to_together(pristine_run, tmp_path):
    run = shutil.copytree(pristine_run, tmp_path / "run")
    assert "Portfolio" not in invoke(runs_cli.command, "show", run).stdout
    assert json.loads(invoke(runs_cli.command, "show", run, "--json").stdout)["portfolio"] is None
    rows = read_trials(run / "trials.parquet")
    any_row = next(row for row in rows if row.ok)
    # Sizes are not what is shown: each sized trial gets the profits of one and the same.
    sized = lambda points: [msgspec.structs.replace(any_row, trial_id=one.trial_id) for one in points]  # noqa: E731
    assert write_portfolio(run, sized, sized_by="screen") is not None
    text = invoke(runs_cli.command, "show", run).stdout
    said = json.loads(invoke(runs_cli.command, "show", run, "--json").stdout)["portfolio"]
    assert said.startswith("By equal risk the ")
    assert f"Portfolio: {said}" in text


@pytest.mark.parametrize("command", [report_cli.command, runs_cli.command.commands["show"]])
def test_a_folder_that_is_no_run_is_refused(command, tmp_path):
    with pytest.raises(NotARunError, match="There is no run folder"):
        invoke(command, tmp_path / "none")


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
def test_a_damaged_file_is_named(unfinished, name):
    (unfinished / name).write_text('{"cut": ')
    with pytest.raises(RunFileError, match=rf"{name} is not valid JSON.*Repeat the run"):
        invoke(report_cli.command, unfinished)
    assert not (unfinished / "report.html").exists()


@pytest.mark.parametrize(
    "command", [report_cli.command, runs_cli.command, *runs_cli.command.commands.values()]
)
def test_help_has_an_example(command):
    assert "Example: aiopt r" in invoke(command, "--help").stdout


def test_show_needs_no_trials_profits(pristine_run, tmp_path, monkeypatch):
    run = shutil.copytree(pristine_run, tmp_path / "run")
    expected = json.loads(invoke(runs_cli.command, "show", run, "--json").stdout)
    page = json.loads(invoke(report_cli.command, run, "--json").stdout)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("profits were read")

    for name in ("iter_trials", "read_trials"):
        monkeypatch.setattr(f"aiopt.ranking.trials.{name}", refused)
    monkeypatch.setattr("aiopt.report.build.whole_rows", refused)
    assert json.loads(invoke(runs_cli.command, "show", run, "--json").stdout) == expected
    report = json.loads(Path(page["json"]).read_text())
    assert (expected["trials"], expected["failed"]) == (report["sweep"]["trials"], report["sweep"]["failed"])
    assert expected["headline"] == report["headline"]


def test_show_counts_what_the_journal_of_an_interrupted_sweep_has(unfinished):
    board = Leaderboard(unfinished / "leaderboard.jsonl", RankingConfig(), PLAN)
    board.add_many([*noise_sweep(1, trials=3), failed(77)])
    board.close()
    document = json.loads(invoke(runs_cli.command, "show", unfinished, "--json").stdout)
    assert (document["trials"], document["failed"]) == (7, 1)
    assert document["headline"] == "7 trials recorded (1 of them failed), not ranked yet."
    assert [one["count"] for one in document["failure_reasons"]] == [1]
    page = json.loads(invoke(report_cli.command, unfinished, "--json").stdout)
    assert "7 trials recorded" in Path(page["report"]).read_text()
