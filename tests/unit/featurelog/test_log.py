"""Writing: what is appended is read, in order, by whoever wrote it and however it ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiopt.errors import ConfigError, DataError, StorageError
from aiopt.featurelog import FeatureLog, LogConfig, list_streams, read_stream
from aiopt.featurelog.memory import available_memory_bytes
from aiopt.featurelog.segments import write_segment
from aiopt.featurelog.writer import MAX_PENDING
from tests.unit.featurelog.writers import write_rows

ROOT = Path(__file__).resolve().parents[3]


def wait_for(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*/*.parquet"))


def test_rows_are_read_as_they_were_appended(tmp_path: Path) -> None:
    rows = [{"ts_ns": 10**18 + n, "p": n / 3, "hit": n % 2 == 0, "name": f"é{n}"} for n in range(1_000)]
    with FeatureLog(tmp_path, LogConfig(max_buffer_rows=64)) as log:
        for row in rows:
            log.append("predictions", row)
        log.flush()
        assert log.flushed_rows == 1_000
        assert read_stream(tmp_path, "predictions").drop("_version").to_dicts() == rows
    assert len(segments(tmp_path)) == 16
    (stream,) = list_streams(tmp_path)
    assert (stream.name, stream.rows, stream.versions[0].writers) == ("predictions", 1_000, 1)


def test_columns_and_rows_keep_their_order(tmp_path: Path) -> None:
    with FeatureLog(tmp_path) as log:
        log.append("s", {"n": 0, "x": 0.0})
        values = np.arange(1, 50, dtype=np.int32)
        log.extend("s", {"n": values, "x": values.astype(np.float32)})
        values[:] = -1  # the log must have a copy
        log.append("s", {"x": 50.0, "n": 50})
        log.extend("s", {"x": [51, None], "n": [51, 52]})
        log.extend("s", {"n": [], "x": []})
    frame = read_stream(tmp_path, "s")
    assert frame["n"].to_list() == list(range(53))
    assert frame["x"].to_list() == [*map(float, range(52)), None]
    assert frame["_version"].unique().to_list() == [1]


VALUES = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "str": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_rows_survive_whatever_their_schemas(data: st.DataObject, tmp_path: Path) -> None:
    folder = tmp_path / str(time.monotonic_ns())
    kinds = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(sorted(VALUES)), min_size=1)
    forms = data.draw(st.lists(kinds, min_size=1, max_size=4))
    picks = data.draw(st.lists(st.sampled_from(forms), min_size=1, max_size=30))
    rows = [{name: data.draw(VALUES[kind]) for name, kind in form.items()} for form in picks]
    with FeatureLog(folder, LogConfig(max_buffer_rows=data.draw(st.integers(1, 9)))) as log:
        for number, row in enumerate(rows):
            log.append("s", {"number": number, **row})
    (stream,) = list_streams(folder)
    seen: list[int] = []
    for version in stream.versions:
        found = read_stream(folder, "s", version=version.version).drop("_version").to_dicts()
        numbers = [row.pop("number") for row in found]
        assert numbers == sorted(numbers)
        seen += numbers
        for number, row in zip(numbers, found, strict=True):
            kinds = version.fields
            assert row == {n: float(v) if kinds[n] == "float" else v for n, v in rows[number].items()}
    assert sorted(seen) == list(range(len(rows)))


def test_other_columns_or_kinds_start_a_version_and_the_old_one_goes_on(tmp_path: Path) -> None:
    with FeatureLog(tmp_path) as log:
        for n in range(3):
            log.append("s", {"n": n})
            log.append("s", {"n": n, "x": 1.5})
            log.append("s", {"n": f"text {n}"})
        log.append("s", {"x": 2, "n": 9})  # other order, an int for a float: the second version
    info = list_streams(tmp_path)[0].versions
    assert [(version.fields, version.rows) for version in info] == [
        ({"n": "int"}, 3),
        ({"n": "int", "x": "float"}, 4),
        ({"n": "str"}, 3),
    ]
    assert read_stream(tmp_path, "s", version=2)["x"].to_list() == [1.5, 1.5, 1.5, 2.0]
    with FeatureLog(tmp_path) as log:
        log.append("s", {"n": 7})
    assert len(list_streams(tmp_path)[0].versions) == 3, "a known schema is found again"


def test_an_int_column_that_meets_a_float_goes_on_as_float(tmp_path: Path) -> None:
    with FeatureLog(tmp_path) as log:
        for value in (1, 2.5, 3, np.int64(4), np.float32(0.5), 2**62 + 1):
            log.append("s", {"v": value})
    versions = list_streams(tmp_path)[0].versions
    assert [(version.fields["v"], version.rows) for version in versions] == [("int", 1), ("float", 5)]
    assert read_stream(tmp_path, "s")["v"].to_list() == [1.0, 2.5, 3.0, 4.0, 0.5, float(2**62)]


def test_nulls_fit_every_column_but_tell_no_kind(tmp_path: Path) -> None:
    with FeatureLog(tmp_path) as log:
        with pytest.raises(DataError, match="why is None"):
            log.append("s", {"n": 1, "why": None})
        log.declare("s", {"n": "int", "why": "str"})
        log.append("s", {"n": 1, "why": None})
        log.append("s", {"n": None, "why": "late"})
    assert read_stream(tmp_path, "s").rows() == [(1, None, 1), (None, "late", 1)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "at least one field"),
        ({"x": [1, 2]}, "'x' is a list"),
        ({"x": b"raw"}, "'x' is a bytes"),
        ({"x": 2**63}, "must fit 64 bits"),
    ],
)
def test_values_no_column_takes(tmp_path: Path, row: dict, message: str) -> None:
    with FeatureLog(tmp_path) as log, pytest.raises((DataError, ConfigError), match=message):
        log.append("s", row)


def test_a_value_that_cannot_be_stored_costs_no_other_row(tmp_path: Path) -> None:
    with FeatureLog(tmp_path) as log:
        log.append("s", {"n": 1, "text": "good"})
        with pytest.raises(DataError, match="must fit 64 bits"):
            log.append("s", {"n": 2**64, "text": "x"})
        with pytest.raises(DataError, match="is not valid Unicode"):
            log.append("s", {"n": 2, "text": "\ud800"})
        log.append("s", {"n": 3, "text": "good"})
    assert read_stream(tmp_path, "s")["n"].to_list() == [1, 3]


def test_columns_of_several_kinds_or_lengths_are_refused(tmp_path: Path) -> None:
    with FeatureLog(tmp_path) as log:
        with pytest.raises(DataError, match="equal length, but are a 2, b 1"):
            log.extend("s", {"a": [1, 2], "b": [1]})
        with pytest.raises(DataError, match="'a' has int, str"):
            log.extend("s", {"a": [1, "x"]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "Signals", "a/b", "../up", "x" * 65])
def test_stream_names_that_are_no_folders(tmp_path: Path, name: str) -> None:
    with FeatureLog(tmp_path) as log, pytest.raises(ConfigError, match="stream's name must be lower-case"):
        log.append(name, {"n": 1})


# --- when buffers are written -----------------------------------------------------------------------------


def test_a_row_is_written_when_it_is_old(tmp_path: Path) -> None:
    with FeatureLog(tmp_path, LogConfig(max_age_s=0.2)) as log:
        log.append("s", {"n": 1})
        wait_for(lambda: log.flushed_rows == 1)
        assert read_stream(tmp_path, "s")["n"].to_list() == [1]


def test_little_memory_writes_every_buffer_at_once(tmp_path: Path) -> None:
    with FeatureLog(tmp_path, LogConfig(max_age_s=3_600), available_memory=lambda: 0) as log:
        log.append("s", {"n": 1})
        log.append("other", {"n": 1})
        wait_for(lambda: log.flushed_rows == 2)


def test_enough_memory_keeps_the_buffers(tmp_path: Path) -> None:
    with FeatureLog(tmp_path, LogConfig(max_age_s=3_600), available_memory=lambda: 1 << 40) as log:
        log.append("s", {"n": 1})
        time.sleep(0.8)
        assert log.flushed_rows == 0
    assert read_stream(tmp_path, "s").height == 1


def test_large_texts_fill_a_buffer_by_size(tmp_path: Path) -> None:
    with FeatureLog(tmp_path, LogConfig(max_age_s=3_600, max_buffer_mib=1.0)) as log:
        for n in range(30):
            log.append("s", {"n": n, "text": "x" * 100_000})
        wait_for(lambda: log.flushed_rows >= 20)
    assert read_stream(tmp_path, "s").height == 30


def test_available_memory_is_a_plausible_number() -> None:
    assert 1 << 20 < available_memory_bytes() < 1 << 50


def test_who_is_faster_than_the_disk_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: Any) -> None:
        time.sleep(0.02)
        write_segment(*arguments)

    monkeypatch.setattr("aiopt.featurelog.writer.write_segment", slow)
    with FeatureLog(tmp_path, LogConfig(max_buffer_rows=10)) as log:
        most = 0
        for n in range(400):
            log.append("s", {"n": n})
            most = max(most, n + 1 - log.flushed_rows)
    # Pending, being written and filling.
    assert most <= (MAX_PENDING + 2) * 10
    assert read_stream(tmp_path, "s")["n"].to_list() == list(range(400))


# --- when things go wrong ---------------------------------------------------------------------------------


def test_a_write_that_fails_is_raised_and_tried_again(tmp_path: Path) -> None:
    in_the_way = tmp_path / "s" / "0001"
    with FeatureLog(tmp_path, LogConfig(max_age_s=0.1)) as log:
        log.declare("s", {"n": "int"})
        in_the_way.write_text("a file where the folder belongs")
        log.append("s", {"n": 1})
        with pytest.raises(StorageError, match=r"cannot be written: .* is a file, not a folder"):
            log.flush()
        with pytest.raises(StorageError, match=r"cannot be written: .* is a file, not a folder"):
            log.append("s", {"n": 2})
        in_the_way.unlink()
        wait_for(lambda: log.flushed_rows == 1)
        log.append("s", {"n": 3})
    assert read_stream(tmp_path, "s")["n"].to_list() == [1, 3]


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with (
        FeatureLog(tmp_path / "file") as log,
        pytest.raises(StorageError, match=r"cannot be written: .* is a file, not a folder"),
    ):
        log.append("s", {"n": 1})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_ended_is_an_error_and_no_endless_wait(tmp_path: Path) -> None:
    def broken() -> int:
        raise RuntimeError("no such figure")

    log = FeatureLog(tmp_path, LogConfig(max_age_s=0.05), available_memory=broken)
    log._thread.join(20)
    log.append("s", {"n": 1})
    with pytest.raises(StorageError, match="writer has ended"):
        log.flush()
    with pytest.raises(StorageError, match="writer has ended"):
        log.close()


def test_a_closed_log_takes_no_rows(tmp_path: Path) -> None:
    log = FeatureLog(tmp_path)
    log.append("s", {"n": 1})
    log.close()
    log.close()
    with pytest.raises(ConfigError, match="is closed"):
        log.append("s", {"n": 2})


def test_a_program_that_just_ends_loses_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aiopt.featurelog import FeatureLog\n"
        "log = FeatureLog(Path(sys.argv[1]))\n"
        "for n in range(100): log.append('s', {'n': n})\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert read_stream(tmp_path, "s").height == 100


@pytest.mark.parametrize("wait_s", [0.05, 0.31, 0.77, 1.3])
@pytest.mark.slow
def test_kill_nine_loses_the_unflushed_buffer_and_no_more(tmp_path: Path, wait_s: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.featurelog.writers", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
    reader.start()
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    reader.join(20)
    process.stdout.close()
    appended, flushed = map(int, [line for line in lines if line.endswith("\n")][-1].split())
    assert process.returncode == -9
    if not segments(tmp_path):
        assert flushed == 0
        found = pl.Series("n", [], dtype=pl.Int64)
    else:
        found = read_stream(tmp_path, "killed")["n"]
    # A prefix without a hole, at least what was flushed, and short of what was appended by the bound.
    assert found.to_list() == list(range(found.len()))
    assert found.len() >= flushed
    assert appended - found.len() <= (MAX_PENDING + 2) * 500


@pytest.mark.slow
def test_writers_in_many_processes_and_threads_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_rows, args=(str(tmp_path), w, 2_000)) for w in range(2)]
    for process in processes:
        process.start()
    with FeatureLog(tmp_path, LogConfig(max_buffer_rows=50)) as log:

        def work(writer: int) -> None:
            for n in range(1_000):
                log.append("shared", {"writer": writer, "n": n})

        threads = [threading.Thread(target=work, args=(10 + number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    frame = read_stream(tmp_path, "shared")
    assert frame.height == 2 * 2_000 + 3 * 1_000
    assert sorted(frame["_version"].unique()) == [1, 2], "both processes use the same two versions"
    for writer, rows in ((0, 2_000), (1, 2_000), (10, 1_000), (11, 1_000), (12, 1_000)):
        mine = frame.filter(pl.col("writer") == writer)
        assert mine.height == rows
        for version in (1, 2):
            numbers = mine.filter(pl.col("_version") == version)["n"].to_list()
            assert numbers == sorted(numbers)
        assert sorted(mine["n"]) == list(range(rows))


@pytest.mark.parametrize(
    "fields",
    [{"max_buffer_rows": 0}, {"max_age_s": 0.0}, {"max_buffer_mib": 0.0}, {"min_available_mib": -1.0}],
)
def test_bad_settings(fields: dict) -> None:
    with pytest.raises(ConfigError, match=f"<= {next(iter(fields))} <="):
        LogConfig(**fields)
