"""Run folders: what is there, what is missing, what is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.errors import EXIT_BAD_INPUT
from aiopt.runs import (
    EntryRecord,
    NotARunError,
    RunFileError,
    list_runs,
    load_run,
    write_entry,
)
from aiopt.trades import Trade


def run_folder(path: Path, state: str = '{"status": "running", "stage": "sweep"}') -> Path:
    path.mkdir(parents=True)
    (path / "state.json").write_text(state)
    (path / "config.json").write_text('{"seed": 3}')
    return path


def entry(rank: int) -> EntryRecord:
    trade = Trade(
        entry_bar=0,
        exit_bar=1,
        entry_ts_ns=1,
        exit_ts_ns=2,
        side="short",
        entry_price=1.1,
        exit_price=1.0,
        size=1000.0,
        exit_reason="take_profit",
        pnl=100.0,
    )
    return EntryRecord(
        rank=rank, name=f"{rank}_rsi", trades=[trade], equity_ts_ns=[1, 2], equity=[100_000.0, 100_100.0]
    )


def test_an_unfinished_run_says_what_is_missing(tmp_path):
    run = load_run(run_folder(tmp_path / "alpha"))
    assert (run.run_id, run.state.status, run.state.stage) == ("alpha", "running", "sweep")
    assert not run.finished
    assert run.missing == ("manifest.json", "trials.parquet", "ranking.json", "entries", "pine")
    assert run.describe_missing()[2] == "ranking.json (the ranking)"
    assert run.config == {"seed": 3}
    assert run.ranking is None
    assert run.entries == ()
    assert run.trials_path is None


def test_a_status_of_done_does_not_hide_missing_files(tmp_path):
    run = load_run(run_folder(tmp_path / "alpha", '{"status": "done"}'))
    assert not run.finished


def test_keys_of_a_later_version_are_ignored(tmp_path):
    run = load_run(run_folder(tmp_path / "alpha", '{"status": "done", "added_later": [1, 2]}'))
    assert run.state.status == "done"


def test_entries_come_in_order_of_rank_and_survive_the_round_trip(tmp_path):
    folder = run_folder(tmp_path / "alpha")
    for rank in (10, 2, 1):
        write_entry(folder, entry(rank))
    assert load_run(folder).entries == (entry(1), entry(2), entry(10))


def test_a_folder_that_is_no_run_is_refused_with_the_remedy(tmp_path):
    run_folder(tmp_path / "alpha")
    (tmp_path / "other").mkdir()
    with pytest.raises(
        NotARunError, match=r"holds neither state\.json nor config\.json.*aiopt optimize"
    ) as caught:
        load_run(tmp_path / "other")
    assert caught.value.exit_code == EXIT_BAD_INPUT


def test_a_misspelt_run_gets_a_hint(tmp_path):
    run_folder(tmp_path / "alpha")
    with pytest.raises(NotARunError, match=r"There is no run folder.*Did you mean 'alpha'\?"):
        load_run(tmp_path / "alhpa")


@pytest.mark.parametrize("text", ['{"status": "do', "", "[]", '{"status": 3}', '{"status": "\xff"}'])
def test_a_damaged_state_names_the_file(tmp_path, text):
    folder = tmp_path / "alpha"
    folder.mkdir()
    (folder / "state.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(
        RunFileError,
        match=r"state\.json (is not valid JSON|does not hold what this version of aiopt writes): ",
    ):
        load_run(folder)


def test_a_damaged_entry_names_the_file_and_the_field(tmp_path):
    folder = run_folder(tmp_path / "alpha")
    path = write_entry(folder, entry(1))
    path.write_text('{"rank": 1, "name": "x"}')
    with pytest.raises(RunFileError, match=r"1_rsi\.json .*missing required field `trades`"):
        _ = load_run(folder).entries


def test_a_script_that_is_not_text_is_refused(tmp_path):
    folder = run_folder(tmp_path / "alpha")
    (folder / "pine").mkdir()
    (folder / "pine" / "a.pine").write_bytes(b"\xff\xfe")
    run = load_run(folder)
    assert run.pine_source("b") is None
    with pytest.raises(RunFileError, match=r"a\.pine is not UTF-8"):
        run.pine_source("a")


def test_listing_shows_runs_by_name_and_damaged_ones_too(tmp_path):
    run_folder(tmp_path / "beta")
    run_folder(tmp_path / "alpha", "{")
    (tmp_path / "notes").mkdir()
    (tmp_path / "file.txt").write_text("x")
    runs = list_runs(tmp_path)
    assert [(run.path.name, run.state.status) for run in runs] == [("alpha", "damaged"), ("beta", "running")]
    assert "is not valid JSON" in runs[0].state.error


def test_listing_an_absent_folder_is_empty(tmp_path):
    assert list_runs(tmp_path / "none") == []
