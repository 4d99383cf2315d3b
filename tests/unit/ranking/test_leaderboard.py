"""The leaderboard and its journal: nothing lost, nothing twice, whatever the crash."""

from __future__ import annotations

import errno
import math
import os
import pickle
import zlib
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from aiopt.config import canonical_json
from aiopt.errors import DataError, InputError, StorageError
from aiopt.evaluation.metrics import sharpe_ratio
from aiopt.ranking import trials
from aiopt.ranking.journal import read_journal
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.packed_row import packed_row
from aiopt.ranking.ranking_config import RankingConfig, StressConfig
from aiopt.ranking.reasons import ReasonCount
from aiopt.testing.sweeps import PLAN, failed, noise_sweep

CONFIG = RankingConfig(stress=StressConfig(pip_size=1e-4), bootstrap_resamples=100)
ROWS = [*noise_sweep(1, trials=3), failed(77)]


def board(path: Path | None) -> Leaderboard:
    return Leaderboard(path, CONFIG, PLAN)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "leaderboard.jsonl"
    first = board(path)
    first.add_many(ROWS)
    first.close()
    return path


def test_rows_come_back_as_they_were(journal: Path) -> None:
    again = board(journal)
    assert again.rows() == sorted(ROWS, key=lambda row: row.trial_id)
    assert again.trial_ids() == sorted(row.trial_id for row in ROWS)
    assert again.counts() == {"rows": 7, "ok": 6, "failed": 1}
    assert len(again) == 7


def test_a_repeated_row_changes_neither_rows_nor_file(journal: Path) -> None:
    before = journal.read_bytes()
    again = board(journal)
    assert again.add_many(ROWS) == 0
    assert journal.read_bytes() == before


def test_another_result_of_the_same_trial_is_refused(journal: Path) -> None:
    other = msgspec.structs.replace(ROWS[0], n_bars=1)
    with pytest.raises(
        InputError, match=f"{ROWS[0].trial_id}' came back with two results that differ in n_bars"
    ):
        board(journal).add(other)
    assert board(journal).rows() == sorted(ROWS, key=lambda row: row.trial_id)


def test_a_file_torn_at_any_byte_of_its_last_line_loses_that_row_only(tmp_path: Path, journal: Path) -> None:
    data = journal.read_bytes()
    start = data[:-1].rfind(b"\n") + 1
    kept = {row.trial_id for row in ROWS[:-1]}
    torn = tmp_path / "torn.jsonl"
    for stop in range(start, len(data)):
        torn.write_bytes(data[:stop])
        recovered = board(torn)
        assert set(recovered.trial_ids()) == kept
        assert recovered.add(ROWS[-1])
        recovered.close()
        assert torn.read_bytes() == data


def test_a_torn_first_line_is_written_again(tmp_path: Path, journal: Path) -> None:
    header = journal.read_bytes().split(b"\n")[0]
    path = tmp_path / "new.jsonl"
    for stop in (0, 1, len(header) // 2, len(header)):
        path.write_bytes(header[:stop])
        board(path).close()
        assert path.read_bytes() == header + b"\n"


@pytest.mark.parametrize("line", [0, 1, 3, 7])
def test_a_damaged_line_is_an_error_that_names_it(journal: Path, line: int) -> None:
    lines = journal.read_bytes().split(b"\n")
    middle = len(lines[line]) // 2
    lines[line] = lines[line][:middle] + bytes([lines[line][middle] ^ 1]) + lines[line][middle + 1 :]
    journal.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=f"line {line + 1} is damaged"):
        board(journal)


@pytest.mark.parametrize("line", [b"", b"{}", b"null", b'{"crc32":"00000000","data":{}}', b"\xff\xfe"])
def test_a_foreign_line_is_an_error(journal: Path, line: bytes) -> None:
    with journal.open("ab") as stream:
        stream.write(line + b"\n")
    with pytest.raises(DataError, match=r"leaderboard.jsonl: line 9 is damaged"):
        board(journal)


def test_a_journal_of_another_plan_is_refused(journal: Path) -> None:
    other = msgspec.structs.replace(PLAN, boundaries_ns=tuple(2 * b for b in PLAN.boundaries_ns))
    with pytest.raises(DataError, match="began with other walk-forward segments"):
        Leaderboard(journal, CONFIG, other)


def test_a_journal_of_an_earlier_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    data = canonical_json({"format": 1, "plan": PLAN})
    path = tmp_path / "leaderboard.jsonl"
    path.write_bytes(b'{"crc32":"%08x","data":%s}\n' % (zlib.crc32(data), data))
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"journal format 1, here 2.* Finish it with that version, or"):
        board(path)
    with pytest.raises(DataError, match=r"another version of aiopt began: it has format 1, .*with --force"):
        read_journal(path)
    assert path.read_bytes() == before


def test_a_journal_without_a_whole_line_says_that_the_run_was_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.jsonl"
    path.write_bytes(b'{"crc32":"00')
    with pytest.raises(DataError, match=r"interrupted before the first\. Run the command again"):
        read_journal(path)


@pytest.mark.parametrize("data", [b"", b"plain", b"{}", zlib.compress(b""), zlib.compress(b"12345678")])
def test_a_line_with_a_right_checksum_but_no_row_is_refused(journal: Path, data: bytes) -> None:
    with journal.open("ab") as stream:
        stream.write(b"%08x %s\n" % (zlib.crc32(data), data))
    with pytest.raises(DataError, match=r"line 9 is damaged"):
        board(journal)


