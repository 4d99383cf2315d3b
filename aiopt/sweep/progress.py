"""Where a sweep stands, its pace, and the line that says so.  Knows no runner."""

from __future__ import annotations

import dataclasses
import time
from collections import deque

from aiopt.ranking.leaderboard import BestSoFar, Progress
from aiopt.ranking.reasons import ReasonCount, is_loud

PACE_WINDOW_S = 60.0
"""Rate and ETA look back this far, so that the start of the workers does not weigh on them for long."""


@dataclasses.dataclass(frozen=True)
class SweepProgress:
    """Where a sweep stands.

    Attributes
    ----------
    done, failed, total : int
        Points: finished (failed ones included), failed, all.
    earlier : int
        Of `done`, how many an earlier call had finished.
    rate : float
        Trials per second over the last `PACE_WINDOW_S`; 0 before the first one has finished.
    best : BestSoFar or None
        Trial with the best in-sample Sharpe ratio so far: a sign of life, nothing is ranked by it.
    failures : list of ReasonCount
        Why trials failed, the most frequent reason first.
    """

    done: int
    failed: int
    total: int
    earlier: int
    rate: float
    best: BestSoFar | None
    failures: list[ReasonCount]

    def line(self) -> str:
        """Return one plain line for a log."""
        share = 100 * self.done / self.total if self.total else 100
        eta = duration_text((self.total - self.done) / self.rate) if self.rate > 0 else "unknown"
        if self.done == self.earlier < self.total:
            eta += " (workers start; the first run on a machine compiles code)"
        failed = f", {self.failed} failed" if self.failed else ""
        best = ""
        if self.best is not None:
            best = f", best so far {self.best.trial_id} (in-sample Sharpe {self.best.in_sample_sharpe:.2f})"
        return (
            f"{self.done:,}/{self.total:,} trials ({share:.0f}%{failed}), {self.rate:.2f} trials/s, "
            f"ETA {eta}{best}"
        )

    def warning(self) -> str:
        """Return what to say where most trials fail; empty where they do not."""
        if not is_loud(self.failed, self.done):
            return ""
        first = self.failures[0]
        often = "" if first.count == self.failed else f"; most often ({first.count} times)"
        return f"WARNING: {self.failed} of {self.done} trials failed{often}: {first.reason}"


class Pace:
    """Turns standings of a leaderboard into progress, with the rate over the recent past.

    Parameters
    ----------
    total : int
        Points of the sweep.
    earlier : int
        Of them, how many an earlier call had finished.
    """

    def __init__(self, total: int, earlier: int) -> None:
        self._total = total
        self._earlier = earlier
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), earlier)])

    def progress(self, standing: Progress) -> SweepProgress:
        """Return where the sweep stands now."""
        return SweepProgress(
            done=standing.rows,
            failed=standing.failed,
            total=self._total,
            earlier=self._earlier,
            rate=self._rate(standing.rows),
            best=standing.best,
            failures=standing.failures,
        )

    def _rate(self, done: int) -> float:
        now = time.monotonic()
        if done > self._seen[-1][1]:
            self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > PACE_WINDOW_S:
            self._seen.popleft()
        began, before = self._seen[0]
        return (done - before) / (now - began) if done > before else 0.0


def duration_text(seconds: float) -> str:
    """Return a length of time for people, e.g. ``"3m05s"``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
