"""Loading files before they are asked for, in threads, for formats whose unpacking releases the interpreter.

Owns the look-ahead.  Knows no format.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_THREADS = 8
"""Beyond it the reader of what is loaded is the bottleneck."""


class ReadAhead(Generic[T]):
    """Loads items number 0, 1, … in threads, a few before they are asked for.

    Parameters
    ----------
    count : int
        Items.
    load : callable
        Return item number `i`; an error of it is raised when the item is asked for.
    threads : int, optional
        At most; by default one per core up to `MOST_THREADS`.  So many items are in memory besides the one
        asked for.

    Examples
    --------
    >>> squares = ReadAhead(4, lambda number: number**2, threads=2)
    >>> [squares(number) for number in range(4)]
    [0, 1, 4, 9]
    """

    def __init__(self, count: int, load: Callable[[int], T], *, threads: int | None = None) -> None:
        self._count = count
        self._load = load
        cores = len(os.sched_getaffinity(0))
        self._threads = min(threads or min(cores, MOST_THREADS), count)
        self._pool: ThreadPoolExecutor | None = None
        self._pending: dict[int, Future[T]] = {}

    def __call__(self, number: int) -> T:
        """Return an item and start loading those after it."""
        if self._threads < 2:
            return self._load(number)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="aiopt-read-ahead")
        wanted = range(number, min(number + self._threads + 1, self._count))
        for other in [other for other in self._pending if other not in wanted]:
            self._pending.pop(other).cancel()
        for other in wanted:
            if other not in self._pending:
                self._pending[other] = self._pool.submit(self._load, other)
        return self._pending.pop(number).result()
