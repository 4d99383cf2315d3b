"""What a backtest returns: trades, equity, figures.  Knows nothing of the engine that made them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.money import Amount, to_amount, to_float
from aiopt.backtest.stop_fills import StopFills
from aiopt.errors import MetricInputError
from aiopt.evaluation import metrics
from aiopt.strategy.reading_gate import ReadingsOnBars
from aiopt.trades import OpenTrade, Trade
from aiopt.utc import HOUR_NS

FIGURE_PERIOD_NS = HOUR_NS
"""Ratios in `Metrics` are taken over hourly profit, so that timeframes compare."""

_MONEY_DECIMALS = 8
"""Equity is rounded to this, which removes the float noise of open profits far below a cent."""
_TOTAL_DECIMALS = 12
"""Sums over trades are rounded to this: each trade's amounts are exact, and a small account's count too."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Figures of one backtest; NaN where not defined (no trades, no losses).

    Attributes
    ----------
    trades, wins : int
        Closed trades, and those with a profit after commission and swap.
    net_profit, gross_profit, gross_loss, commission, swap : float
        Account currency.  Gross figures are sums of trades after all costs; `gross_loss` is not positive.
        `commission` is paid; `swap` is negative where it was paid.
    held_over, nights : int
        Trades held over 17:00 New York, and their nights, charged or not.
    final_equity, return_fraction : float
        Equity at the last close, and its change as a fraction of the initial balance.
    profit_factor, win_rate, expectancy, payoff_ratio : float
        See `aiopt.evaluation.metrics`.
    max_drawdown, max_drawdown_amount : float
        Fraction of the peak, in (-1, 0], and account currency, on equity marked at every close.  There is no
        fraction of an account that is lost: NaN.
    sharpe_ratio, sortino_ratio : float
        Annualised, over hourly profit (hours without a position count, as 0).
    exposure : float
        Share of bars with a position at their close.
    average_bars : float
        Mean of ``exit_bar - entry_bar + 1``.
    longest_losing_streak : int
        Trades.
    """

    trades: int
    wins: int
    net_profit: float
    gross_profit: float
    gross_loss: float
    commission: float
    swap: float
    held_over: int
    nights: int
    final_equity: float
    return_fraction: float
    profit_factor: float
    win_rate: float
    expectancy: float
    payoff_ratio: float
    max_drawdown: float
    max_drawdown_amount: float
    sharpe_ratio: float
    sortino_ratio: float
    exposure: float
    average_bars: float
    longest_losing_streak: int


@dataclass(frozen=True, eq=False)
class TrialResult:
    """Everything one backtest found, with what is needed to run it again.

    Attributes
    ----------
    spec_hash, config_hash, data_hash : str
        Of the spec, the assumptions and the bars.
    seed : int
        From the configuration.
    trades : list of Trade
        In the order of their exits.
    open_trade : OpenTrade or None
        A position that was still open (parity mode); the oldest entry where several were.
    equity : ndarray of shape (n_bars + 1,), float64, account currency
        Element 0 is the initial balance; element i + 1 is balance plus open profit at the close of bar i, a
        long marked at the bid and a short at the ask.  Over several segments it is their profits one after
        the other, though each segment's account begins with the initial balance.
    metrics : Metrics
        Figures of all trades.
    refused_bars, capped_bars : tuple of int
        Signal bars whose entry the margin refused, and whose size by risk it cut.
    ruined_bars : tuple of int
        Bars on which an account was found lost; at most one per segment.
    stop_fills : StopFills
        By which rule stops were filled.
    added_trades : tuple of OpenTrade
        Entries that were added to `open_trade` and still open.
    readings : dict or None
        Which readings decided with it, from `ReadingLog.identity`: hash, reader, model and revision.  None
        for a strategy that asks for none.
    """

    spec_hash: str
    config_hash: str
    data_hash: str
    seed: int
    trades: list[Trade]
    open_trade: OpenTrade | None
    equity: NDArray[np.float64]
    metrics: Metrics
    refused_bars: tuple[int, ...] = ()
    capped_bars: tuple[int, ...] = ()
    ruined_bars: tuple[int, ...] = ()
    stop_fills: StopFills = field(default_factory=StopFills)
    added_trades: tuple[OpenTrade, ...] = ()
    readings: dict[str, Any] | None = None

    @property
    def open_trades(self) -> list[OpenTrade]:
        """Entries that were still open, the oldest first."""
        return [] if self.open_trade is None else [self.open_trade, *self.added_trades]

    def to_document(self, *, equity: bool = False) -> dict[str, Any]:
        """Return plain data for JSON; with `equity` also the curve."""
        document: dict[str, Any] = {
            "spec_hash": self.spec_hash,
            "config_hash": self.config_hash,
            "data_hash": self.data_hash,
            "seed": self.seed,
            "stop_fills": msgspec.to_builtins(self.stop_fills),
            "metrics": msgspec.to_builtins(self.metrics),
            "trades": msgspec.to_builtins(self.trades),
            "open_trade": msgspec.to_builtins(self.open_trade),
            "refused_bars": list(self.refused_bars),
            "capped_bars": list(self.capped_bars),
            "ruined_bars": list(self.ruined_bars),
        }
        if self.added_trades:
            document["added_trades"] = msgspec.to_builtins(self.added_trades)
        if self.readings is not None:
            document["readings"] = self.readings
        if equity:
            document["equity"] = self.equity.tolist()
        return document


def with_readings(result: TrialResult, readings: ReadingsOnBars | None) -> TrialResult:
    """Return a result that says which readings decided with it; the same one where none did."""
    return result if readings is None else replace(result, readings=readings.log.identity())


def total(values: Iterable[float]) -> float:
    """Return a sum of amounts without float noise: summed exactly, then rounded to 1e-12."""
    return round(math.fsum(values), _TOTAL_DECIMALS)


def equity_curve(
    trades: Sequence[Trade],
    open_trades: Sequence[OpenTrade],
    *,
    initial_balance: float,
    bookings: Iterable[tuple[int, Amount]],
    bid_close: NDArray[np.float64],
    ask_close: NDArray[np.float64],
    rates: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return equity marked at every close.

    Parameters
    ----------
    trades : sequence of Trade
        Closed trades.
    open_trades : sequence of OpenTrade
        Entries open behind the last bar.
    initial_balance : float
        Account currency.
    bookings : iterable of (int, int)
        Bar and amount of everything that changed the balance: commissions, and the profit of closed trades.
    bid_close, ask_close : ndarray of shape (n_bars,)
        Marks of long and short positions.
    rates : ndarray of shape (n_bars,), optional
        Account currency per quote currency at each close; None where they are the same.

    Returns
    -------
    ndarray of shape (n_bars + 1,), float64
        See `TrialResult.equity`.
    """
    n_bars = bid_close.size
    open_profit = np.zeros(n_bars)
    for trade in trades:
        _mark(open_profit, trade, trade.exit_bar, bid_close, ask_close)
    for held in open_trades:
        _mark(open_profit, held, n_bars, bid_close, ask_close)
    equity = np.empty(n_bars + 1)
    equity[0] = initial_balance
    if rates is not None:
        open_profit *= rates
    equity[1:] = _balances(initial_balance, bookings, n_bars) + open_profit
    return np.round(equity, _MONEY_DECIMALS)


