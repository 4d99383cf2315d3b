"""Several markets in the configuration and on the command line: rules, precedence, identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.errors import ConfigError, InputError
from aiopt.optimize.configuration import (
    OptimizeConfig,
    default_run_id,
    load_optimize_config,
    load_strategies,
    run_identity,
)
from aiopt.optimize.market_config import MarketConfig, MarketCosts, parse_market
from aiopt.optimize.markets import check_currencies

TWO = "markets: [{instrument: EURUSD, ticks: a}, {instrument: GBPUSD, bars: b, costs: {slippage_ticks: 2}}]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "ab":
        (tmp_path / name).mkdir()
    return tmp_path


def load(folder: Path, text: str, **overrides: object) -> OptimizeConfig:
    path = folder / "c.yaml"
    path.write_text(text)
    return load_optimize_config(path, overrides)


def test_a_market_on_the_command_line() -> None:
    assert parse_market("GBPJPY, bars=x.zip,bars=y.zip,ask-bars=z.zip,conversion=u,commission=20") == {
        "instrument": "GBPJPY",
        "bars": ["x.zip", "y.zip"],
        "ask_bars": ["z.zip"],
        "conversion": "u",
        "costs": {"commission_per_million": 20.0},
    }
    assert parse_market("EURUSD") == {"instrument": "EURUSD"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bars=x", "begins with its instrument"),
        ("EURUSD,x.zip", "'x.zip' must be KEY=VALUE"),
        ("EURUSD,bar=x", "there is no 'bar'.*Did you mean 'bars'"),
        ("EURUSD,ticks=x,ticks=y", "ticks stands there twice"),
        ("EURUSD,commission=much", "commission is a number"),
    ],
)
def test_a_market_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_market(text)


def test_each_market_is_a_run_of_its_own(folder: Path) -> None:
    config = load(folder, TWO + "\nbacktest: {leverage: 5.0}\nsample: {seed: 3}")
    first, second = config.each_market
    assert (first.instrument, first.ticks, first.bars) == ("EURUSD", str(folder / "a"), ())
    assert (second.instrument, second.ticks, second.bars) == ("GBPUSD", None, (str(folder / "b"),))
    assert (first.backtest.slippage_ticks, second.backtest.slippage_ticks) == (0, 2)
    assert first.backtest.leverage == second.backtest.leverage == 5.0
    # Equal seeds would give equal walks.
    assert (first.sample.seed, second.sample.seed) == (3, 4)


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (TWO + "\nticks: a", {}, "`ticks` of a single market stand beside them"),
        (TWO + "\ninstrument: EURUSD", {}, "`instrument` of a single market"),
        (TWO, {"ticks": "a"}, "`ticks` of a single market"),
        ("ticks: a", {"markets": [{"instrument": "EURUSD"}], "bars": ["b"]}, "`bars` of a single market"),
        ("markets: [{instrument: EURUSD}, {instrument: EURUSD}]", {}, "`markets` has EURUSD twice"),
        ("markets: [{instrument: EURUSD, tick: a}]", {}, "Did you mean 'ticks'"),
        ("markets: [{instrument: EURUSD, ticks: a, bars: b}]", {}, "both ticks=.* and bars"),
        ("markets: [{instrument: EURUSD, costs: {leverage: 3}}]", {}, "Unknown key 'leverage'"),
    ],
)
def test_ambiguous_settings_are_refused(
    folder: Path, text: str, overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(folder, text, **overrides)


def test_a_path_that_is_not_there_names_its_market(folder: Path) -> None:
    with pytest.raises(InputError, match=r"No bars found at .*nothere. Check --market GBPUSD"):
        load(folder, "markets: [{instrument: EURUSD}, {instrument: GBPUSD, bars: nothere}]")


def test_markets_of_flags_replace_the_one_market_of_the_file(folder: Path) -> None:
    markets = [{"instrument": "EURUSD"}, {"instrument": "GBPUSD"}]
    config = load(folder, "ticks: a\ninstrument: USDJPY", markets=markets)
    assert [market.instrument for market in config.each_market] == ["EURUSD", "GBPUSD"]
    assert config.ticks is None


def test_a_list_of_one_market_is_a_run_of_one(folder: Path) -> None:
    listed = load(folder, "markets: [{instrument: GBPUSD, ticks: a, costs: {slippage_ticks: 1}}]")
    plain = load(folder, "ticks: a\ninstrument: GBPUSD\nbacktest: {slippage_ticks: 1}")
    assert listed == plain


def test_the_identity_of_one_market_knows_nothing_of_several() -> None:
    config = OptimizeConfig()
    identity = run_identity(config, load_strategies(config), "d")
    assert "markets" not in identity
    assert identity["instrument"] == "EURUSD"
    several = OptimizeConfig(markets=(MarketConfig(instrument="EURUSD"), MarketConfig(instrument="GBPUSD")))
    other = run_identity(several, load_strategies(several), "d", None, [{"instrument": "EURUSD"}])
    assert "instrument" not in other
    assert other["markets"] == [{"instrument": "EURUSD"}]
    assert default_run_id(identity) != default_run_id(other)


def test_currencies_are_checked_before_any_data_is_read() -> None:
    markets = (MarketConfig(instrument="EURUSD"), MarketConfig(instrument="USDJPY"))
    with pytest.raises(ConfigError, match="EURUSD in USD, USDJPY in JPY"):
        check_currencies(OptimizeConfig(markets=markets))
    check_currencies(OptimizeConfig(markets=markets, backtest=BacktestConfig(account_currency="USD")))


def test_costs_of_a_market_stand_over_those_of_all() -> None:
    common = BacktestConfig(commission_per_million=10.0, slippage_ticks=3)
    found = MarketCosts(slippage_ticks=0, extra_spread_pips=0.5).over(common)
    assert (found.commission_per_million, found.slippage_ticks, found.extra_spread_pips) == (10.0, 0, 0.5)
