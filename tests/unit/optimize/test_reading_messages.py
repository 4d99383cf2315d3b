"""What a run says while it reads the trials finished before, and all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.optimize import engine, pipeline
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.ranking_config import RankingConfig, StressConfig
from aiopt.testing.sweeps import PLAN, noise_sweep

CONFIG = RankingConfig(stress=StressConfig(pip_size=1e-4), bootstrap_resamples=100)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "leaderboard.jsonl"
    board = Leaderboard(path, CONFIG, PLAN)
    board.add_many(noise_sweep(1, trials=3))
    board.close()
    return path


def test_a_continued_run_says_how_far_the_journal_is_read(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "TELL_EVERY_S", 0.0)
    told: list[str] = []
    engine.LocalStages().open_board("run", journal, CONFIG, PLAN, told.append).close()
    size = f"of {journal.stat().st_size / 2**20:,.0f} MiB"
    assert len(told) == 1 + len(noise_sweep(1, trials=3))
    assert told[-1] == f"100% {size}"
    assert all(line.endswith(size) for line in told)


def test_a_journal_that_is_read_at_once_is_no_news(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TELL_EVERY_S", 3600.0)
    told: list[str] = []
    engine.LocalStages().open_board("run", journal, CONFIG, PLAN, told.append).close()
    assert told == []


def test_reading_is_logged_with_what_is_left_and_seldom_while_it_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("aiopt.optimize.pipeline.time.monotonic", lambda: now[0])
    lines: list[str] = []
    show = pipeline._paced(lines.append, "ranking: trials read")
    for after, done in ((1.0, 10.0), (2.5, 250.0), (5.0, 250.0), (13.0, 250.0), (20.0, 1000.0)):
        now[0] = 100.0 + after
        show(done, 1000.0)
    assert [line.partition(",")[0] for line in lines] == [
        "ranking: trials read: 250/1",
        "ranking: trials read: 250/1",
        "ranking: trials read: 1",
    ]
    assert "250/1,000 (25%, ETA " in lines[0]
    assert lines[2] == "ranking: trials read: 1,000/1,000 (100%)"
