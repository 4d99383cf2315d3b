"""A large sweep keeps few series in its file and loses none: a reader gets all or is told what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aiopt.errors import DataError, InputError
from aiopt.ranking import kept_series
from aiopt.ranking.kept_series import lacks_series, series_hash
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.period_profits import period_profits
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.trial_list import list_trials, listed, read_listed
from aiopt.ranking.trials import TrialRow, read_columns, read_trials, write_trials
from aiopt.ranking.whole_rows import keeps_every_series, whole_rows
from aiopt.testing.sweeps import PLAN, failed, noise_sweep

CONFIG = RankingConfig(lanes=2, bootstrap_resamples=100).with_pip(1e-4)
ROWS = sorted([*noise_sweep(3, trials=20), failed(90)], key=lambda row: row.trial_id)
SAMPLE = 5


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Leaderboard]:
    found = Leaderboard(tmp_path / "leaderboard.jsonl", CONFIG, PLAN)
    # As trials finish: in no order.
    found.add_many(ROWS[i] for i in np.random.default_rng(1).permutation(len(ROWS)))
    yield found
    found.close()


@pytest.fixture
def large(board: Leaderboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept_series, "MOST_VALUES", 1_000)
    monkeypatch.setattr(kept_series, "SAMPLE", SAMPLE)
    board.write_trials(tmp_path / "trials.parquet")
    return tmp_path / "trials.parquet"


def test_a_file_within_the_limit_is_what_it_was(board: Leaderboard, tmp_path: Path) -> None:
    board.write_trials(tmp_path / "trials.parquet")
    write_trials(tmp_path / "before.parquet", ROWS, plan=PLAN)
    assert (tmp_path / "trials.parquet").read_bytes() == (tmp_path / "before.parquet").read_bytes()
    assert keeps_every_series(tmp_path / "trials.parquet")
    assert {"net_pnl", "sharpe", "series_hash"}.isdisjoint(read_columns(tmp_path / "trials.parquet"))


def test_trials_in_play_and_a_sample_keep_their_series(board: Leaderboard, large: Path) -> None:
    found = read_trials(large)
    kept = {row.trial_id for row in found if row.ok and not lacks_series(row)}
    chosen = set(board.chosen_trials())
    assert chosen < kept
    assert len(kept) == len(chosen) + SAMPLE
    for row, short in zip(ROWS, found, strict=True):
        assert short.series_hash == series_hash(row)
        assert short.pnl == (row.pnl if row.trial_id in kept else [])
        assert (short.segment_trades, short.holdout_trades) == (row.segment_trades, row.holdout_trades)
    again = large.with_name("again.parquet")
    board.write_trials(again)
    assert again.read_bytes() == large.read_bytes()
    board.write_trials(again, every_series=True)
    assert keeps_every_series(again)


def plain(rows: Iterator[TrialRow]) -> list[tuple[str, list[float], list[float], list[int]]]:
    return [(one.trial_id, list(one.pnl), list(one.holdout_pnl), one.segment_trades) for one in rows]


def test_the_journal_gives_all_series_in_the_order_of_the_file(large: Path) -> None:
    assert plain(whole_rows(large, large.with_name("leaderboard.jsonl"))) == plain(iter(ROWS))


def test_without_the_journal_nobody_gets_fewer_trials(large: Path) -> None:
    journal = large.with_name("leaderboard.jsonl")
    journal.rename(journal.with_name("away"))
    kept = sum(row.ok and not lacks_series(row) for row in read_trials(large))
    with pytest.raises(
        DataError, match=rf"of {len(ROWS)} trials are needed.* keeps those of {kept}, and the"
    ):
        next(whole_rows(large, journal))


def test_a_journal_of_other_results_is_refused(large: Path, tmp_path: Path) -> None:
    other = Leaderboard(tmp_path / "other.jsonl", CONFIG, PLAN)
    other.add_many([*noise_sweep(4, trials=20), failed(90)])
    other.close()
    with pytest.raises(
        DataError, match=r"the journal has another result of trial 'alpha.*' of trials.parquet"
    ):
        list(whole_rows(large, tmp_path / "other.jsonl"))
    few = Leaderboard(tmp_path / "few.jsonl", CONFIG, PLAN)
    few.add(ROWS[0])
    few.close()
    with pytest.raises(DataError, match=rf"the journal lacks trial '{ROWS[1].trial_id}'"):
        list(whole_rows(large, tmp_path / "few.jsonl"))


def test_profits_with_times_say_which_trial_was_not_kept(board: Leaderboard, large: Path) -> None:
    lacking = [row.trial_id for row in read_trials(large) if lacks_series(row)]
    chosen = board.chosen_trials()[:1]
    whole = large.with_name("whole.parquet")
    write_trials(whole, ROWS, plan=PLAN)
    assert period_profits(large, chosen).equals(period_profits(whole, chosen))
    with pytest.raises(
        InputError, match=rf"trial '{lacking[3]}'.*aiopt trials rerun {lacking[3]} --run FOLDER"
    ):
        period_profits(large, [*chosen, lacking[3]])
    with pytest.raises(InputError, match=rf"So it is with {len(lacking)} of the trials asked for"):
        period_profits(large)


def test_the_list_is_that_of_a_file_with_every_series(large: Path) -> None:
    whole = large.with_name("whole.parquet")
    write_trials(whole, ROWS, plan=PLAN)
    for failures in (False, True):
        expected = list_trials([listed(row, PLAN) for row in ROWS], top=0, failed=failures)
        assert list_trials(read_listed(large, PLAN), top=0, failed=failures) == expected
        assert list_trials(read_listed(whole, PLAN), top=0, failed=failures) == expected
