"""An even pace in the place of a replay's own: the n-th quote is due n / rate seconds after the first."""

from __future__ import annotations

import time
from collections.abc import Callable


class EvenPace:
    """Decides when a quote is due, and notes how late it was asked for last before it was let go."""

    def __init__(self, rate: float, most: int) -> None:
        self.lags: list[float] = []
        self._rate, self._most = rate, most
        self._began = 0.0
        self._taken = 0
        self._stop: Callable[[], None] = lambda: None

    def when_done(self, stop: Callable[[], None]) -> None:
        """Call something when the last quote that is wanted is due."""
        self._stop = stop

    def wait_s(self) -> float:
        """Return the seconds until the next quote is due; not positive: it is, and counts as taken."""
        now = time.monotonic()
        if not self._taken:
            self._began = now
        wait = self._began + self._taken / self._rate - now
        if wait <= 0:
            self._taken += 1
            self.lags.append(-wait)
            if self._taken > self._most:
                self._stop()
        return wait


def even_pace(rate: float, most: int) -> EvenPace:
    """Let every paced replay of this process come evenly."""
    from aiopt.live.feeds.store_feed import Pace

    pacer = EvenPace(rate, most)
    Pace.wait_s = lambda self, ts_ns: pacer.wait_s()  # type: ignore[method-assign, assignment]
    return pacer
