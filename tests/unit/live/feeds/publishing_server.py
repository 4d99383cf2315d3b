"""A server of Dukascopy's JSON hours that publishes each quote late, as the real one.  For tests alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from aiopt.utc import HOUR_NS, hour_number
from tests.unit.ticks.download.faulty_server import EMPTY_JSON, Server

LATE_S = 180
MONDAY = hour_number("2024-05-06T10")


def hour_ticks(hour: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return milliseconds in the hour, bid and ask in points, sizes; the same whenever it is asked for."""
    rng = np.random.default_rng(hour)
    ms = np.sort(rng.integers(0, 3_600_000, count))
    wave = np.round(40 * np.sin((hour * 3_600_000 + ms) / 7e5)).astype(np.int64)
    bid = 108_000 + wave + np.cumsum(rng.integers(-2, 3, count))
    return ms, bid, bid + rng.integers(1, 9, count), rng.integers(1, 90, count) * 10_000


def answer_of(hour: int, count: int, first: int | None = None) -> bytes:
    """Return an hour as the API writes it, or its first quotes alone."""
    ms, bid, ask, size = (column[:first] for column in hour_ticks(hour, count))
    answer: dict[str, Any] = {"timestamp": hour * 3_600_000, "multiplier": 1e-5} | EMPTY_JSON
    if len(ms):
        answer |= {
            "ask": ask[0] / 1e5,
            "bid": bid[0] / 1e5,
            "times": np.diff(ms, prepend=0).tolist(),
            "asks": np.diff(ask, prepend=ask[0]).tolist(),
            "bids": np.diff(bid, prepend=bid[0]).tolist(),
            "askVolumes": size[::-1].astype(float).tolist(),
            "bidVolumes": size.astype(float).tolist(),
        }
    return json.dumps(answer).encode()


class PublishingServer(Server):
    """Publishes a quote `LATE_S` behind its stamp, by a clock of the test's."""

    def __init__(self, clock: Callable[[], int], count: int) -> None:
        super().__init__()
        self._clock, self._count = clock, count

    def body_of(self, path: str) -> bytes:
        key = self.key_of(path)
        if key in self.bodies:
            return self.bodies[key]
        hour = hour_number(key.partition(":")[2])
        until_ms = (self._clock() - LATE_S * 1_000_000_000 - hour * HOUR_NS) // 1_000_000
        ms = hour_ticks(hour, self._count)[0]
        return answer_of(hour, self._count, int(np.searchsorted(ms, until_ms, side="right")))
