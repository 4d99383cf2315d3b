"""Shares of stress as tasks: order, progress and the error of a share, against a stand-in for Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from ray.exceptions import RayTaskError

from aiopt.screen.failures import ScreenMismatchError
from aiopt.testing.bars import random_walk_bar_set
from cluster.pipeline import RayStages
from cluster.resources import stage_options


class Now:
    """Runs a task when its result is asked for, the last task first."""

    def __init__(self) -> None:
        self.options_asked: dict[str, Any] = {}
        self.cancelled: list[Any] = []

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **options: Any) -> Any:
        self.options_asked = options

        def wrap(function: Any) -> Any:
            class Task:
                def options(self, **_: Any) -> Task:
                    return self

                def remote(self, *arguments: Any) -> Any:
                    return lambda: function(*arguments)

            return Task()

        return wrap

    def wait(self, pending: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return pending[-1:], pending[:-1]

    def get(self, tasks: list[Any]) -> list[Any]:
        try:
            return [task() for task in tasks]
        except ScreenMismatchError as error:
            raise RayTaskError("share", "traceback", error).as_instanceof_cause() from None

    def cancel(self, task: Any, *, force: bool) -> None:
        self.cancelled.append(task)


@dataclass(frozen=True)
class Size:
    """Gives the number of bars times a factor."""

    series: str
    factor: int
    paths: int = 3

    def run(self, bars: Any) -> int:
        if self.factor < 0:
            raise ScreenMismatchError("they differ")
        return len(bars) * self.factor


BARS = {"5m": random_walk_bar_set(30, seed=1), "1h": random_walk_bar_set(20, seed=1)}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    found = Now()
    monkeypatch.setattr("cluster.pipeline.ray", found)
    return found


def test_results_come_in_the_order_of_the_shares_with_progress_by_paths(now: Now) -> None:
    told: list[tuple[float, float]] = []
    shares = [Size("5m", 1), Size("1h", 2), Size("5m", 3, paths=4)]
    assert RayStages().run_shares(shares, BARS, lambda done, total: told.append((done, total))) == [
        30,
        40,
        90,
    ]
    assert told == [(4, 10), (7, 10), (10, 10)]
    assert now.options_asked == stage_options("stress")


def test_the_first_difference_ends_the_others_and_keeps_its_class(now: Now) -> None:
    shares = [Size("5m", 1), Size("1h", 1), Size("5m", -1)]
    with pytest.raises(ScreenMismatchError, match=r"^they differ$"):
        RayStages().run_shares(shares, BARS, lambda done, total: None)
    assert len(now.cancelled) == 2
