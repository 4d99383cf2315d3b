"""The path of a stop that is drawn is the one at which the trade ended."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.document import backtest_document
from aiopt.backtest.pricing import chart_price
from aiopt.backtest.stop_paths import follow_stops
from aiopt.charts.trade_marks import read_trades
from aiopt.errors import ConfigError
from aiopt.screen.session import ScreenSession
from aiopt.strategy.spec import FixedSize, spec_from_mapping
from aiopt.testing.bars import random_walk_bar_set
from aiopt.testing.random_specs import random_spec
from aiopt.trades import FollowedTrade, StopMove

STOPS = {"stop_loss", "trailing", "break_even"}


def level_at_the_end(mark: FollowedTrade) -> float | None:
    return mark.stop_moves[-1].price if mark.stop_moves else mark.stop_price


# In research a stop slips.
@pytest.mark.parametrize(("mode", "tolerance"), [("research", 2.5e-5), ("parity", 1e-9)])
def test_a_trade_that_a_stop_ended_ended_on_its_path(mode: str, tolerance: float) -> None:
    bars = random_walk_bar_set(1_500, seed=5, timeframe="5m")
    bars = chart_price(bars) if mode == "parity" else bars
    seen: Counter[str] = Counter()
    for seed in range(1, 11):
        spec = msgspec.structs.replace(random_spec(seed, exits=True), size=FixedSize())
        result = ScreenSession(bars, BacktestConfig(mode=mode)).run(spec)
        for trade, mark in zip(result.trades, follow_stops(result.trades, spec, bars), strict=True):
            if not isinstance(mark, FollowedTrade):
                assert mark is trade
                continue
            assert all(trade.entry_ts_ns < move.ts_ns <= trade.exit_ts_ns for move in mark.stop_moves)
            sign = 1 if trade.side == "long" else -1
            levels = [move.price for move in mark.stop_moves]
            assert levels == sorted(levels, key=lambda price: sign * price), "a stop moves one way only"
            if trade.exit_reason not in STOPS:
                continue
            level = level_at_the_end(mark)
            assert level is not None
            # At the stop, or worse where the bar opened past it or the fill slipped.
            assert sign * trade.exit_price <= sign * level + 1e-9
            seen[trade.exit_reason] += 1
            seen["at the level"] += abs(trade.exit_price - level) < tolerance
            assert (trade.exit_reason == "stop_loss") == (level == trade.stop_price)
    assert all(seen[reason] > 5 for reason in STOPS), seen
    assert seen["at the level"] > 0.8 * sum(seen[reason] for reason in STOPS), seen


def test_without_a_stop_that_moves_trades_stay_what_they_are() -> None:
    bars = random_walk_bar_set(300, seed=2)
    spec = random_spec(3)
    result = ScreenSession(bars, BacktestConfig()).run(spec)
    assert follow_stops(result.trades, spec, bars) == result.trades
    document = backtest_document(spec, BacktestConfig(), bars, result)
    assert all("stop_moves" not in trade for trade in document["trades"])


def test_moves_come_back_from_the_file_of_a_backtest(tmp_path) -> None:
    bars = random_walk_bar_set(600, seed=4)
    trailing = {"distance": {"unit": "pips", "value": 3}}
    spec = spec_from_mapping(
        {"name": "walk", "entry_long": "close > open", "trailing_stop": trailing}, where="test"
    )
    result = ScreenSession(bars, BacktestConfig()).run(spec)
    path = tmp_path / "result.json"
    path.write_bytes(msgspec.json.encode(backtest_document(spec, BacktestConfig(), bars, result)))
    found = read_trades(path, "EURUSD")
    followed = follow_stops(result.trades, spec, bars)
    assert found[: len(followed)] == followed
    assert any(mark.stop_moves for mark in found if isinstance(mark, FollowedTrade))
    assert all(mark.stop_price is None for mark in found)


def test_moves_out_of_order_or_without_a_price_are_refused() -> None:
    known = {"entry_ts_ns": 10, "side": "long", "entry_price": 1.1}
    with pytest.raises(ConfigError, match="must be in the order of time and not before its entry"):
        FollowedTrade(**known, stop_moves=(StopMove(ts_ns=9, price=1.0),))
    with pytest.raises(ConfigError, match="it moves to price=nan"):
        StopMove(ts_ns=11, price=float("nan"))
