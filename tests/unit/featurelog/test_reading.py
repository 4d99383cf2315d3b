"""Reading and compaction: versions joined, files merged, a kill between two steps harmless."""

from __future__ import annotations

import threading
from pathlib import Path

import polars as pl
import pytest

from aiopt.errors import DataError
from aiopt.featurelog import FeatureLog, LogConfig, RowSchema, compact_stream, list_streams, read_stream
from aiopt.featurelog import compaction as compaction_module
from aiopt.featurelog.schema import claim_version
from aiopt.featurelog.segments import segments_of


def fill(folder: Path, rows: int = 1_000, per_file: int = 50) -> None:
    with FeatureLog(folder, LogConfig(max_buffer_rows=per_file)) as log:
        for n in range(rows):
            log.append("s", {"n": n, "x": n / 7})


def test_versions_are_joined_by_column(tmp_path: Path) -> None:
    with FeatureLog(tmp_path) as log:
        log.append("s", {"n": 1, "old": True})
        log.append("s", {"n": 2.5, "new": "yes"})
    frame = read_stream(tmp_path, "s")
    assert frame.to_dict(as_series=False) == {
        "n": [1.0, 2.5],
        "old": [True, None],
        "new": [None, "yes"],
        "_version": [1, 2],
    }
    assert read_stream(tmp_path, "s", columns=["new"]).rows() == [(None, 1), ("yes", 2)]
    assert read_stream(tmp_path, "s", version=1).schema == {
        "n": pl.Int64,
        "old": pl.Boolean,
        "_version": pl.Int64,
    }


def test_kinds_that_cannot_be_joined_are_named(tmp_path: Path) -> None:
    with FeatureLog(tmp_path) as log:
        log.append("s", {"n": 1, "label": 1})
        log.append("s", {"n": 1, "label": "up"})
    with pytest.raises(DataError, match="'label' is int, but in version 2 it is str"):
        read_stream(tmp_path, "s")
    assert read_stream(tmp_path, "s", columns=["n"]).height == 2
    assert read_stream(tmp_path, "s", version=2)["label"].to_list() == ["up"]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    fill(tmp_path, rows=10)
    with pytest.raises(DataError, match="no such folder"):
        list_streams(tmp_path / "absent")
    with pytest.raises(DataError, match="no stream 'signals'"):
        read_stream(tmp_path, "signals")
    with pytest.raises(DataError, match="no version 2"):
        read_stream(tmp_path, "s", version=2)
    with pytest.raises(DataError, match="no column 'y'"):
        read_stream(tmp_path, "s", columns=["y"])


def test_a_stream_without_rows_has_its_columns(tmp_path: Path) -> None:
    with FeatureLog(tmp_path) as log:
        log.declare("s", {"n": "int", "why": "str"})
    frame = read_stream(tmp_path, "s")
    assert (frame.height, frame.columns) == (0, ["n", "why", "_version"])
    assert list_streams(tmp_path)[0].versions[0].first_ns is None


def test_a_foreign_or_damaged_file_is_named(tmp_path: Path) -> None:
    fill(tmp_path, rows=100)
    pl.DataFrame({"n": [1]}).write_parquet(tmp_path / "s" / "0001" / "9-mine.parquet")
    with pytest.raises(DataError, match=r"9-mine\.parquet: The log did not write this file"):
        read_stream(tmp_path, "s")
    (tmp_path / "s" / "0001" / "9-mine.parquet").write_bytes(b"half")
    with pytest.raises(DataError, match="log did not write this file"):
        list_streams(tmp_path)
    (tmp_path / "s" / "0001.schema.json").write_text("{")
    with pytest.raises(DataError, match="Cannot read the schema file"):
        read_stream(tmp_path, "s")


def test_one_schema_has_one_version_whoever_comes_first(tmp_path: Path) -> None:
    schemas = [RowSchema({"n": "int", f"column_{number % 5}": "float"}) for number in range(40)]
    got: dict[int, set[int]] = {number: set() for number in range(5)}
    start = threading.Barrier(8)

    def claim(part: int) -> None:
        start.wait(20)
        for number in range(part, 40, 8):
            got[number % 5].add(claim_version(tmp_path / "s", schemas[number]))

    threads = [threading.Thread(target=claim, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(next(iter(versions)) for versions in got.values()) == [1, 2, 3, 4, 5]
    assert all(len(versions) == 1 for versions in got.values())


def test_compaction_changes_files_and_no_row(tmp_path: Path) -> None:
    fill(tmp_path)
    with FeatureLog(tmp_path) as log:
        log.append("s", {"n": -1})
    before = read_stream(tmp_path, "s")
    done = compact_stream(tmp_path, "s", target_rows=400)
    assert (done.segments_before, done.rows) == (21, 1_001)
    assert done.segments_after == 3 + 1  # 400 + 400 + 200, and the other version's one
    assert done.bytes_after < done.bytes_before
    assert read_stream(tmp_path, "s").equals(before)
    again = compact_stream(tmp_path, "s", target_rows=400)
    assert again.segments_after == again.segments_before
    fill(tmp_path, rows=100)
    compact_stream(tmp_path, "s", target_rows=10_000)
    assert [version.segments for version in list_streams(tmp_path)[0].versions] == [1, 1]
    numbers = read_stream(tmp_path, "s", version=1)["n"].to_list()
    assert numbers == [*range(1_000), *range(100)]


def test_a_compaction_killed_before_it_deletes_doubles_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    before = read_stream(tmp_path, "s")

    def die(paths: list[Path]) -> None:
        if paths:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compaction_module, "_delete", die)
        with pytest.raises(KeyboardInterrupt):
            compact_stream(tmp_path, "s")
    live, replaced = segments_of(tmp_path / "s" / "0001")
    assert (len(live), len(replaced)) == (1, 20)
    assert read_stream(tmp_path, "s").equals(before)
    done = compact_stream(tmp_path, "s")
    assert (done.segments_before, done.segments_after) == (1, 1)
    assert len(list((tmp_path / "s" / "0001").glob("*.parquet"))) == 1
    assert read_stream(tmp_path, "s").equals(before)


def test_readers_and_writers_go_on_during_compaction(tmp_path: Path) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def compact() -> None:
        try:
            while not stop.is_set():
                compact_stream(tmp_path, "s", target_rows=300)
        except BaseException as error:  # noqa: BLE001 - reported by the test
            failures.append(error)

    fill(tmp_path, rows=100, per_file=10)
    thread = threading.Thread(target=compact)
    thread.start()
    with FeatureLog(tmp_path, LogConfig(max_buffer_rows=20)) as log:
        for n in range(100, 1_000):
            log.append("s", {"n": n, "x": n / 7})
            if n % 50 == 0:
                log.flush()
                assert read_stream(tmp_path, "s")["n"].to_list() == list(range(n + 1))
    stop.set()
    thread.join(30)
    assert failures == []
    assert read_stream(tmp_path, "s")["n"].to_list() == list(range(1_000))
