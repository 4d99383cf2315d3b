"""Pattern detectors on a real year: the properties hold there, and every kind occurs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aiopt.patterns import PATTERN_KINDS, Prices, find_patterns, zigzag
from tests.engine.real_bars import histdata_minutes

N_BARS = 60_000
TOP = 400_000


@pytest.fixture(scope="module")
def prices(shared_data: Path) -> Prices:
    """Minute bars of early 2018 in whole ticks, so that mirroring is exact."""
    bars = histdata_minutes(shared_data, N_BARS).bid
    return Prices(*(np.rint(getattr(bars, name) * 1e5) for name in ("open", "high", "low", "close")))


def test_real_bars_hold_every_kind_and_mirror_exactly(prices: Prices) -> None:
    found = find_patterns(prices)
    assert {pattern.kind for pattern in found} == set(PATTERN_KINDS)
    key = [(p.confirmed_bar, p.first_bar, p.last_bar, p.kind) for p in found]
    turned = [
        (p.confirmed_bar, p.first_bar, p.last_bar, PATTERN_KINDS[p.kind].mirror)
        for p in find_patterns(prices.mirrored(TOP))
    ]
    assert sorted(key) == sorted(turned)


@pytest.mark.parametrize("cut", [1, 777, 12_345, 31_415, 59_999])
def test_later_bars_change_nothing(prices: Prices, cut: int) -> None:
    head = prices.head(cut)
    assert find_patterns(head) == [p for p in find_patterns(prices) if p.confirmed_bar < cut]
    assert zigzag(head) == [p for p in zigzag(prices) if p.confirmed_bar < cut]
