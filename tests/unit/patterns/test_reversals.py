"""Double tops and heads with shoulders: known at the break of their line, the same bar by bar."""

from __future__ import annotations

import numpy as np
import pytest

from aiopt.bars.schema import BarArrays
from aiopt.patterns.bars import Prices
from aiopt.patterns.pivots import zigzag
from aiopt.patterns.reversals import DOUBLE_TOP, HEAD, REVERSALS, ReversalFinder, reversals
from aiopt.testing.bars import random_walk_bars
from tests.unit.patterns.swinging import swinging_bars


def prices_of(bars: BarArrays) -> Prices:
    return Prices(bars.open, bars.high, bars.low, bars.close)


def legs(*levels: float, step: float = 2.0) -> Prices:
    """Return bars without wicks that walk from level to level, so that every price is a whole number."""
    closes = [levels[0]]
    for level in levels[1:]:
        way = np.sign(level - closes[-1]) * step
        closes += list(np.arange(closes[-1] + way, level + way / 2, way))
    close = np.array(closes)
    opened = np.append(close[0], close[:-1])
    return Prices(opened, np.maximum(opened, close), np.minimum(opened, close), close)


def known(prices: Prices, kind: str) -> list[int]:
    return [one.confirmed_bar for one in reversals(prices, zigzag(prices)) if one.kind == kind]


def streamed(prices: Prices, kind: str) -> list[int]:
    finder = ReversalFinder(kind)
    rows = zip(prices.high, prices.low, prices.close, prices.unit, strict=True)
    return [bar for bar, row in enumerate(rows) if finder.update(*map(float, row))]


@pytest.mark.parametrize("kind", REVERSALS)
@pytest.mark.parametrize("seed", range(3))
def test_bar_by_bar_it_is_what_looking_at_all_bars_finds(kind: str, seed: int) -> None:
    counts = 0
    for bars in (swinging_bars(1500, seed=seed), random_walk_bars(1500, seed=seed)):
        prices = prices_of(bars)
        found = sorted(set(known(prices, kind)))
        assert streamed(prices, kind) == found
        counts += len(found)
    assert counts


@pytest.mark.parametrize(
    ("levels", "kind"),
    [
        ((0, 40, 20, 40, 10), DOUBLE_TOP),
        ((80, 40, 60, 40, 70), "double_bottom"),
        ((0, 40, 20, 60, 20, 40, 10), HEAD),
        ((80, 40, 60, 20, 60, 40, 70), "inverse_head_and_shoulders"),
    ],
)
def test_it_is_known_at_the_first_close_beyond_its_line(levels: tuple[int, ...], kind: str) -> None:
    prices = legs(*levels)
    line = 60 if kind in ("double_bottom", "inverse_head_and_shoulders") else 20
    beyond = 62 if line == 60 else 18
    (bar,) = known(prices, kind)
    assert (prices.close[bar - 1], prices.close[bar]) == (line, beyond), "a close on the line breaks nothing"
    assert streamed(prices, kind) == [bar]


@pytest.mark.parametrize(
    ("levels", "kind"), [((0, 40, 20, 40, 20, 50), DOUBLE_TOP), ((0, 40, 20, 44, 10), HEAD)]
)
def test_a_line_that_is_only_touched_and_tops_too_far_apart_make_none(
    levels: tuple[int, ...], kind: str
) -> None:
    prices = legs(*levels)
    assert known(prices, kind) == streamed(prices, kind) == []


def test_a_sloping_line_is_broken_where_it_is_then() -> None:
    """The lows between lie at 20 and 24, 36 bars apart: the line has risen further when it is broken."""
    prices = legs(0, 40, 20, 60, 24, 44, 10)
    (bar,) = known(prices, HEAD)
    lows = [pivot for pivot in zigzag(prices) if pivot.kind == "low"][-2:]
    assert [pivot.price for pivot in lows] == [20, 24]
    line = 24 + 4 * (np.arange(len(prices)) - lows[1].bar) / (lows[1].bar - lows[0].bar)
    assert prices.close[bar] < line[bar]
    assert prices.close[bar - 1] >= line[bar - 1]
    assert line[bar] > 24
    assert streamed(prices, HEAD) == [bar]


def test_a_line_waits_as_long_as_the_pattern_took_and_no_longer() -> None:
    """The second top comes 20 bars after the first: a break 20 bars behind it counts, one of 21 does not."""
    for pause, found in ((9, 1), (10, 0)):
        prices = legs(0, 40, 20, 40, 20)
        close = np.concatenate([prices.close, [20.0] * pause, [18.0, 16.0]])
        opened = np.append(close[0], close[:-1])
        longer = Prices(opened, np.maximum(opened, close), np.minimum(opened, close), close)
        assert len(known(longer, DOUBLE_TOP)) == len(streamed(longer, DOUBLE_TOP)) == found, pause


@pytest.mark.parametrize("kind", REVERSALS)
def test_prices_to_come_change_nothing(kind: str) -> None:
    prices = prices_of(swinging_bars(900, seed=7))
    for length in (300, 431, 600):
        assert known(prices.head(length), kind) == [bar for bar in known(prices, kind) if bar < length]
