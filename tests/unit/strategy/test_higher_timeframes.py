"""What a higher timeframe may be, in a spec and on bars."""

from __future__ import annotations

import msgspec
import pytest

from aiopt.errors import SpecError
from aiopt.screen.columns import Columns
from aiopt.screen.series_rows import SeriesRows
from aiopt.strategy.signals import compute_indicators
from aiopt.strategy.spec import StrategySpec
from aiopt.testing.bars import random_walk_bar_set


def spec(timeframe: object, **more: object) -> StrategySpec:
    args = {"timeframe": timeframe, "length": 3}
    indicators = {"t": {"kind": "higher_ema", "args": args}}
    data = {"name": "s", "indicators": indicators, "entry_long": "close > t", **more}
    return StrategySpec.from_json(msgspec.json.encode(data))


def test_a_text_a_number_and_a_parameter_say_the_same() -> None:
    for one in (spec("1h"), spec("60m"), spec(60), spec("n", params={"n": 60})):
        assert one.resolved_args("t")["timeframe"] == 60
    swept = spec("n", params={"n": 60}).with_params({"n": 240})
    assert swept.resolved_args("t")["timeframe"] == 240


@pytest.mark.parametrize(
    ("timeframe", "message"),
    [
        ("1w", "indicator t: .*a number and one of s, m, h, d, but got '1w'"),
        ("90s", "timeframe must be whole minutes, but got '90s'"),
        ("2d", "`1 <= timeframe <= 1440` must hold, but got timeframe=2880"),
        (0, "`1 <= timeframe <= 1440` must hold"),
        (7.5, "timeframe must be a whole number"),
        ("hour", "timeframe names the parameter 'hour', which does not exist"),
    ],
)
def test_a_timeframe_that_is_none(timeframe: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec(timeframe)


@pytest.mark.parametrize(
    ("timeframe", "message"),
    [
        ("7m", "must be a multiple of the bars' length, but it is 7m and the bars are 5m. Choose e.g. 10m"),
        ("5m", "must be longer than the bars, but it is 5m and the bars are 5m. Choose e.g. 10m"),
        (1, "must be longer than the bars, but it is 1m and the bars are 5m"),
    ],
)
def test_bars_that_cannot_give_it(timeframe: object, message: str) -> None:
    bars = random_walk_bar_set(50, seed=1, timeframe="5m")
    with pytest.raises(SpecError, match=message):
        compute_indicators(spec(timeframe), bars.bid)
    with pytest.raises(SpecError, match=message):
        SeriesRows(bars, Columns(50, 10**6)).indicator_rows(spec(timeframe))
