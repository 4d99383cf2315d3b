"""A ranking actor watched from elsewhere: how far it is is asked while it reads, with a stand-in for Ray."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aiopt.ranking.ranking_config import RankingConfig
from aiopt.testing.sweeps import PLAN
from cluster import ranking


class Ray:
    """Answers are their references; the first is ready after so many waits."""

    def __init__(self, waits: int) -> None:
        self.left = waits

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        assert timeout in (ranking.WATCH_EVERY_S, ranking.TELL_EVERY_S)
        self.left -= 1
        return ([], references) if self.left >= 0 else (references, [])

    def get(self, reference: Any) -> Any:
        return reference

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "0" * 56)


class Actor:
    """Reads 30 trials, ten per question."""

    def __init__(self) -> None:
        self.read = 0
        self.reading = self
        self.chosen_trials = SimpleNamespace(remote=lambda: ["alpha@5m-00001"])

    def options(self, *, concurrency_group: str) -> Actor:
        assert concurrency_group == "watch"
        return self

    def remote(self) -> tuple[float, float]:
        self.read += 10
        return self.read, 30


def test_who_waits_is_told_how_far_the_actor_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "ray", Ray(waits=3))
    told: list[tuple[float, float]] = []
    found = ranking.RemoteBoard(Actor()).chosen_trials(
        progress=lambda done, total: told.append((done, total))
    )
    assert found == ["alpha@5m-00001"]
    assert told == [(10, 30), (20, 30), (30, 30)]


def test_who_asks_for_no_progress_just_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "ray", Ray(waits=3))
    actor = Actor()
    assert ranking.RemoteBoard(actor).chosen_trials() == ["alpha@5m-00001"]
    assert actor.read == 0


@pytest.mark.parametrize("waits", [0, 2])
def test_a_journal_that_takes_long_is_told_with_its_size(
    waits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "leaderboard.jsonl"
    journal.write_bytes(bytes(3 * 2**20))
    monkeypatch.setattr(ranking, "ray", Ray(waits=waits))
    actor = Actor()
    started = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: actor))
    monkeypatch.setattr(ranking, "RankingActor", started)
    told: list[str] = []
    board = ranking.RemoteBoard.start("run", journal, RankingConfig(), PLAN, told.append)
    assert board.actor is actor
    assert [line.partition(", ")[0] for line in told] == ["3 MiB"] * waits
    assert all(line.endswith("s so far") for line in told)
