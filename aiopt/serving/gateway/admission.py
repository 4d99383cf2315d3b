"""Back-pressure: how many model requests are worked on, how many wait, who is turned away.

Owns the counts.  Knows neither HTTP nor engines.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiopt.errors import ClusterError


class Overloaded(ClusterError):
    """No slot, and no place to wait for one.

    Parameters
    ----------
    message : str
        Rule, value, remedy.
    reason : {"queue_full", "queue_timeout"}
        Label of the metric.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        self.reason = reason
        super().__init__(message)


class Admission:
    """Slots that are given out in the order they were asked for.

    Parameters
    ----------
    slots : int
        Requests worked on at once.
    queue : int
        Requests that may wait.
    timeout_s : float
        Longest wait.
    """

    def __init__(self, *, slots: int, queue: int, timeout_s: float) -> None:
        self.slots = slots
        self.queue = queue
        self.timeout_s = timeout_s
        self.in_use = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    def check(self) -> None:
        """Raise `Overloaded` if a request that came now would be turned away, before its body is read."""
        if self.in_use >= self.slots and len(self._waiting) >= self.queue:
            raise Overloaded(
                f"At most {self.slots} requests are worked on and {self.queue} wait, and all these places "
                "are "
                "taken. Try again later, or send fewer at once.",
                reason="queue_full",
            )

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot for the block, waiting for one if need be.

        Raises
        ------
        Overloaded
            If the queue is full or the wait too long.
        """
        self.check()
        if self.in_use < self.slots and not self._waiting:
            self.in_use += 1
        else:
            await self._wait()
        try:
            yield
        finally:
            self._release()

    async def _wait(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self.timeout_s):
                await turn
        except BaseException as failure:
            if turn.done() and not turn.cancelled():
                self._release()  # the slot came at the same moment: pass it on
            else:
                # The future we awaited was cancelled with us: it must not keep its place in the queue.
                turn.cancel()
                if turn in self._waiting:
                    self._waiting.remove(turn)
            if isinstance(failure, TimeoutError):
                raise Overloaded(
                    f"A request may wait {self.timeout_s:g} s for its turn, and this one did. Try again "
                    "later, "
                    "or send fewer at once.",
                    reason="queue_timeout",
                ) from failure
            raise

    def _release(self) -> None:
        """Give the slot to the next in line, or back."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.in_use -= 1
