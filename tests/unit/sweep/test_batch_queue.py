"""The queue of batches: every one runs, those of dead workers again, deadly ones not for ever."""

from __future__ import annotations

from aiopt.sweep.batch_queue import WAIT, BatchQueue, Work
from aiopt.sweep.batching import Batch, BatchPlan


def queue(points: int, *, max_failures: int = 2, max_idle_deaths: int = 10, first: int = 2) -> BatchQueue:
    plan = BatchPlan(["1m"] * points, 2, first=first, largest=first)
    return BatchQueue(plan, max_failures=max_failures, max_idle_deaths=max_idle_deaths)


def run(batches: BatchQueue, worker: str, node: str = "n1") -> list[Batch]:
    """Let one worker run all there is."""
    done = []
    while (batch := batches.take(worker)) is not None:
        done.append(batch)
        batches.finished(worker, points=batch.stop - batch.start, seconds=0.1, node=node)
    return done


def test_two_workers_share_the_batches_and_the_points_are_counted_by_node() -> None:
    batches = queue(8)
    assert batches.take("a") == Batch(0, 2)
    assert batches.take("b") == Batch(2, 4)
    batches.finished("a", points=2, seconds=0.1, node="n1")
    batches.finished("b", points=1, seconds=0.1, node="n2")
    rest = run(batches, "b", "n2")
    assert [index for start, stop in rest for index in range(start, stop)] == [4, 5, 6, 7]
    assert batches.points_by_node() == {"n1": 2, "n2": 5}
    assert not batches.has_more()


def test_last_words_of_a_worker_whose_death_is_known_change_nothing() -> None:
    batches = queue(1, first=1)
    batch = batches.take("a")
    batches.lost("a")
    assert batches.take("b") == batch
    batches.finished("a", points=2, seconds=0.1, node="n1")
    assert not batches.is_done()
    batches.finished("b", points=0, seconds=0.1, node="n2")
    assert batches.is_done()
    assert batches.points_by_node() == {"n2": 0}


def test_a_batch_of_a_dead_worker_goes_to_the_next_that_asks() -> None:
    batches = queue(8)
    assert batches.take("a") == Batch(0, 2)
    batches.lost("a")
    assert batches.has_more()
    assert batches.take("b") == Batch(0, 2)


def test_a_worker_that_was_started_again_gets_its_batch_again() -> None:
    batches = queue(8)
    assert [batches.take("a"), batches.take("a"), batches.take("a")] == [Batch(0, 2)] * 3


def test_a_batch_that_kills_its_workers_is_given_up_and_the_others_run() -> None:
    batches = queue(8, max_failures=2)
    for worker in "abc":
        assert batches.take(worker) == Batch(0, 2)
        batches.lost(worker)
    assert [index for start, stop in run(batches, "d") for index in range(start, stop)] == [2, 3, 4, 5, 6, 7]
    assert not batches.has_more()


def test_workers_that_die_before_they_take_anything_end_the_sweep() -> None:
    batches = queue(8, max_idle_deaths=3)
    for worker in "abcd":
        assert batches.has_more()
        batches.lost(worker)
    assert not batches.has_more()
    assert batches.take("e") is None


def test_a_finished_batch_forgives_the_deaths_before_it() -> None:
    batches = queue(20, max_idle_deaths=1)
    for worker in "abcdef":
        batches.take(worker)
        batches.finished(worker, points=2, seconds=0.1, node="n1")
        batches.lost(worker)
    assert batches.has_more()


def test_a_worker_waits_for_the_next_plan_and_is_let_go_when_none_follows() -> None:
    batches = queue(0)
    assert batches.is_done()
    batches.refill(BatchPlan(["1m"] * 5, 2, first=2, largest=2), ["first four", "fifth"], 4)
    assert not batches.is_done()
    assert batches.work("a") == Work(Batch(0, 2), ["first four"], 0)
    batches.finished("a", points=2, seconds=1.0, node="n1")
    assert batches.work("a") == Work(Batch(2, 3), ["first four"], 0)
    assert batches.work("b") == Work(Batch(3, 4), ["first four"], 0)
    batches.finished("b", points=1, seconds=0.5, node="n1")
    assert batches.work("b") == Work(Batch(4, 5), ["fifth"], 4)
    batches.finished("b", points=1, seconds=0.5, node="n1")
    assert batches.work("b") == Work(WAIT)
    assert not batches.is_done(), "a batch is out, and the next generation must wait for it"
    batches.lost("a")
    assert batches.work("b").batch == Batch(2, 3)
    batches.finished("b", points=1, seconds=0.5, node="n1")
    assert batches.is_done()
    batches.refill(BatchPlan(["1m"] * 2, 2, first=2, largest=2), ["sixth"], 4)
    assert batches.work("b").batch == Batch(0, 1), "half a second each, measured in the plan before"
    batches.finished("b", points=1, seconds=0.5, node="n1")
    batches.end()
    assert batches.work("a").batch == Batch(1, 2)
    assert batches.work("b") == Work(None)
    assert batches.points_by_node() == {"n1": 6}


def test_what_killed_workers_in_one_plan_does_not_count_in_the_next() -> None:
    batches = queue(2, max_failures=0, max_idle_deaths=0)
    assert batches.take("a") is not None
    batches.lost("a")
    assert batches.is_done(), "nothing is handed out any more"
    batches.refill(BatchPlan(["1m"] * 2, 2, first=1, largest=1), ["both"], 4)
    assert batches.work("b").batch == Batch(0, 1)
