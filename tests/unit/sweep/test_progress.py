"""The lines of a running sweep."""

from __future__ import annotations

import pytest

from aiopt.ranking.leaderboard import BestSoFar, Progress
from aiopt.ranking.reasons import ReasonCount
from aiopt.sweep.progress import Pace, SweepProgress

BEST = BestSoFar(trial_id="a@5m-00001", group="a@5m", in_sample_sharpe=1.234, net_pnl=10.0, trades=40)


def progress(failures: list[ReasonCount], done: int = 10) -> SweepProgress:
    failed = sum(one.count for one in failures)
    return Pace(20, 0).progress(Progress(rows=done, failed=failed, best=BEST, failures=failures))


def failure(reason: str, count: int) -> ReasonCount:
    return ReasonCount(reason=reason, count=count, groups=("a@5m",))


def test_a_line_says_how_far_and_that_the_best_is_in_sample() -> None:
    first = progress([failure("no bars", 1)])
    assert first.rate > 0, "the first report has a rate: it counts from the start of the sweep"
    line = first.line()
    assert line.startswith("10/20 trials (50%, 1 failed), ")
    assert line.endswith("best so far a@5m-00001 (in-sample Sharpe 1.23)")


@pytest.mark.parametrize(
    ("failures", "warning"),
    [
        ([], ""),
        ([failure("no bars", 4)], ""),
        ([failure("no bars", 9)], "WARNING: 9 of 10 trials failed: no bars"),
        (
            [failure("no bars", 7), failure("no margin", 2)],
            "WARNING: 9 of 10 trials failed; most often (7 times): no bars",
        ),
    ],
)
def test_a_sweep_whose_trials_fail_says_so_and_why(failures: list[ReasonCount], warning: str) -> None:
    assert progress(failures).warning() == warning


def test_nothing_is_said_of_failures_before_a_trial_is_done() -> None:
    assert progress([], done=0).warning() == ""


def test_a_sweep_without_a_trial_yet_says_what_it_waits_for() -> None:
    assert (
        progress([], done=0)
        .line()
        .startswith(
            "0/20 trials (0%), 0.00 trials/s, ETA unknown (workers start; the first run on a machine "
        )
    )
    assert "workers start" not in progress([]).line()
