"""Readings of a session in the order in which they were known, handed to each strategy as they count.

Owns that order: the same as `aiopt.bars.reading_log.ReadingLog` has.  Knows no model and no clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator

from aiopt.bars.reading_log import MarketReading


class Arrivals:
    """What was read so far.

    A reading is added before any decision it counts for: it must not be known before a close that has been
    decided on.  So what was handed out stays in front of what comes.
    """

    def __init__(self) -> None:
        self._readings: list[MarketReading] = []
        self._keys: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._readings)

    def __repr__(self) -> str:
        return f"Arrivals({len(self)} readings)"

    def add(self, reading: MarketReading) -> None:
        """Add a reading."""
        key = reading.known_ns, reading.ts_end_ns
        place = bisect_right(self._keys, key)
        self._keys.insert(place, key)
        self._readings.insert(place, reading)

    def for_strategy(self) -> Callable[[int], Iterator[MarketReading]]:
        """Return what hands a strategy the readings known before each moment, every one once.

        As `aiopt.strategy.reading_gate.arrivals`: moments come in order, UTC in nanoseconds.
        """
        given = 0

        def before(moment_ns: int) -> Iterator[MarketReading]:
            nonlocal given
            while given < len(self._readings) and self._readings[given].known_ns < moment_ns:
                given += 1
                yield self._readings[given - 1]

        return before
