"""Whoever reads a long journal or all its trials says how far it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.ranking.journal import Journal
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.ranking_config import RankingConfig, StressConfig
from aiopt.testing.sweeps import PLAN, failed, noise_sweep

CONFIG = RankingConfig(stress=StressConfig(pip_size=1e-4), bootstrap_resamples=100)
ROWS = [*noise_sweep(1, trials=3), failed(77)]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "leaderboard.jsonl"
    board = Leaderboard(path, CONFIG, PLAN)
    board.add_many(ROWS)
    board.close()
    return path


def advances(told: list[tuple[float, float]]) -> bool:
    """Tell whether something was told that grows to its end, once or pass by pass."""
    fresh = [place for place, (done, _) in enumerate(told) if place == 0 or done <= told[place - 1][0]]
    passes = [told[start:stop] for start, stop in zip(fresh, [*fresh[1:], len(told)], strict=True)]
    return bool(told) and all(one[-1][0] == one[-1][1] for one in passes)


def test_opening_a_journal_tells_the_bytes_read(journal: Path) -> None:
    told: list[tuple[float, float]] = []
    Journal(journal, PLAN, progress=lambda done, total: told.append((done, total))).close()
    ends = [0]
    for line in journal.read_bytes().split(b"\n")[:-1]:
        ends.append(ends[-1] + len(line) + 1)
    assert told == [(end, journal.stat().st_size) for end in ends[1:]]


def test_opening_a_leaderboard_tells_the_same(journal: Path) -> None:
    told: list[tuple[float, float]] = []
    Leaderboard(journal, CONFIG, PLAN, lambda done, total: told.append((done, total))).close()
    assert len(told) == 1 + len(ROWS)
    assert advances(told)


def test_a_new_journal_has_nothing_to_read(tmp_path: Path) -> None:
    told: list[float] = []
    Leaderboard(tmp_path / "new.jsonl", CONFIG, PLAN, lambda done, total: told.append(done)).close()
    assert told == []


@pytest.mark.parametrize("what", ["chosen_trials", "ranking", "write_trials"])
def test_reading_all_trials_is_told_to_the_caller_and_to_who_watches(
    what: str, journal: Path, tmp_path: Path
) -> None:
    board = Leaderboard(journal, CONFIG, PLAN)
    told: list[tuple[float, float]] = []
    watched: list[tuple[float, float]] = []

    def tell(done: float, total: float) -> None:
        told.append((done, total))
        watched.append(board.reading())

    assert board.reading() == (0, 0)
    if what == "write_trials":
        board.write_trials(tmp_path / "trials.parquet", progress=tell)
    else:
        getattr(board, what)(progress=tell)
    assert advances(told)
    assert watched == told
    assert board.reading() == told[-1]
