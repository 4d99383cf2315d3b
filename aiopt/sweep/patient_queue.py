"""A queue of batches that answers when there is something to say, so that nobody has to ask again and again.

Owns the waiting: of workers for a batch, and of who gives the plans for the end of one.  Its coroutines run
in one loop together with all other calls, so nothing is locked.  Knows no cluster.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiopt.sweep.batch_queue import WAIT, BatchQueue, Work
from aiopt.sweep.batching import BatchPlan


class PatientQueue(BatchQueue):
    """`BatchQueue` with calls that wait; its arguments."""

    def __init__(self, plan: BatchPlan, *, max_failures: int, max_idle_deaths: int) -> None:
        super().__init__(plan, max_failures=max_failures, max_idle_deaths=max_idle_deaths)
        self._news = asyncio.Event()
        self._asking: dict[str, object] = {}

    async def work_soon(self, worker: str, patience_s: float) -> Work:
        """Return what `work` returns, `WAIT` only after so many seconds.

        A worker that died while it waited gets nothing: its batch would never come back.
        """
        question = self._asking[worker] = object()
        until = time.monotonic() + patience_s
        while self._asking.get(worker) is question:
            work = self.work(worker)
            if work.batch != WAIT or not await self._changed(until):
                return work
        return Work(None)

    async def done_soon(self, patience_s: float) -> bool:
        """Return what `is_done` returns, False only after so many seconds."""
        until = time.monotonic() + patience_s
        while not self.is_done():
            if not await self._changed(until):
                return False
        return True

    def refill(self, plan: BatchPlan, parcels: Sequence[Any], parcel_size: int) -> None:
        """As `BatchQueue.refill`; who waits is told."""
        super().refill(plan, parcels, parcel_size)
        self._tell()

    def end(self) -> None:
        """As `BatchQueue.end`; who waits is told."""
        super().end()
        self._tell()

    def finished(self, worker: str, *, points: int, seconds: float, node: str) -> None:
        """As `BatchQueue.finished`; who waits is told."""
        super().finished(worker, points=points, seconds=seconds, node=node)
        self._tell()

    def lost(self, worker: str) -> None:
        """As `BatchQueue.lost`; who waits is told, and the worker waits no longer."""
        self._asking.pop(worker, None)
        super().lost(worker)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _changed(self, until: float) -> bool:
        """Wait for news until some time; tell whether there are any."""
        try:
            await asyncio.wait_for(self._news.wait(), until - time.monotonic())
        except TimeoutError:
            return False
        return True


__all__ = ["PatientQueue"]
