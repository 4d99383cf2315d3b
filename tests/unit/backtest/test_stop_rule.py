"""Which rule fills stops, and that results name it: ticks, a measured mean, an assumption, a setting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import add_spread, with_stop_slippage
from aiopt.backtest.stop_fills import stop_rule
from aiopt.bars.building.build import build
from aiopt.bars.files import load_bar_set
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.bars.schema import BarSet
from aiopt.bars.stops.stop_measuring import find_tick_store, measure_store
from aiopt.bars.stops.stop_slippage import StopSlippage
from aiopt.errors import ConfigError, DataError
from aiopt.market.instrument import instrument
from aiopt.testing.bars import random_walk_bars
from aiopt.testing.tick_stores import write_tick_store
from aiopt.ticks.manifest import read_manifest, write_manifest

MEASURED = StopSlippage(
    instrument="EURUSD",
    timeframe="1m",
    data_hash="made",
    synthetic=False,
    n=1234,
    mean_ticks=1.15,
    p95_ticks=3.0,
    max_ticks=200.0,
)


def store(folder: Path) -> Path:
    rng = np.random.default_rng(5)
    bid = np.round(1.1 + rng.integers(-6, 7, 2_000).cumsum() / 1e5, 5)
    ticks = pl.DataFrame(
        {
            "ts_event_ns": 1_700_000_040_000_000_000 + np.arange(2_000) * 7 * 10**9,
            "bid": bid,
            "ask": np.round(bid + 8e-5, 5),
            "bid_size": 1.0,
            "ask_size": 1.0,
        }
    )
    write_tick_store(folder, ticks)
    return folder


@pytest.fixture
def bars() -> BarSet:
    bid = random_walk_bars(50, seed=1)
    return add_spread(BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash), 0.8)


def test_without_ticks_one_tick_is_assumed_and_named(bars: BarSet) -> None:
    rule = stop_rule(bars, BacktestConfig())
    assert (rule.fills.basis, rule.fills.slippage_ticks, rule.slippage) == ("assumed", 1.0, 1e-5)
    assert rule.fills.text == "1 tick assumed: no ticks of EURUSD are known"


@pytest.mark.parametrize(("symbol", "tick"), [("USDJPY", 0.001), ("XAUUSD", 0.001), ("BTCUSD", 0.1)])
def test_a_tick_is_that_of_the_instrument(bars: BarSet, symbol: str, tick: float) -> None:
    other = replace(bars, instrument=instrument(symbol))
    assert stop_rule(other, BacktestConfig()).slippage == pytest.approx(tick)
    assert stop_rule(other, BacktestConfig(stop_slippage_ticks=2.5)).slippage == pytest.approx(2.5 * tick)


def test_a_measured_mean_is_used_and_renames_the_data(bars: BarSet) -> None:
    told = with_stop_slippage(bars, MEASURED)
    rule = stop_rule(told, BacktestConfig())
    assert rule.fills.basis == "measured"
    assert rule.fills.text == "measured mean 0.115 pip on 1,234 stops"
    assert rule.slippage == pytest.approx(1.15e-5)
    assert told.data_hash != bars.data_hash
    assert told.slice(3, 9).stops == MEASURED
    with pytest.raises(ConfigError, match=r"was measured on EURUSD, but GBPUSD is traded"):
        with_stop_slippage(replace(bars, instrument=instrument("GBPUSD")), MEASURED)
    with pytest.raises(ConfigError, match=r"must be measured on GBPUSD, but is of EURUSD"):
        stop_rule(replace(told, instrument=instrument("GBPUSD")), BacktestConfig())


def test_a_setting_goes_before_everything_and_parity_before_it(bars: BarSet, tmp_path: Path) -> None:
    build(
        store(tmp_path / "ticks"),
        tmp_path / "bars",
        BarRequest(parse_bar_rules("time", "1m"), ("bid", "ask")),
    )
    built = load_bar_set(tmp_path / "bars")
    assert stop_rule(built, BacktestConfig()).fills.basis == "ticks"
    assert stop_rule(built, BacktestConfig()).ladder is built.stops
    for given in (built, bars, with_stop_slippage(bars, MEASURED)):
        rule = stop_rule(given, BacktestConfig(stop_slippage_ticks=0.0))
        assert (rule.fills.basis, rule.slippage, rule.ladder) == ("configured", 0.0, None)
        parity = stop_rule(given, BacktestConfig(mode="parity", stop_slippage_ticks=3.0))
        assert (parity.fills.basis, parity.slippage, parity.ladder) == ("stop_price", 0.0, None)
    with pytest.raises(ConfigError, match="need no measured slippage"):
        with_stop_slippage(built, MEASURED)


def test_the_setting_decides_the_configuration_and_has_bounds() -> None:
    assert BacktestConfig().config_hash != BacktestConfig(stop_slippage_ticks=1.0).config_hash
    with pytest.raises(ConfigError, match=r"stop_slippage_ticks <= 1000.*stop_slippage_ticks=-1"):
        BacktestConfig(stop_slippage_ticks=-1)


def test_a_store_is_measured_whatever_the_bars(tmp_path: Path) -> None:
    ticks = store(tmp_path / "ticks")
    found = measure_store(ticks)
    assert found.n > 1_000
    assert (found.instrument, found.timeframe, found.synthetic) == ("EURUSD", "1m", True)
    # Moves of -6 … 6 ticks: the records are 1 to 6 ticks apart.
    assert 0 < found.mean_ticks < 3
    assert found.max_ticks == 5
    assert measure_store(ticks, "15m").mean_ticks == pytest.approx(found.mean_ticks, abs=0.3)


def test_a_store_is_found_in_the_usual_place_alone(tmp_path: Path) -> None:
    assert find_tick_store("EURUSD", tmp_path) is None
    folder = store(tmp_path / "data" / "ticks" / "EURUSD")
    assert find_tick_store("EURUSD", tmp_path) is None, "generated ticks are no market"
    write_manifest(folder, msgspec.structs.replace(read_manifest(folder), synthetic=False))
    assert find_tick_store("EURUSD", tmp_path) == folder
    assert find_tick_store("GBPUSD", tmp_path) is None


def test_ticks_that_never_move_measure_nothing(tmp_path: Path) -> None:
    still = pl.DataFrame(
        {"ts_event_ns": [10**18, 10**18 + 1], "bid": 1.1, "ask": [1.2, 1.2], "bid_size": 1.0, "ask_size": 1.0}
    )
    write_tick_store(tmp_path / "ticks", still)
    with pytest.raises(DataError, match=r"measured on quotes that move"):
        measure_store(tmp_path / "ticks")
