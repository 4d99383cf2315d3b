"""Runs on bars keep what is known of their stops: the ladder of their own ticks, or a measured mean."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from aiopt.bars.building.build import build
from aiopt.bars.files import load_bar_set
from aiopt.bars.importing.bar_input import open_bars
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import time_rules
from aiopt.bars.spread_model import SpreadConfig, estimate_spread_model, write_spread_model
from aiopt.bars.stops.stop_files import STOPS_NAME, read_stop_table
from aiopt.bars.stops.stop_ladders import StopLadder
from aiopt.bars.stops.stop_measuring import measure_store
from aiopt.bars.stops.stop_slippage import SLIPPAGE_NAME, StopSlippage
from aiopt.errors import DataError
from aiopt.testing.tick_stores import write_tick_store
from aiopt.timeframe import parse_timeframe

MINUTE, FIVE = parse_timeframe("1m"), parse_timeframe("5m")
START_NS = 1_709_553_600_000_000_000  # a Monday, 12:00 UTC


def store(folder: Path, *, start_ns: int = START_NS, seed: int = 5) -> Path:
    rng = np.random.default_rng(seed)
    bid = np.round(1.1 + rng.integers(-6, 7, 3_000).cumsum() / 1e5, 5)
    ticks = {
        "ts_event_ns": start_ns + np.arange(3_000) * 7 * 10**9,
        "bid": bid,
        "ask": np.round(bid + 8e-5, 5),
        "bid_size": np.ones(3_000),
        "ask_size": np.ones(3_000),
    }
    write_tick_store(folder, pl.DataFrame(ticks))
    return folder


def built(ticks: Path, out: Path, prices: tuple[str, ...] = ("bid", "ask")) -> Path:
    build(ticks, out, BarRequest(time_rules((MINUTE, FIVE)), prices))
    return out / "EURUSD"


def test_own_bars_bring_their_ladder_into_longer_ones(tmp_path: Path) -> None:
    own = built(store(tmp_path / "ticks"), tmp_path / "bars")
    given = open_bars([own / "1m"], timeframes=[MINUTE, FIVE])
    given.write(tmp_path / "run", [MINUTE, FIVE])
    for label in ("1m", "5m"):
        ours = load_bar_set(tmp_path / "run" / "EURUSD" / label)
        assert isinstance(ours.stops, StopLadder)
        written = read_stop_table(tmp_path / "run" / "EURUSD" / label / STOPS_NAME)
        assert written.content_sha256() == read_stop_table(own / label / STOPS_NAME).content_sha256()
    (own / "1m" / STOPS_NAME).unlink()
    without = open_bars([own / "1m"], timeframes=[MINUTE])
    assert without.stops is None
    assert without.manifest.data_hash != given.manifest.data_hash, "other stops are other results"


def test_several_folders_and_spread_models_bring_a_measure(tmp_path: Path) -> None:
    first = built(store(tmp_path / "a"), tmp_path / "first")
    second = built(store(tmp_path / "b", start_ns=START_NS + 86_400 * 10**9, seed=6), tmp_path / "second")
    both = open_bars([first / "1m", second / "1m"], timeframes=[FIVE])
    assert isinstance(both.stops, StopSlippage)
    both.write(tmp_path / "run", [FIVE])
    assert load_bar_set(tmp_path / "run" / "EURUSD" / "5m").stops == both.stops
    measured = measure_store(tmp_path / "a")
    model = msgspec.structs.replace(estimate_spread_model(tmp_path / "a"), stops=measured)
    write_spread_model(tmp_path / "spread.yaml", model)
    bid = built(tmp_path / "a", tmp_path / "bid", ("bid",)) / "1m"
    one_sided = open_bars([bid], timeframes=[MINUTE], spread=SpreadConfig(file=str(tmp_path / "spread.yaml")))
    assert one_sided.stops == model.stops
    assert open_bars([bid], timeframes=[MINUTE], spread=SpreadConfig(pips=0.8)).stops is None
    # A bid file with another ask is no longer the market of its ladder, whose mean still holds.
    beside = open_bars([first / "1m" / "bid.parquet"], timeframes=[FIVE], spread=SpreadConfig(pips=0.8))
    assert isinstance(beside.stops, StopSlippage)


def test_a_measure_of_another_instrument_or_a_broken_one_is_refused(tmp_path: Path) -> None:
    own = built(store(tmp_path / "ticks"), tmp_path / "bars") / "1m"
    measured = measure_store(tmp_path / "ticks")
    (own / STOPS_NAME).unlink()
    (own / SLIPPAGE_NAME).write_bytes(msgspec.json.encode(measured))
    assert load_bar_set(own).stops == measured
    (own / SLIPPAGE_NAME).write_bytes(
        msgspec.json.encode(msgspec.structs.replace(measured, instrument="USDJPY"))
    )
    with pytest.raises(DataError, match=r"must be measured on EURUSD, but is of USDJPY"):
        load_bar_set(own)
    (own / SLIPPAGE_NAME).write_bytes(b"{}")
    with pytest.raises(DataError, match=r"must be what aiopt wrote"):
        load_bar_set(own)
