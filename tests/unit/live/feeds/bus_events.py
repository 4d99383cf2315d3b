"""Quotes and health as a session publishes them, for the tests of feeds that read them."""

from __future__ import annotations

from typing import Any

from aiopt.bus.events import Health, Quote

START_NS = 1_709_805_600_000_000_000
"""Thursday 2024-03-07, 10:00 UTC."""
SECOND_NS = 1_000_000_000


def quote(seq: int, **changes: Any) -> Quote:
    fields: dict[str, Any] = {
        "id": f"pub:{seq}",
        "session": "pub",
        "seq": seq,
        "ts_ns": START_NS + seq * SECOND_NS,
        "wall_ns": 0,
        "instrument": "EURUSD",
        "bid": round(1.1 + seq % 7 * 1e-5, 5),
        "ask": round(1.1001 + seq % 7 * 1e-5, 5),
        "bid_size": 10.0 * seq,
    }
    return Quote(**fields | changes)


def health(seq: int, state: str, text: str = "", part: str = "feed") -> Health:
    stamps = {"ts_ns": START_NS + seq * SECOND_NS, "wall_ns": 0}
    return Health(id=f"pub:{seq}", session="pub", seq=seq, part=part, state=state, text=text, **stamps)
