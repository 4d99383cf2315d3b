"""One line on stderr for work that takes longer than two seconds.  Knows nothing of the work."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[float, float], None]
"""Called with what is done and with all there is."""

QUIET_S = 2.0
INTERVAL_S = 0.5


@contextmanager
def progress(what: str, *, shown: bool = True) -> Iterator[Progress]:
    """Yield a function that shows how far the work is, from two seconds on, on one line of stderr.

    Parameters
    ----------
    what : str
        The work in a word or two.
    shown : bool
        False shows nothing.
    """
    started = last = time.monotonic()
    written = False

    def report(done: float, total: float) -> None:
        nonlocal last, written
        now = time.monotonic()
        if not shown or total <= 0 or now - started < QUIET_S or now - last < INTERVAL_S:
            return
        last, written = now, True
        print(f"\r{what}: {done:,.0f}/{total:,.0f} ({100 * done / total:.0f}%)", end="", file=sys.stderr)  # noqa: T201
        sys.stderr.flush()

    try:
        yield report
    finally:
        if written:
            print(file=sys.stderr)  # noqa: T201
