"""What the library says is checked; all of it goes into one file and comes back."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from aiopt.errors import DataError, InputError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.library import Filter, Library, LibraryError, Origin, open_library, restore_library
from aiopt.library.records import Status
from aiopt.ranking.figures import segment_pnl
from aiopt.ranking.trials import TrialRow
from aiopt.runs import load_run
from aiopt.strategy.families import FAMILIES

OURS = Origin(licence="own", origin="a test")
SPACE = FAMILIES["rsi_reversion"]


@pytest.fixture
def library(library_url: str, run_dir: Path) -> Iterator[Library]:
    with open_library(library_url) as found:
        found.import_run(load_run(run_dir))
        yield found


def recorded(folder: Path, trial_id: str) -> tuple[TrialRow, WalkForwardPlan]:
    """Return a trial as its run recorded it, whose fold profits are those of the ranking."""
    plan, rows = load_run(folder).trial_rows()
    assert plan is not None
    return next(row for row in rows if row.trial_id == trial_id), plan


def test_all_is_well_with_what_was_just_taken_in(library: Library) -> None:
    found = library.verify()
    assert found.problems == []
    assert (found.runs, found.evaluations) == (1, library.status().evaluations)
    assert found.spellings == library.status().spellings
    assert found.reruns == []


def test_what_was_forged_is_named(library: Library) -> None:
    key = next(row.id for row in library.find().rows if row.evaluations)
    with library.database.begin() as connection:
        connection.exec_driver_sql(
            "update evaluation set net_pnl = net_pnl + 1000 where strategy_id = %s", (key,)
        )
        connection.exec_driver_sql("update run set config = replace(config, '\"seed\":', '\"sEed\":')")
        connection.exec_driver_sql(
            "update spelling set spec = replace(spec, '\"units\":', '\"units\": ') where strategy_id = %s",
            (key,),
        )
        connection.exec_driver_sql(
            "update spelling set spec = '{}' where spec_hash = (select max(spec_hash) from spelling "
            "where strategy_id <> %s)",
            (key,),
        )
    said = " ".join(library.verify().problems)
    assert "its folds come to" in said
    assert "its configuration has the hash" in said
    assert "the spec cannot be read" in said


def test_evaluations_are_run_again_and_compared_to_the_cent(library: Library) -> None:
    done: list[float] = []
    found = library.verify(_rerun_as_ranked, count=2, seed=3, progress=done.append)
    assert [one.same for one in found.reruns] == [True, True]
    assert done == [1, 2]
    assert [one.evaluation for one in library.verify(_rerun_as_ranked, count=2, seed=3).reruns] == [
        one.evaluation for one in found.reruns
    ]

    def worse(folder: Path, trial_id: str) -> tuple[TrialRow, WalkForwardPlan]:
        row, plan = _rerun_as_ranked(folder, trial_id)
        return msgspec.structs.replace(row, pnl=[value - 0.01 for value in row.pnl]), plan

    told = library.verify(worse, count=1)
    assert told.reruns[0].same is False
    assert "gives" in told.problems[0]


def test_a_run_folder_that_is_gone_is_no_fault(library: Library) -> None:
    def gone(folder: Path, trial_id: str) -> tuple[TrialRow, WalkForwardPlan]:
        raise InputError(f"There is no run folder {folder}.")

    found = library.verify(gone, count=1)
    assert found.problems == []
    assert found.reruns[0].same is None
    assert "There is no run folder" in found.reruns[0].note


def _rerun_as_ranked(folder: Path, trial_id: str) -> tuple[TrialRow, WalkForwardPlan]:
    """Return a trial whose profits are those the ranking shows: the made run's rows are not its rankings'."""
    row, plan = recorded(folder, trial_id)
    ranking = load_run(folder).ranking
    assert ranking is not None
    for entry in ranking.entries:
        for fold in entry.folds:
            if fold.trial_id == trial_id:
                net = math.fsum(segment_pnl(row, plan, plan.folds[fold.index].test))
                assert abs(net - fold.net_pnl) < 0.005, "the made run is consistent"
    return row, plan


def test_a_backup_comes_back_into_an_empty_database(
    library: Library, tmp_path: Path, empty_database: Callable[[], str]
) -> None:
    file = tmp_path / "whole.dump"
    before = library.status()
    assert library.backup(file) == file.stat().st_size
    assert file.read_bytes()[:5] == b"PGDMP"
    with restore_library(file, empty_database()) as other:
        assert counts(other.status()) == counts(before)
        assert other.verify().problems == []
        with pytest.raises(LibraryError, match="must be read into an empty database"):
            restore_library(file, other.database._url)
        assert counts(other.status()) == counts(before)


def counts(status: Status) -> list[int]:
    return [status.strategies, status.spellings, status.evaluations, status.performance, status.runs]


def test_a_backup_is_of_one_moment_while_others_write(
    library: Library, library_url: str, tmp_path: Path, empty_database: Callable[[], str]
) -> None:
    stop = threading.Event()
    points = iter(SPACE.sample(400, seed=5))

    def write() -> None:
        # Two at a time: a backup with an odd number would be half of one.
        with open_library(library_url) as mine:
            while not stop.is_set():
                pair = [SPACE.spec.with_params(next(points)) for _ in range(2)]
                mine.add_all((spec, OURS) for spec in pair)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        library.backup(tmp_path / "while.dump")
    finally:
        stop.set()
        writer.join()
    with restore_library(tmp_path / "while.dump", empty_database()) as other:
        added = other.find(Filter(source="spec"), limit=1).total
        assert added % 2 == 0
        assert other.verify().problems == []


def test_no_backup_and_half_a_backup_are_refused(
    library: Library, tmp_path: Path, empty_database: Callable[[], str]
) -> None:
    library.backup(tmp_path / "whole.dump")
    whole = (tmp_path / "whole.dump").read_bytes()
    (tmp_path / "half.dump").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "other.dump").write_bytes(b"something else")
    url = empty_database()
    for name, said in (("half", "cut off"), ("other", "but is not"), ("none", "no such file")):
        with pytest.raises(DataError, match=said):
            restore_library(tmp_path / f"{name}.dump", url)
    with pytest.raises(LibraryError, match="There is no library"):
        open_library(url)


def test_a_backup_of_a_newer_version_is_refused(
    library: Library, tmp_path: Path, empty_database: Callable[[], str]
) -> None:
    library.backup(tmp_path / "old.dump")
    with library.database.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    with pytest.raises(LibraryError, match="9999"):
        library.backup(tmp_path / "new.dump")
    assert not (tmp_path / "new.dump").exists()
    from aiopt.library import backups

    backups._run(library.database, "pg_dump", "--format=custom", f"--file={tmp_path / 'new.dump'}")
    with pytest.raises(DataError, match="version 9999"):
        restore_library(tmp_path / "new.dump", empty_database())


def test_an_export_is_one_document_a_line(library: Library, tmp_path: Path) -> None:
    out = tmp_path / "all.jsonl"
    count = library.export(out)
    head, *lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert head["strategies"] == count == len(lines) == library.status().strategies
    assert {line["id"] for line in lines} == {row.id for row in library.find().rows}
    assert sum(len(line["evaluations"]) for line in lines) == library.status().evaluations
    assert library.export(out, Filter(source="spec")) == 0
