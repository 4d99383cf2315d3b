"""Ticks and ladders of tests: steps of price in, the ladder of their bars out."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import strategies as st

from aiopt.bars.reducing.partial_bars import merge_partials
from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.bars.stops.stop_ladders import RECORD_COLUMNS, StopLadder, make_ladder
from aiopt.market.instrument import instrument
from aiopt.timeframe import parse_timeframe

MINUTE = parse_timeframe("1m")

SCALE = 100_000


def made_ticks(steps: np.ndarray, spreads: np.ndarray, waits_s: np.ndarray) -> dict[str, np.ndarray]:
    ts = 1_700_000_000_000_000_000 // MINUTE.ns * MINUTE.ns + np.cumsum(waits_s).astype(np.int64) * 10**9
    ones = np.ones(ts.size)
    return {
        "ts_event_ns": ts,
        "bid": steps / SCALE,
        "ask": (steps + spreads) / SCALE,
        "bid_size": ones,
        "ask_size": ones,
    }


def request(**changes: object) -> BarRequest:
    settings: dict[str, object] = {
        "rules": parse_bar_rules("time", "1m,5m"),
        "prices": ("bid", "ask"),
        **changes,
    }
    return BarRequest(**settings)  # type: ignore[arg-type]


@st.composite
def tick_series(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Ticks that jump by a few steps, some at one stamp, over a few minutes."""
    n = draw(st.integers(1, 60))
    moves = draw(st.lists(st.integers(-5, 5), min_size=n, max_size=n))
    spreads = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    waits = draw(st.lists(st.sampled_from([0, 1, 7, 31, 140]), min_size=n, max_size=n))
    return made_ticks(110_000 + np.cumsum(moves), np.array(spreads), np.array(waits))


def reduced(ticks: dict[str, np.ndarray], cuts: list[int], timeframe: str, base: str = "1m") -> StopLadder:
    reducer = TimeReducer(request(rules=parse_bar_rules("time", base)), instrument("EURUSD"))
    edges = [0, *sorted(cuts), ticks["bid"].size]
    parts = [
        reducer.reduce({name: values[a:b] for name, values in ticks.items()})
        for a, b in itertools.pairwise(edges)
    ]
    merged = merge_partials(parts, parse_timeframe(base))
    kept = {name: merged[name] for name in ("ts_open_ns", "ticks", *RECORD_COLUMNS)}
    ladder = make_ladder(merge_partials([kept], parse_timeframe(timeframe)), SCALE)
    assert ladder is not None
    return ladder


def first_quote(quotes: np.ndarray, stop: float, *, sells: bool) -> float | None:
    """Look at one quote after the other."""
    for quote in quotes:
        if (quote <= stop) if sells else (quote >= stop):
            return float(quote)
    return None