def _balances(
    initial_balance: float, bookings: Iterable[tuple[int, Amount]], n_bars: int
) -> NDArray[np.float64]:
    """Return the balance at every close: exact sums, each rounded once to the nearest float."""
    booked: dict[int, Amount] = {}
    for bar, amount in bookings:
        booked[bar] = booked.get(bar, 0) + amount
    bars = sorted(booked)
    sums = itertools.accumulate((booked[bar] for bar in bars), initial=to_amount(initial_balance))
    return np.repeat([to_float(total) for total in sums], np.diff([0, *bars, n_bars]))


def _mark(
    open_profit: NDArray[np.float64],
    trade: Trade | OpenTrade,
    end: int,
    bid_close: NDArray[np.float64],
    ask_close: NDArray[np.float64],
) -> None:
    """Add a position's open profit at the closes of its bars before `end`."""
    held = slice(trade.entry_bar, end)
    if trade.side == "long":
        open_profit[held] += (bid_close[held] - trade.entry_price) * trade.size
    else:
        open_profit[held] += (trade.entry_price - ask_close[held]) * trade.size


def pnl_by_period(
    equity: NDArray[np.float64],
    ts_open_ns: NDArray[np.int64],
    period_ns: int,
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> NDArray[np.float64]:
    """Return the profit made in each period of a regular time grid.

    Parameters
    ----------
    equity : ndarray of shape (n_bars + 1,), account currency
        See `TrialResult.equity`.
    ts_open_ns : ndarray of shape (n_bars,), int64
        Opening times of the bars; a bar's change of equity counts in the period its opening time lies in.
    period_ns : int
        Length of a period.  Periods start at whole multiples of it since the epoch.
    start_ns, end_ns : int, optional
        Span of the grid: from the period holding `start_ns` to the one holding the last ns before `end_ns`.
        Default: the span of the bars.  Bars outside are left out.

    Returns
    -------
    ndarray of shape (n_periods,), float64, account currency
        0.0 where there is no bar (nights, weekends).

    Raises
    ------
    MetricInputError
        If the shapes disagree, there is no bar, or the period or span is not positive.
    """
    if equity.shape != (ts_open_ns.size + 1,) or ts_open_ns.size == 0:
        msg = (
            f"`equity` must have one element more than `ts_open_ns`, of at least one bar, but the shapes are "
            f"{equity.shape} and {ts_open_ns.shape}. Pass a result's own arrays."
        )
        raise MetricInputError(msg)
    start_ns = int(ts_open_ns[0]) if start_ns is None else start_ns
    end_ns = int(ts_open_ns[-1]) + 1 if end_ns is None else end_ns
    if period_ns <= 0 or end_ns <= start_ns:
        values = f"{period_ns=}, {start_ns=}, {end_ns=}"
        msg = f"`period_ns > 0` and `start_ns < end_ns` must hold, but got {values}. Choose e.g. one hour."
        raise MetricInputError(msg)
    first = start_ns // period_ns
    n_periods = (end_ns - 1) // period_ns - first + 1
    inside = (ts_open_ns >= start_ns) & (ts_open_ns < end_ns)
    period = (ts_open_ns[inside] // period_ns - first).astype(np.int64)
    profit = np.bincount(period, weights=np.diff(equity)[inside], minlength=n_periods)
    return np.round(profit, _MONEY_DECIMALS)


def compute_metrics(
    trades: Sequence[Trade], equity: NDArray[np.float64], ts_open_ns: NDArray[np.int64]
) -> Metrics:
    """Return the figures of a backtest."""
    pnl = np.array([trade.pnl for trade in trades], dtype=np.float64)
    lengths = np.array([trade.exit_bar - trade.entry_bar + 1 for trade in trades], dtype=np.float64)
    held = np.zeros(ts_open_ns.size, dtype=bool)
    for trade in trades:
        held[trade.entry_bar : trade.exit_bar] = True
    hourly = pnl_by_period(equity, ts_open_ns, FIGURE_PERIOD_NS)
    hours_per_year = metrics.SECONDS_PER_YEAR * 1e9 / FIGURE_PERIOD_NS
    return Metrics(
        trades=len(trades),
        wins=int((pnl > 0).sum()),
        net_profit=total(pnl),
        gross_profit=total(pnl[pnl > 0]),
        gross_loss=total(pnl[pnl < 0]),
        commission=total(trade.commission for trade in trades),
        swap=total(trade.swap for trade in trades),
        held_over=sum((trade.nights or 0) > 0 for trade in trades),
        nights=sum(trade.nights or 0 for trade in trades),
        final_equity=float(equity[-1]),
        return_fraction=float(equity[-1] / equity[0] - 1.0),
        profit_factor=metrics.profit_factor(pnl),
        win_rate=metrics.win_rate(pnl),
        expectancy=metrics.expectancy(pnl),
        payoff_ratio=metrics.payoff_ratio(pnl),
        max_drawdown=metrics.max_drawdown(equity) if equity.min() > 0 else float("nan"),
        max_drawdown_amount=metrics.max_drawdown_amount(np.diff(equity)),
        sharpe_ratio=metrics.sharpe_ratio(hourly, periods_per_year=hours_per_year),
        sortino_ratio=metrics.sortino_ratio(hourly, periods_per_year=hours_per_year),
        exposure=metrics.exposure(held),
        average_bars=float(lengths.mean()) if lengths.size else float("nan"),
        longest_losing_streak=metrics.longest_losing_streak(pnl),
    )
