import itertools
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.charts.axes import BarScale, ValueScale, compact_label, time_ticks, value_ticks
from aiopt.testing.pictures import MONDAY_NS
from aiopt.utc import MINUTE_NS

DAY_NS = 1440 * MINUTE_NS


def test_ends_of_a_scale_are_its_outer_rows() -> None:
    scale = ValueScale(low=1.0, high=2.0, top=50, bottom=150)
    assert [scale.row(value) for value in (2.0, 1.5, 1.0)] == [50, 100, 150]
    assert scale.value(100) == pytest.approx(1.5)
    assert scale.row(1e9) < 50
    assert scale.row(-1e9) > 150


@given(st.integers(1, 1104), st.data())
def test_bars_fill_the_pane_in_order_without_touching(n_bars: int, data: st.DataObject) -> None:
    scale = BarScale(n_bars=n_bars, left=12, width=data.draw(st.integers(n_bars, 1104)))
    centres = scale.centres.tolist()
    assert centres == [12 + math.floor((2 * i + 1) * scale.width / (2 * n_bars)) for i in range(n_bars)]
    left, right = scale.body
    assert centres[0] - left >= 12
    assert centres[-1] + right <= 12 + scale.width - 1
    gaps = [b - left - (a + right) - 1 for a, b in itertools.pairwise(centres)]
    if scale.width >= 2 * n_bars:
        assert min(gaps, default=1) >= 1
    assert min(gaps, default=0) >= 0


@given(
    st.integers(1, 200_000),
    st.integers(1, 100_000),
    st.integers(60, 900),
    st.sampled_from([0, 2, 3, 5]),
)
def test_labels_are_round_evenly_spaced_and_true(low: int, span: int, rows: int, decimals: int) -> None:
    unit = 10.0**-decimals
    scale = ValueScale(low=low * unit, high=(low + span) * unit, top=10, bottom=10 + rows)
    ticks = value_ticks(scale, min_distance=40, decimals=decimals)
    values = [Decimal(tick.label) for tick in ticks]
    assert [float(value) for value in values] == [tick.value for tick in ticks]
    assert all(scale.low <= tick.value <= scale.high for tick in ticks)
    steps = {b - a for a, b in itertools.pairwise(values)}
    assert len(steps) <= 1
    for step in steps:
        assert Decimal(str(step)).normalize().as_tuple().digits in {(1,), (2,), (5,)}
        assert all(value % step == 0 for value in values)
        assert float(step) / (scale.high - scale.low) * rows >= 40 - 1e-6


def test_no_round_value_is_left_out() -> None:
    scale = ValueScale(low=-0.35, high=1.05, top=0, bottom=700)
    assert [tick.label for tick in value_ticks(scale, min_distance=60, decimals=None)] == [
        "-0.2",
        "0.0",
        "0.2",
        "0.4",
        "0.6",
        "0.8",
        "1.0",
    ]


@pytest.mark.parametrize(
    ("value", "label"), [(0, "0"), (950, "950"), (1500, "1.5K"), (2e7, "20M"), (3e9, "3B"), (-1500, "-1.5K")]
)
def test_compact_labels(value: float, label: str) -> None:
    assert compact_label(value) == label


def labels(ts: np.ndarray) -> list[tuple[int, str]]:
    bars = BarScale(n_bars=ts.size, left=12, width=1104)
    return [(tick.bar, tick.label) for tick in time_ticks(ts, bars, min_distance=96)]


def test_times_are_labelled_at_bars_that_open_then() -> None:
    ts = MONDAY_NS + 5 * MINUTE_NS * np.arange(3, 153, dtype=np.int64)
    found = labels(ts)
    assert [label for _, label in found] == ["02:00", "04:00", "06:00", "08:00", "10:00", "12:00"]
    for bar, label in found:
        assert f"{(ts[bar] - MONDAY_NS) // MINUTE_NS // 60:02d}:00" == label


def test_a_new_day_is_dated_and_wins_over_a_near_time() -> None:
    first_day = MONDAY_NS + DAY_NS - 60 * MINUTE_NS + 5 * MINUTE_NS * np.arange(12, dtype=np.int64)
    after_weekend = MONDAY_NS + 3 * DAY_NS + 55 * MINUTE_NS + 5 * MINUTE_NS * np.arange(40, dtype=np.int64)
    found = dict(labels(np.concatenate((first_day, after_weekend))))
    assert found[12] == "4 Jan"  # the first bar of its day, although it opens at 00:55
    assert 13 not in found  # 01:00, one slot further


def test_days_months_and_years() -> None:
    found = labels(MONDAY_NS + DAY_NS * np.arange(700, dtype=np.int64))
    assert found[0] == (90, "Apr")
    assert (365, "2019") in found
    assert all((bar, label) != (0, "2018") for bar, label in found)


@pytest.mark.parametrize("n_bars", [1, 2, 3, 500, 1104])
@pytest.mark.parametrize("minutes", [1, 7, 60, 1440, 10_080])
def test_labels_keep_their_distance(n_bars: int, minutes: int) -> None:
    ts = MONDAY_NS + minutes * MINUTE_NS * np.arange(n_bars, dtype=np.int64)
    bars = BarScale(n_bars=n_bars, left=12, width=1104)
    columns = [int(bars.centres[tick.bar]) for tick in time_ticks(ts, bars, min_distance=96)]
    assert all(b - a >= 96 for a, b in itertools.pairwise(columns))
    assert len(columns) >= 1 or n_bars < 4
