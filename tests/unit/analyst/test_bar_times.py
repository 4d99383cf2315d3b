"""Opening times of a request against its timeframe: units, grids, distances."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.analyst.bar_times import check_bar_times
from aiopt.analyst.settings import DEFAULT_CHART
from aiopt.analyst.windows import drawable
from aiopt.charts import render_chart
from aiopt.errors import AnalysisRequestError
from aiopt.testing.bars import random_walk_bars
from aiopt.timeframe import parse_timeframe

MINUTE = 60_000_000_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
START = 1_709_251_200_000_000_000  # 2024-03-01 00:00 UTC, a Friday


def check(timeframe: str, *opens: int, start: int = START) -> None:
    check_bar_times(np.array(opens, np.int64) + start, parse_timeframe(timeframe))


@pytest.mark.parametrize(
    ("timeframe", "opens"),
    [
        ("5m", range(0, 100 * MINUTE, 5 * MINUTE)),
        ("1m", (0, MINUTE, 5 * MINUTE, 2 * DAY)),
        ("1m", range(0, 40 * MINUTE, 5 * MINUTE)),  # eight bars: gaps may be chance
        ("1d", (0, DAY, 4 * DAY)),
        (
            "1d",
            (22 * HOUR, 46 * HOUR, 93 * HOUR, 117 * HOUR),
        ),  # a session's clock goes forward over a weekend
        ("4h", (22 * HOUR, 26 * HOUR, 69 * HOUR)),
        ("1h", range(30 * MINUTE, DAY, HOUR)),  # opens with a session, on the half hour
        ("30s", range(0, 20 * MINUTE, MINUTE // 2)),
        ("1h", (0,)),
    ],
)
def test_what_bars_may_look_like(timeframe: str, opens: range | tuple[int, ...]) -> None:
    check(timeframe, *opens)


@pytest.mark.parametrize(
    ("unit", "scale"), [("seconds", 10**9), ("milliseconds", 10**6), ("microseconds", 10**3)]
)
def test_another_unit_is_named(unit: str, scale: int) -> None:
    stamps = np.arange(START, START + 20 * DAY, DAY) // scale
    with pytest.raises(AnalysisRequestError, match=f"bar 0 has .*As {unit} it would be in 2024: multiply by"):
        check_bar_times(stamps, parse_timeframe("1d"))


@pytest.mark.parametrize("stamp", [0, -1, 5, 2**62 + 2**61, -(2**63)])
def test_times_of_no_market(stamp: int) -> None:
    with pytest.raises(AnalysisRequestError, match="must be nanoseconds since 1970"):
        check("1m", stamp, start=0)


@pytest.mark.parametrize(
    ("timeframe", "opens", "message"),
    [
        ("1d", range(0, 100 * MINUTE, MINUTE), "bar 1 opens 1m after the one before. Most are 1m apart"),
        ("1h", range(0, 100 * MINUTE, 5 * MINUTE), "bar 1 opens 5m after .* write that as `timeframe`"),
        ("1m", range(0, 100 * MINUTE, 5 * MINUTE), "all 19 distances are multiples of 5m. Most are 5m"),
        ("5m", (0, 5 * MINUTE, 12 * MINUTE), "bar 2 opens 7m after"),
        ("4h", (0, 4 * HOUR, 6 * HOUR), "bar 2 opens 2h after"),
        ("1m", (0, MINUTE + 5), "bar 1 opens 60,000,000,005 ns after"),
        ("5m", (MINUTE, 6 * MINUTE), "whole multiples of 5m, but bar 0 opens 60,000,000,000 ns later"),
        ("1h", (7, HOUR + 7), "whole multiples of 15m, but bar 0 opens 7 ns later"),
    ],
)
def test_what_bars_cannot_look_like(timeframe: str, opens: range | tuple[int, ...], message: str) -> None:
    with pytest.raises(AnalysisRequestError, match=message):
        check(timeframe, *opens)


@given(
    timeframe=st.sampled_from(["1m", "5m", "15m", "1h", "4h", "1d"]),
    kept=st.lists(st.booleans(), min_size=2, max_size=120),
    scale=st.sampled_from([10**3, 10**6, 10**9]),
)
def test_bars_with_holes_pass_and_their_seconds_never_do(
    timeframe: str, kept: list[bool], scale: int
) -> None:
    length = parse_timeframe(timeframe)
    # Two neighbours are always there, so that the distance of bars is to be seen.
    steps = [0, 1, *(number for number, there in enumerate(kept, 2) if there)]
    opens = np.array(steps, np.int64) * length.ns + START
    check_bar_times(opens, length)
    with pytest.raises(AnalysisRequestError, match="nanoseconds"):
        check_bar_times(opens // scale, length)


@pytest.mark.parametrize(
    ("n_bars", "kept"), [(1, []), (14, []), (15, ["rsi"]), (20, ["ema", "rsi"]), (50, ["ema", "ema", "rsi"])]
)
def test_a_chart_is_drawn_with_the_indicators_its_bars_allow(n_bars: int, kept: list[str]) -> None:
    bars = random_walk_bars(n_bars, seed=1, timeframe="5m")
    spec = drawable(DEFAULT_CHART, bars)
    assert [plot.kind for plot in (*spec.overlays, *spec.panes)] == kept
    assert render_chart(bars, spec).startswith(b"\x89PNG")
    # What somebody asked for is not left out without a word.
    asked = msgspec.structs.replace(DEFAULT_CHART, volume=True)
    assert drawable(asked, bars) is asked
