"""Batches: every point once, of one series each, as long as a few seconds by what was measured."""

from __future__ import annotations

import pytest

from aiopt.sweep.batching import LONGEST_S, SHORTEST_S, Batch, BatchPlan


def all_of(plan: BatchPlan, seconds_per_point: float | None) -> list[Batch]:
    batches = []
    while (batch := plan.next()) is not None:
        batches.append(batch)
        if seconds_per_point is not None:
            plan.measured(batch, seconds_per_point * (batch.stop - batch.start))
    return batches


@pytest.mark.parametrize("seconds", [None, 1e-4, 0.01, 1.0, 100.0])
@pytest.mark.parametrize("workers", [1, 2, 31])
def test_every_point_once_and_no_batch_of_two_series(seconds: float | None, workers: int) -> None:
    series = ["1m"] * 1000 + ["5m"] * 37 + ["15m"]
    batches = all_of(BatchPlan(series, workers, first=16, largest=300), seconds)
    assert [batch.start for batch in batches] == [0, *(batch.stop for batch in batches[:-1])]
    assert batches[-1].stop == len(series)
    for batch in batches:
        assert len(set(series[batch.start : batch.stop])) == 1
        assert 1 <= batch.stop - batch.start <= 300


def test_the_first_are_short_the_next_take_seconds_and_the_last_are_short_again() -> None:
    each = 0.01
    sizes = [
        stop - start for start, stop in all_of(BatchPlan(["1m"] * 5000, 2, first=16, largest=4096), each)
    ]
    assert sizes[0] == 16
    assert sizes[1] == LONGEST_S / each
    assert sizes == [16, *sorted(sizes[1:], reverse=True)]
    assert all(size >= SHORTEST_S / each for size in sizes[1:-1])


def test_slow_points_come_one_by_one() -> None:
    sizes = [stop - start for start, stop in all_of(BatchPlan(["1m"] * 10, 2, first=2, largest=64), 30.0)]
    assert sizes == [2, *[1] * 8]


def test_no_point() -> None:
    assert BatchPlan([], 2, first=1, largest=1).next() is None


def test_few_points_are_shared_out_before_any_was_measured() -> None:
    plan = BatchPlan(["5m"] * 24, 2, first=64, largest=4096)
    assert plan.next() == Batch(0, 6)
