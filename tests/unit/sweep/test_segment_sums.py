"""Sums per segment must be `numpy.bincount`'s, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from aiopt.sweep.segment_sums import COUNTS, SUMS, sum_segments


def summed(segment: np.ndarray, pnl: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    commission, units = np.abs(pnl) * 0.01, np.round(pnl * 1000.0)
    nights = np.arange(segment.size, dtype=np.int64) % 3
    counts, sums = np.zeros((COUNTS, n), dtype=np.int64), np.zeros((SUMS, n))
    sum_segments(segment, pnl, commission, units, nights, counts, sums)
    return counts, sums


def test_sums_are_those_of_bincount() -> None:
    draw = np.random.default_rng(3)
    segment = np.sort(draw.integers(0, 5, 4_000))
    pnl = np.where(draw.random(4_000) < 0.1, 0.0, draw.normal(0.0, 3.0, 4_000))
    counts, sums = summed(segment, pnl, 6)
    weights = [
        np.where(pnl > 0, pnl, 0.0),
        np.where(pnl < 0, -pnl, 0.0),
        np.abs(pnl) * 0.01,
        np.round(pnl * 1000.0),
    ]
    assert sums.tolist() == [np.bincount(segment, weights=one, minlength=6).tolist() for one in weights]
    nights = np.bincount(segment, weights=np.arange(4_000) % 3, minlength=6)
    expected = [np.bincount(segment, minlength=6), np.bincount(segment[pnl > 0], minlength=6), nights]
    assert counts.tolist() == [one.tolist() for one in expected]


@pytest.mark.parametrize("segment", [-1, 2])
def test_a_trade_outside_of_all_segments_is_refused(segment: int) -> None:
    with pytest.raises(IndexError, match="lies in no segment"):
        summed(np.array([0, segment]), np.array([1.0, 2.0]), 2)
