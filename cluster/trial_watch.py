"""Ends a worker whose trial takes too long or too much memory, and says so in the trial's row.

Owns what watches.  A trial may hang inside compiled code or the engine, where no exception can reach it: only
the end of its process frees the worker.  Tune then starts the batch again, without that trial.  Where not
even the watching thread is let run, the kernel's alarm ends the process a little later; then the sweep finds
the trial by running its batch one by one.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiopt.sweep.sweep_config import TrialLimits
from aiopt.sweep.trial import TrialPoint

_INTERVAL_S = 0.25

_GRACE_S = 15.0
"""After the limit the kernel ends the process: by then the thread has, if it could."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


class TrialWatch:
    """Watches the trials of this process.

    Parameters
    ----------
    limits : TrialLimits
        What a trial may take.
    give_up : callable
        Records that a trial failed, with the reason; returns when that is kept.
    """

    def __init__(self, limits: TrialLimits, give_up: Callable[[TrialPoint, str], None]) -> None:
        self._limits = limits
        self._give_up = give_up
        self._current: tuple[TrialPoint, float] | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="trial-watch", daemon=True).start()

    @contextmanager
    def over(self, point: TrialPoint) -> Iterator[None]:
        """Watch while a trial runs."""
        self._current = (point, time.monotonic())
        signal.setitimer(signal.ITIMER_REAL, self._limits.seconds + _GRACE_S)
        try:
            yield
        finally:
            self._current = None
            signal.setitimer(signal.ITIMER_REAL, 0)

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(_INTERVAL_S):
            current = self._current
            if current is None:
                continue
            point, began = current
            reason = self._limits.excess(time.monotonic() - began, resident_bytes())
            # The trial may have ended meanwhile.
            if reason and self._current is current:
                self._give_up(point, reason)
                os._exit(1)


def resident_bytes() -> int:
    """Return the memory this process has resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
