"""The assumptions of the paper venue: a backtest's, as far as quotes leave room for them."""

from __future__ import annotations

import pickle

import pytest

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.swap import SwapConfig, SwapPoints
from aiopt.config import decode
from aiopt.errors import ConfigError
from aiopt.live.paper.paper_config import PaperConfig


def test_a_backtests_assumptions_are_taken_over() -> None:
    swap = SwapConfig(points={"EURUSD": SwapPoints(long=-0.7, short=0.1)})
    config = BacktestConfig(
        initial_balance=5_000.0,
        leverage=10.0,
        commission_per_million=20.0,
        slippage_ticks=2,
        extra_spread_pips=0.3,
        swap=swap,
    )
    paper = PaperConfig.like(config, account_currency="USD", units_per_quote=500)
    assert paper == PaperConfig(
        account_currency="USD",
        initial_balance=5_000.0,
        leverage=10.0,
        commission_per_million=20.0,
        slippage_ticks=2,
        extra_spread_pips=0.3,
        swap=swap,
        units_per_quote=500,
    )
    assert pickle.loads(pickle.dumps(paper)) == paper
    assert (
        PaperConfig.like(BacktestConfig(account_currency="EUR"), account_currency="USD").account_currency
        == "EUR"
    )


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (BacktestConfig(mode="parity"), "mode is research"),
        (BacktestConfig(stop_slippage_ticks=1.0), "stop_slippage_ticks is left out"),
        (BacktestConfig(entry_delay_bars=1), "entry_delay_bars is 0"),
    ],
)
def test_what_ticks_decide_cannot_be_assumed(config: BacktestConfig, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        PaperConfig.like(config, account_currency="USD")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"account_currency": "usd"}, "three capital letters"),
        ({"initial_balance": 0.0}, "0 < initial_balance < inf"),
        ({"leverage": 2_000.0}, "leverage=2000"),
        ({"commission_per_million": 1.00001}, "at most four decimals"),
        ({"slippage_ticks": -1}, "slippage_ticks=-1"),
        ({"extra_spread_pips": float("nan")}, "extra_spread_pips=nan"),
        ({"units_per_quote": 0}, "units_per_quote=0"),
        ({"slipage_ticks": 1}, "Did you mean 'slippage_ticks'"),
    ],
)
def test_a_wrong_assumption_is_refused(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        decode({"account_currency": "USD", **values}, PaperConfig, where="paper")
