"""`aiopt library`: each command against a real database, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiopt.strategy.families import FAMILIES
from cluster.cli import main as cli

RSI = FAMILIES["rsi_reversion"].spec


@pytest.fixture
def ask(
    library_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Return a function that runs a command and returns what it printed, parsed where it is JSON."""
    monkeypatch.setenv("AIOPT_LIBRARY_URL", library_url)

    def run(*words: object, code: int = 0) -> Any:
        found = cli.run(["library", *map(str, words)])
        out = capsys.readouterr()
        assert found == code, out.err
        return json.loads(out.out) if "--json" in words else out.out + out.err

    return run


def test_a_strategy_from_its_file_to_its_page(ask: Callable[..., Any], tmp_path: Path) -> None:
    assert "was ready before" in ask("init")
    file = tmp_path / "mine.yaml"
    file.write_text(RSI.to_yaml())
    other = tmp_path / "renamed.yaml"
    other.write_text(RSI.to_yaml().replace("name: rsi_reversion", "name: mine"))
    whence = ("--licence", "own", "--origin", "a test", "--tag", "london", "--author", "A. N. Other")
    (added,) = ask("add", file, *whence, "--json")["added"]
    assert (added["name"], added["new"]) == ("rsi_reversion", True)
    assert "mine" in ask("add", other, *whence)
    assert "known already" in ask("add", other, *whence)
    assert ask("status", "--json")["strategies"] == 1
    assert "1 in 2 writings" in ask("status")
    page = ask("list", "--tag", "london", "--json")
    assert [row["id"] for row in page["rows"]] == [added["id"]]
    assert "never evaluated" in ask("search", "rsi", "revers")
    assert "No strategy matches" in ask("search", "nothing", "like", "it")
    assert "A. N. Other" in ask("show", added["id"][:10])
    assert "no run has ranked it" in ask("show", "mine")
    assert ask("show", "mine", "--json")["tags"] == ["london"]


def test_licence_and_origin_are_asked_for(ask: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(RSI.to_yaml())
    assert "--licence" in ask("add", file, "--origin", "a test", code=2)
    assert "must come with its origin" in ask("add", file, "--licence", "own", "--origin", " ", code=2)
    file.write_text("name: broken\nentry_long: close >")
    assert "broken" in ask("add", file, "--licence", "own", "--origin", "a test", code=2)
    assert ask("status", "--json")["strategies"] == 0


def test_a_run_is_taken_in_listed_shown_exported_and_checked(
    ask: Callable[..., Any], run_dir: Path, tmp_path: Path
) -> None:
    (taken,) = ask("import", run_dir, "--json")["runs"]
    assert taken["new"]
    assert "known already" in ask("import", run_dir)
    page = ask("list", "--order", "deflated", "--limit", 1, "--json")
    assert (page["total"], len(page["rows"])) == (taken["strategies"], 1)
    assert "out of sample, of the newest evaluation" in ask("list", "--limit", 1)
    shown = ask("show", page["rows"][0]["id"])
    assert "holdout" in shown
    assert "made" in shown
    out = tmp_path / "all.jsonl"
    assert ask("export", "--out", out, "--json")["strategies"] == taken["strategies"]
    assert len(out.read_text().splitlines()) == taken["strategies"] + 1
    assert "All is well" in ask("verify")
    # The made run has no bars to run anything on.
    again = ask("verify", "--rerun", 1, "--json")
    assert again["problems"] == []
    assert again["reruns"][0]["same"] is None


def test_a_fault_gives_exit_code_one(ask: Callable[..., Any], run_dir: Path, library_url: str) -> None:
    from aiopt.library.database import Database

    ask("import", run_dir)
    with Database(library_url) as database, database.begin() as connection:
        connection.exec_driver_sql("update evaluation set net_pnl = net_pnl + 1")
    assert "PROBLEM" in ask("verify", code=1)


def test_a_backup_and_back(
    ask: Callable[..., Any],
    run_dir: Path,
    tmp_path: Path,
    empty_database: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = ask("import", run_dir, "--json")["runs"][0]
    file = tmp_path / "library.dump"
    assert str(file) in ask("backup", "--out", file)
    assert "must be read into an empty database" in ask("restore", file, code=1)
    monkeypatch.setenv("AIOPT_LIBRARY_URL", empty_database())
    assert f"{taken['evaluations']} evaluations are back" in ask("restore", file)
    assert ask("status", "--json")["runs"] == 1


def test_without_a_library_it_is_said(
    ask: Callable[..., Any], empty_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOPT_LIBRARY_URL", empty_database())
    assert "Make one: aiopt library init" in ask("status", code=1)
    assert "The library is ready" in ask("init")
