"""How long one request waits for an engine, over all its tries.  Owns that budget; knows no engine.

Whoever begins a request takes one `Patience` from the backend and passes it to each try, so however often an
engine dies the request waits once.  Time is the event loop's.
"""

from __future__ import annotations

import asyncio

from aiopt.serving.backend import ModelUnavailableError

RETRY_S = 0.25
"""Pause before another try: about as long as Serve takes to notice a death."""


class Patience:
    """A budget of waiting that begins now.  Create it in the event loop that serves.

    Parameters
    ----------
    wait_s : float
        Longest wait for an engine that starts or restarts.
    """

    def __init__(self, wait_s: float) -> None:
        self._deadline = asyncio.get_running_loop().time() + wait_s

    @property
    def remaining_s(self) -> float:
        """What is left; 0 when it is used up."""
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    async def before_retry(self, failure: ModelUnavailableError) -> None:
        """Pause before another try, or raise what the last one failed with if none fits in."""
        if self.remaining_s <= RETRY_S:
            raise failure
        await asyncio.sleep(RETRY_S)
