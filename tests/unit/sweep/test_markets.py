"""Several markets in one sweep: the time they share, one currency, the pip of each, one count of trials."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.bars.schema import BarSet
from aiopt.errors import ConfigError, DataError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.market.instrument import instrument
from aiopt.ranking.ranking_config import RankingConfig, StressConfig
from aiopt.strategy.families import family
from aiopt.sweep.markets import check_one_currency, common_times, finest_of_each, span_lines, symbols_of
from aiopt.sweep.points import Strategy, judged_by, plan_context, plan_points
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.testing.bars import random_walk_bar_set
from aiopt.utc import HOUR_NS

CONFIG = SweepConfig(timeframes=("1h",), trials=3, walk_forward=WalkForwardConfig(train_segments=1, folds=1))
IN_DOLLARS = msgspec.structs.replace(CONFIG, backtest=BacktestConfig(account_currency="USD"))


def bars_of(symbol: str, *, first: int = 0, last: int = 400, timeframe: str = "1h") -> BarSet:
    """Return bars of a walk, under another name and at a tenth of the digits where it is quoted in yen."""
    made = random_walk_bar_set(400, seed=len(symbol) + ord(symbol[0]), timeframe=timeframe)
    traded = instrument(symbol)
    factor = 100.0 if traded.quote == "JPY" else 1.0
    sides = {}
    for side in ("bid", "ask"):
        arrays = getattr(made, side)
        prices = {
            name: np.round(getattr(arrays, name) * factor, traded.price_precision)
            for name in ("open", "high", "low", "close")
        }
        sides[side] = dataclasses.replace(arrays, instrument=symbol, **prices)
    return dataclasses.replace(made, instrument=traded, data_hash=f"{symbol} data", **sides).slice(
        first, last
    )


def test_one_market_is_named_in_no_trial() -> None:
    assert symbols_of([bars_of("EURUSD"), bars_of("EURUSD", timeframe="4h")]) == ()
    assert symbols_of([bars_of("GBPUSD"), bars_of("EURUSD")]) == ("GBPUSD", "EURUSD")
    (point, *_) = plan_points([Strategy(family("rsi_reversion").spec)], CONFIG)
    assert (point.series, point.trial_id, bool(point.instrument)) == ("1h", "rsi_reversion@1h-00000", False)


def test_each_market_gets_the_same_points_under_its_own_name() -> None:
    space = family("rsi_reversion")
    points = plan_points([Strategy(space.spec, space)], CONFIG, ("EURUSD", "USDJPY"))
    assert [point.trial_id for point in points[:3]] == [
        "rsi_reversion@EURUSD@1h-00000",
        "rsi_reversion@USDJPY@1h-00000",
        "rsi_reversion@EURUSD@1h-00001",
    ]
    assert [point.params for point in points[::2]] == [point.params for point in points[1::2]]
    only = Strategy(space.spec, space, instruments=("USDJPY",))
    assert {point.series for point in plan_points([only], CONFIG, ("EURUSD", "USDJPY"))} == {"USDJPY@1h"}


def test_the_plan_lies_in_the_time_that_all_share() -> None:
    early, late = bars_of("EURUSD", last=300), bars_of("GBPUSD", first=100)
    plan = plan_context({"EURUSD@1h": early, "GBPUSD@1h": late}, CONFIG).plan
    assert plan.start_ns == late.bid.ts_open_ns[0]
    assert plan.stop_ns == early.bid.ts_open_ns[-1] + HOUR_NS
    opens = {"EURUSD": early.bid.ts_open_ns, "GBPUSD": late.bid.ts_open_ns}
    assert span_lines(opens, plan.start_ns, plan.stop_ns) == [
        "EURUSD: 100 bars before 2018-01-05 04:00 only warm indicators up",
        "GBPUSD: 100 bars from 2018-01-17 12:00 on are not traded",
    ]


def test_every_time_at_which_one_market_was_quoted_counts() -> None:
    opens = {"A": np.array([0, 2, 4, 9]), "B": np.array([1, 3, 4, 7])}
    assert common_times(opens).tolist() == [1, 2, 3, 4, 7]
    assert common_times({"A": opens["A"]}) is opens["A"]


def test_markets_without_common_time_are_refused() -> None:
    early, late = bars_of("EURUSD", last=100), bars_of("GBPUSD", first=300)
    with pytest.raises(DataError, match=r"EURUSD ends .* and GBPUSD begins .* Give data of the same time"):
        plan_context({"EURUSD@1h": early, "GBPUSD@1h": late}, CONFIG)


def test_profits_in_two_currencies_are_refused_until_there_is_one_account() -> None:
    bars = {"EURUSD@1h": bars_of("EURUSD"), "USDJPY@1h": bars_of("USDJPY")}
    with pytest.raises(ConfigError, match=r"EURUSD in USD, USDJPY in JPY\. Set `backtest.account_currency`"):
        plan_context(bars, CONFIG)
    context = plan_context(bars, IN_DOLLARS)
    assert {name: terms.data_hash for name, terms in context.markets.items()} == {
        "EURUSD": "EURUSD data",
        "USDJPY": "USDJPY data",
    }
    check_one_currency([instrument("EURUSD"), instrument("GBPUSD")], None)


def test_the_cost_stress_takes_the_pip_of_each_market_in_the_account_money() -> None:
    bars = {"EURUSD@1h": bars_of("EURUSD"), "USDJPY@1h": bars_of("USDJPY")}
    stress = judged_by(bars, IN_DOLLARS).stress
    assert stress.pip_of("EURUSD") == 1e-4
    # A pip of 0.01 yen at some 120 yen a dollar.
    assert stress.pip_of("USDJPY") == pytest.approx(0.01 / bars["USDJPY@1h"].bid.close.mean(), rel=0.01)
    with pytest.raises(ConfigError, match=r"must name every market .* but not GBPUSD"):
        stress.pip_of("GBPUSD")


@pytest.mark.parametrize(
    ("stress", "message"),
    [
        (StressConfig(pip_size=1e-4), "is one pip, 0.0001, but the markets are EURUSD, USDJPY"),
        (StressConfig(pip_sizes={"EURUSD": 1e-4}), "must be the instruments' own"),
    ],
)
def test_a_stated_pip_that_is_not_the_markets_is_refused(stress: StressConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RankingConfig(stress=stress).with_pips({"EURUSD": 1e-4, "USDJPY": 1e-2})


def test_the_finest_bars_of_each_market() -> None:
    hour, four = bars_of("EURUSD"), bars_of("EURUSD", timeframe="4h")
    assert finest_of_each([four, hour]) == {"EURUSD": hour}
