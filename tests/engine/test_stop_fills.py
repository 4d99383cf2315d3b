"""Stops fill where the ticks say: the same price and tick as NautilusTrader finds on single ticks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.session import BacktestSession
from aiopt.backtest.signals import StreamedSignals
from aiopt.bars.building.build import build
from aiopt.bars.files import load_bar_set
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.bars.schema import BarSet
from aiopt.strategy.signals import SignalArrays
from aiopt.testing.broker import simulate
from aiopt.ticks.importing import open_ticks
from aiopt.ticks.sample import generate_ticks
from tests.engine.test_backtest import ScriptedSignals, key

TICK = 1e-5
FREE = {"commission_per_million": 0.0}
REPLAY = Path(__file__).with_name("tick_replay.py")


def ticks_of(store: Path) -> dict[str, np.ndarray]:
    frame = pl.read_parquet(store / "instrument=*" / "**" / "*.parquet", hive_partitioning=False)
    return {name: frame[name].to_numpy() for name in ("ts_event_ns", "bid", "ask")}


def bars_of(store: Path, out: Path, label: str) -> BarSet:
    build(store, out, BarRequest(parse_bar_rules("time", label), ("bid", "ask")))
    return load_bar_set(out, timeframe=label)


def script_of(bars: BarSet, seed: int, *, every: int, targets: bool) -> SignalArrays:
    """Entries at random, stops a few ticks to a few pips from the close, some on the next extreme."""
    rng = np.random.default_rng(seed)
    n_bars = len(bars)
    kind = rng.integers(0, 2 * every, n_bars)
    distance = rng.integers(1, 30, n_bars) * TICK
    far = np.where(rng.random(n_bars) < 0.5, rng.integers(20, 80, n_bars) * TICK, np.nan)
    close = bars.bid.close
    stop_long, stop_short = np.round(close - distance, 5), np.round(close + distance + 8 * TICK, 5)
    touch = rng.random(n_bars - 1) < 0.2
    stop_long[:-1] = np.where(touch, bars.bid.low[1:], stop_long[:-1])
    stop_short[:-1] = np.where(touch, bars.ask.high[1:], stop_short[:-1])
    none = np.full(n_bars, np.nan)
    return SignalArrays(
        entry_long=kind == 0,
        entry_short=kind == 1,
        exit_long=rng.integers(0, 90, n_bars) == 0,
        exit_short=rng.integers(0, 90, n_bars) == 0,
        stop_long=stop_long,
        target_long=np.round(close + far, 5) if targets else none,
        stop_short=stop_short,
        target_short=np.round(close - far, 5) if targets else none,
        units=np.full(n_bars, 1000.0),
        ready=np.ones(n_bars, dtype=bool),
        indicators={},
    )


def replayed(
    folder: Path, ticks: dict[str, np.ndarray], bars: BarSet, script: SignalArrays, trades: list
) -> list:
    """Return time and price at which NautilusTrader stops the trades on single ticks."""
    opens = np.searchsorted(ticks["ts_event_ns"], bars.bid.ts_open_ns)
    long = np.array([trade.side == "long" for trade in trades])
    # The entry fills at the open of the bar after its signal's; bars without ticks are none.
    signal = np.array([trade.entry_bar - 1 for trade in trades])
    stops = np.where(long, script.stop_long[signal], script.stop_short[signal])
    path = folder / "work.npz"
    np.savez(
        path,
        ts=ticks["ts_event_ns"],
        bid=np.rint(ticks["bid"] / TICK).astype(np.int64),
        ask=np.rint(ticks["ask"] / TICK).astype(np.int64),
        decimals=5,
        tick=opens[[trade.entry_bar for trade in trades]],
        long=long,
        units=np.array([int(trade.size) for trade in trades]),
        stop=np.rint(stops / TICK).astype(np.int64),
    )
    done = subprocess.run(
        [sys.executable, str(REPLAY), str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_against_ticks(folder: Path, store: Path, bars: BarSet, script: SignalArrays) -> int:
    """Hold every stop fill against the replay of single ticks; return how many there were."""
    ticks = ticks_of(store)
    with BacktestSession(bars, BacktestConfig(**FREE)) as session:
        result = session.run_signals("script", script)
        streamed = session._run("script", StreamedSignals(ScriptedSignals(script)), None, None)
    assert result.stop_fills.basis == "ticks"
    assert streamed.trades == result.trades
    stopped = [trade for trade in result.trades if trade.exit_reason == "stop_loss"]
    fills = replayed(folder, ticks, bars, script, stopped)
    opens = np.searchsorted(ticks["ts_event_ns"], bars.bid.ts_open_ns)
    for trade, fill in zip(stopped, fills, strict=True):
        assert fill is not None, trade
        ts_ns, steps = fill
        assert trade.exit_price == round(steps * TICK, 5), trade
        assert np.searchsorted(bars.bid.ts_open_ns, ts_ns, side="right") - 1 == trade.exit_bar, trade
    # The broker of the tests looks at one quote after the other.
    edges = [*opens.tolist(), ticks["bid"].size]

    def first_quote(bar: int, stop: float, long: bool) -> float:
        quotes = ticks["bid" if long else "ask"][edges[bar] : edges[bar + 1]]
        return float(next(quote for quote in quotes if (quote <= stop if long else quote >= stop)))

    expected = simulate(
        script,
        bars,
        pine_entry_bar=False,
        flatten_bars={len(bars) - 1},
        flatten_reason="end_of_data",
        stop_fill=first_quote,
    )
    assert [key(trade) for trade in result.trades] == [key(trade) for trade in expected]
    return len(stopped)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("week") / "ticks"
    generate_ticks(store, start="2024-03-04", days=5, ticks_per_day=16_000, seed=3)
    return store


def test_a_thousand_stops_fill_at_the_tick_at_which_the_engine_fills_them(week: Path, tmp_path: Path) -> None:
    bars = bars_of(week, tmp_path / "bars", "1m")
    found = check_against_ticks(tmp_path, week, bars, script_of(bars, 1, every=2, targets=True))
    assert found >= 1_000


def test_longer_bars_look_up_the_same_ticks(week: Path, tmp_path: Path) -> None:
    bars = bars_of(week, tmp_path / "bars", "15m")
    assert check_against_ticks(tmp_path, week, bars, script_of(bars, 2, every=1, targets=False)) >= 100


def test_real_stops_fill_where_the_ticks_say(shared_data: Path, tmp_path: Path) -> None:
    store = open_ticks(shared_data / "oanda" / "tick" / "eurusd", tmp_path / "cache", instrument="EURUSD")
    bars = bars_of(store, tmp_path / "bars", "1m")
    found = check_against_ticks(tmp_path, store, bars, script_of(bars, 4, every=1, targets=True))
    assert found >= 1_000
