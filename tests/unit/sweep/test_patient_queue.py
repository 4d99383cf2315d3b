"""The queue that waits with its answers: they come when they are there, and to nobody who is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from aiopt.sweep.batch_queue import WAIT, Work
from aiopt.sweep.batching import Batch, BatchPlan
from aiopt.sweep.patient_queue import PatientQueue

LONG_S = 120.0
"""No answer may take so long: the tests end with it, and fail, if nobody is told."""


def plan(points: int) -> BatchPlan:
    """Return batches of one point each."""
    return BatchPlan(["1m"] * points, 2, first=1, largest=1)


def queue(points: int = 0) -> PatientQueue:
    batches = PatientQueue(plan(points), max_failures=2, max_idle_deaths=10)
    batches.refill(plan(points), ["points"], max(points, 1))
    return batches


def run(story: Coroutine[Any, Any, None]) -> None:
    began = time.monotonic()
    asyncio.run(story)
    assert time.monotonic() - began < LONG_S


async def asked(answer: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Return a question that is being waited for."""
    task = asyncio.ensure_future(answer)
    await asyncio.sleep(0)
    assert not task.done()
    return task


def test_a_batch_that_is_there_is_given_at_once() -> None:
    async def story() -> None:
        assert await queue(1).work_soon("a", LONG_S) == Work(Batch(0, 1), ["points"], 0)

    run(story())


def test_a_worker_waits_for_the_next_plan() -> None:
    async def story() -> None:
        batches = queue()
        waits = await asked(batches.work_soon("a", LONG_S))
        batches.refill(plan(2), ["more"], 2)
        assert await waits == Work(Batch(0, 1), ["more"], 0)

    run(story())


def test_a_worker_waits_for_the_end() -> None:
    async def story() -> None:
        batches = queue()
        waits = await asked(batches.work_soon("a", LONG_S))
        batches.end()
        assert await waits == Work(None)

    run(story())


def test_a_worker_that_waited_long_enough_is_told_to_wait() -> None:
    async def story() -> None:
        assert (await queue().work_soon("a", 0.01)).batch == WAIT

    run(story())


def test_a_worker_that_waits_takes_the_batch_of_one_that_died() -> None:
    async def story() -> None:
        batches = queue(1)
        held = await batches.work_soon("a", LONG_S)
        waits = await asked(batches.work_soon("b", LONG_S))
        batches.lost("a")
        assert await waits == held

    run(story())


def test_a_worker_that_died_while_it_waited_gets_nothing() -> None:
    async def story() -> None:
        batches = queue()
        dead, alive = await asked(batches.work_soon("a", LONG_S)), await asked(batches.work_soon("b", LONG_S))
        batches.lost("a")
        batches.refill(plan(1), ["more"], 1)
        assert await dead == Work(None)
        assert (await alive).batch == Batch(0, 1)
        batches.finished("b", points=1, seconds=0.1, node="n1")
        assert batches.is_done()

    run(story())


def test_a_worker_that_asks_again_gets_one_answer() -> None:
    async def story() -> None:
        batches = queue()
        before, now = await asked(batches.work_soon("a", LONG_S)), await asked(batches.work_soon("a", LONG_S))
        batches.refill(plan(2), ["more"], 2)
        assert await before == Work(None)
        assert (await now).batch == Batch(0, 1)
        assert (await batches.work_soon("b", LONG_S)).batch == Batch(1, 2)

    run(story())


def test_who_gives_the_plans_waits_until_the_last_batch_has_run() -> None:
    async def story() -> None:
        batches = queue(2)
        assert not await batches.done_soon(0.01)
        waits = await asked(batches.done_soon(LONG_S))
        for worker in ("a", "b"):
            await batches.work_soon(worker, LONG_S)
            assert not waits.done()
        batches.finished("a", points=1, seconds=0.1, node="n1")
        await asyncio.sleep(0.01)
        assert not waits.done()
        batches.finished("b", points=1, seconds=0.1, node="n1")
        assert await waits

    run(story())