def test_the_leaderboard_writes_the_file_of_its_rows_a_few_at_a_time(
    tmp_path: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "ROWS_AT_ONCE", 2)
    board_ = board(journal)
    assert board_.write_trials(tmp_path / "a.parquet") == {"rows": 7, "ok": 6, "failed": 1}
    trials.write_trials(tmp_path / "b.parquet", reversed(board_.rows()), plan=PLAN)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert trials.read_trials(tmp_path / "a.parquet") == board_.rows()
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 4


def test_a_journal_may_be_judged_by_other_settings(journal: Path) -> None:
    again = Leaderboard(
        journal, RankingConfig(stress=StressConfig(pip_size=1e-4), bootstrap_resamples=100, top=1), PLAN
    )
    assert len(again.ranking().entries) == 1


def test_a_full_disk_takes_no_row_and_leaves_the_file_whole(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = journal.read_bytes()
    again = board(journal)
    real = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) > 100:
            return real(file, data[:50])
        raise AssertionError(data)

    def nothing(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    calls = iter([full, nothing])
    monkeypatch.setattr("os.write", lambda file, data: next(calls)(file, data))
    with pytest.raises(StorageError, match=r"The disk of .* is full"):
        again.add(failed(78))
    monkeypatch.undo()
    assert journal.read_bytes() == before
    assert failed(78).trial_id not in again.trial_ids()
    assert again.add(failed(78))
    assert len(board(journal)) == 8


def test_a_folder_is_made_and_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    board(tmp_path / "a" / "b" / "leaderboard.jsonl").close()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file is a file"):
        board(tmp_path / "file" / "leaderboard.jsonl")


def test_progress_shows_the_best_in_sample_and_says_so() -> None:
    board_ = board(None)
    assert board_.best_so_far() is None
    assert board_.progress().best is None
    board_.add_many(ROWS)
    scores = {row.trial_id: sharpe_ratio(row.pnl, periods_per_year=8766) for row in ROWS if row.ok}
    best = max(scores, key=lambda name: scores[name])
    found = board_.best_so_far()
    assert found is not None
    assert (found.trial_id, found.in_sample_sharpe) == (best, scores[best])
    progress = board_.progress()
    assert (progress.rows, progress.failed, progress.best) == (7, 1, found)
    assert progress.failures == [ReasonCount(reason=failed(77).error, count=1, groups=("alpha@5m",))]
    assert pickle.loads(pickle.dumps(progress)) == progress


@pytest.mark.parametrize(
    ("trades", "may"),
    [
        ([10] * 7, True),
        # A train window, segments 0 to 2, has too few: the trial could not have been chosen in fold 1.
        ([3, 3, 3, 10, 10, 10, 10], False),
        # The test segments, 3 to 6, have too few: it would not be ranked.
        ([20, 20, 20, 5, 5, 5, 5], False),
    ],
)
def test_the_best_so_far_has_the_trades_a_ranked_one_needs(trades: list[int], may: bool) -> None:
    board_ = board(None)
    board_.add(msgspec.structs.replace(ROWS[0], segment_trades=trades))
    assert (board_.best_so_far() is not None) == may


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trial_id": ""}, "trial_id is not empty"),
        ({"group": "x@1m"}, "group is family@timeframe"),
        ({"pnl": [1.0]}, r"len\(pnl\) == 420"),
        ({"segment_trades": [1]}, r"len\(segment_trades\) == 7"),
        ({"holdout_units": []}, r"len\(holdout_units\) == 1"),
        ({"segment_gross_loss": [-1.0] * 7}, "segment_gross_loss >= 0"),
        ({"pnl": [math.nan] * 420}, "pnl is finite"),
        ({"initial_balance": 0.0}, "initial_balance"),
        ({"error": "late"}, "an ok trial has no error"),
        ({"status": "failed"}, "a failed trial has a reason"),
        ({"status": "failed", "error": "x"}, "a failed trial has no results"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        board(None).add(msgspec.structs.replace(ROWS[0], **change))


def test_packed_rows_are_taken_all_or_none_and_stay_on_the_disk(tmp_path: Path) -> None:
    packed = [packed_row(row, PLAN) for row in ROWS]
    board_ = board(tmp_path / "a.jsonl")
    assert board_.add_packed([*packed, packed[0]]) == len(ROWS)
    assert board_.add_packed(packed) == 0
    by_one = board(tmp_path / "b.jsonl")
    by_one.add_many(ROWS)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert (board_.rows(), board_.progress()) == (by_one.rows(), by_one.progress())
    other = packed_row(msgspec.structs.replace(ROWS[0], n_bars=1), PLAN)
    new = packed_row(failed(78), PLAN)
    with pytest.raises(InputError, match="two results that differ in n_bars"):
        board_.add_packed([new, other])
    assert board_.add_packed([new]) == 1, "it was not taken beside the refused one"


def test_a_journal_changed_under_a_leaderboard_is_told(journal: Path) -> None:
    again = board(journal)
    data = bytearray(journal.read_bytes())
    data[-10] ^= 1
    journal.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"the line at byte \d+ is damaged: its checksum does not match"):
        again.rows()


@pytest.mark.parametrize("change", [{"pnl": [math.nan] * 420}, {"segment_trades": [1]}])
def test_a_row_is_checked_where_it_is_packed(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="must hold, but got"):
        packed_row(msgspec.structs.replace(ROWS[0], **change), PLAN)
