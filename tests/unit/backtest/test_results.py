from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.backtest.money import to_amount
from aiopt.backtest.results import (
    FIGURE_PERIOD_NS,
    compute_metrics,
    equity_curve,
    pnl_by_period,
)
from aiopt.errors import MetricInputError
from aiopt.trades import OpenTrade, Trade


def trade(entry_bar, exit_bar, entry_price, exit_price, side="long", size=1000.0, commission=0.0):
    sign = 1 if side == "long" else -1
    return Trade(
        entry_bar=entry_bar,
        exit_bar=exit_bar,
        entry_ts_ns=entry_bar,
        exit_ts_ns=exit_bar,
        side=side,
        entry_price=entry_price,
        exit_price=exit_price,
        size=size,
        exit_reason="exit_signal",
        pnl=round(sign * (exit_price - entry_price) * size - commission, 8),
        commission=commission,
    )


def bookings(*pairs):
    return [(bar, to_amount(value)) for bar, value in pairs]


BID = np.array([1.00, 1.01, 1.02, 1.00, 0.99])
ASK = BID + 0.001


def test_equity_is_balance_plus_open_profit_marked_on_the_side_that_closes():
    trades = [trade(0, 2, 1.001, 1.02, commission=0.5), trade(3, 4, 1.00, 0.991, "short", commission=0.2)]
    booked = bookings((0, -0.25), (2, 18.75), (3, -0.1), (4, 8.9))
    equity = equity_curve(trades, [], initial_balance=1000.0, bookings=booked, bid_close=BID, ask_close=ASK)
    expected = [
        1000.0,
        1000.0 - 0.25 + (1.00 - 1.001) * 1000,
        1000.0 - 0.25 + (1.01 - 1.001) * 1000,
        1000.0 - 0.5 + 19.0,
        1018.5 - 0.1 + (1.00 - 1.001) * 1000,
        1018.5 - 0.2 + 9.0,
    ]
    np.testing.assert_allclose(equity, expected, rtol=0, atol=1e-9)
    assert equity[-1] == pytest.approx(1000.0 + sum(t.pnl for t in trades))


def test_an_open_position_is_marked_to_the_last_close():
    held = OpenTrade(entry_bar=3, entry_ts_ns=3, side="short", entry_price=1.0, size=1000.0, commission=0.1)
    booked = bookings((3, -0.1))
    equity = equity_curve([], [held], initial_balance=1000.0, bookings=booked, bid_close=BID, ask_close=ASK)
    assert equity[-1] == pytest.approx(1000.0 - 0.1 + (1.0 - 0.991) * 1000)
    assert (equity[:4] == 1000.0).all()


@given(st.lists(st.integers(0, 400), min_size=1, max_size=30, unique=True), st.integers(1, 50))
def test_profit_by_period_adds_up_and_lands_in_its_period(times, period):
    ts = np.array(sorted(times), dtype=np.int64)
    steps = np.arange(1.0, ts.size + 1)
    equity = np.concatenate([[100.0], 100.0 + np.cumsum(steps)])
    profit = pnl_by_period(equity, ts, period)
    assert profit.size == ts[-1] // period - ts[0] // period + 1
    for index, value in enumerate(profit):
        inside = ts // period == ts[0] // period + index
        assert value == pytest.approx(steps[inside].sum())


def test_profit_by_period_takes_a_given_span_and_leaves_bars_outside_out():
    ts = np.array([0, 10, 20, 30], dtype=np.int64)
    equity = np.array([0.0, 1.0, 3.0, 6.0, 10.0])
    assert pnl_by_period(equity, ts, 10, start_ns=10, end_ns=30).tolist() == [2.0, 3.0]
    assert pnl_by_period(equity, ts, 10, start_ns=20, end_ns=60).tolist() == [3.0, 4.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("equity", "ts", "period", "rule"),
    [
        ([1.0], [], 10, "one element more"),
        ([1.0, 2.0], [1, 2], 10, "one element more"),
        ([1.0, 2.0], [1], 0, "period_ns > 0"),
    ],
)
def test_profit_by_period_refuses_arrays_that_do_not_match(equity, ts, period, rule):
    with pytest.raises(MetricInputError, match=rule):
        pnl_by_period(np.array(equity), np.array(ts, dtype=np.int64), period)


def test_figures_of_a_known_list_of_trades():
    ts = np.arange(5, dtype=np.int64) * FIGURE_PERIOD_NS
    trades = [trade(0, 1, 1.00, 1.01), trade(2, 3, 1.01, 1.00), trade(4, 4, 1.0, 1.02)]
    equity = equity_curve(
        trades,
        [],
        initial_balance=1000.0,
        bookings=bookings(*((trade.exit_bar, trade.pnl) for trade in trades)),
        bid_close=BID,
        ask_close=BID,
    )
    figures = compute_metrics(trades, equity, ts)
    assert (figures.trades, figures.wins) == (3, 2)
    assert figures.net_profit == 20.0
    assert figures.gross_profit == 30.0
    assert figures.gross_loss == -10.0
    assert figures.profit_factor == pytest.approx(3.0)
    assert figures.average_bars == pytest.approx((2 + 2 + 1) / 3)
    assert figures.exposure == pytest.approx(2 / 5)
    assert figures.final_equity == 1020.0


def test_without_trades_ratios_are_not_defined():
    ts = np.arange(5, dtype=np.int64) * FIGURE_PERIOD_NS
    figures = compute_metrics([], np.full(6, 1000.0), ts)
    assert figures.trades == 0
    assert all(math.isnan(value) for value in (figures.profit_factor, figures.win_rate, figures.sharpe_ratio))


def test_a_ruined_account_has_figures_but_no_fraction_of_its_peak():
    ts = np.arange(2, dtype=np.int64)
    figures = compute_metrics([], np.array([100.0, 50.0, -1.0]), ts)
    assert math.isnan(figures.max_drawdown)
    assert figures.max_drawdown_amount == 101.0
    assert figures.return_fraction == pytest.approx(-1.01)
