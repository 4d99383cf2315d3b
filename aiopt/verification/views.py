"""One strategy over the same single-price bars, as arrays, in NautilusTrader and in the Pine engine.

Owns how each view is made and how its trades are told in the same words.  What is compared is
`aiopt.verification.verifying`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.results import TrialResult
from aiopt.backtest.session import BacktestSession
from aiopt.bars.schema import BarSet
from aiopt.screen.failures import BeyondScreenError
from aiopt.screen.session import ScreenSession
from aiopt.strategy.signals import SignalArrays, StreamingSignals, compute_signals
from aiopt.strategy.spec import StrategySpec
from aiopt.trades import Trade
from aiopt.verification.pine_runs import PineJob, PineRun, PineTrade
from aiopt.verification.verification_file import ViewTrade

ARRAYS, NAUTILUS, PINE = "arrays", "nautilus", "pine"
SIDES = ("long", "short")

_REASONS = {"Stop": "stop_loss", "Target": "take_profit"}
_REVERSAL = re.compile(r"|Reverse|(Long|Short)( \d+)?")
"""What the exit of a reversed position is called: by the order that reversed it, or not at all."""


class _Sizes(TypedDict):
    tick_size: float
    pip_size: float
    initial_balance: float


BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class View:
    """What one evaluation of a strategy says.

    Attributes
    ----------
    name : str
        `ARRAYS`, `NAUTILUS` or `PINE`.
    trades : list of ViewTrade or None
        Closed trades, see `in_order`; None where this view has none to tell.
    open_trades : int
        Positions still open at the end.
    entries : dict of str to ndarray of shape (n_bars,), bool
        Entry signals by side; empty where the view tells none.
    indicators : dict of str to ndarray of shape (n_bars,)
        Outputs by the names conditions use.
    """

    name: str
    trades: list[ViewTrade] | None
    open_trades: int
    entries: dict[str, BoolArray]
    indicators: dict[str, FloatArray]


def signal_plot(side: str) -> str:
    """Return the title of the plot in which an emitted script shows its entry signals of a side."""
    return f"{side.title()} signal"


def pine_job(spec: StrategySpec, script: str, bars: BarSet) -> PineJob:
    """Return what the Pine engine is asked: the script over the bars, with signals and indicators."""
    outputs = [output for outputs in spec.output_names().values() for output in outputs]
    plots = (*outputs, *(signal_plot(side) for side in SIDES))
    return PineJob(script, bars.bid, bars.price_step, plots)


def arrays_view(spec: StrategySpec, bars: BarSet, config: BacktestConfig) -> tuple[View, SignalArrays, str]:
    """Return the view of arrays and of the screen; why the screen could not trade, where it could not."""
    signals = compute_signals(spec, bars.bid, **_sizes(bars, config))
    note, trades, held = "", None, 0
    try:
        result = ScreenSession(bars, config).run(spec)
        trades, held = told(result.trades, bars.price_step), len(result.open_trades)
    except BeyondScreenError as error:
        note = f"The screen cannot trade these bars, so arrays are compared by their signals alone: {error}"
    entries = {"long": signals.entry_long, "short": signals.entry_short}
    return View(ARRAYS, trades, held, entries, dict(signals.indicators)), signals, note


def nautilus_view(spec: StrategySpec, bars: BarSet, config: BacktestConfig) -> tuple[View, TrialResult]:
    """Return the view of NautilusTrader, with the signals its strategy computes bar by bar."""
    with BacktestSession(bars, config) as session:
        result = session.run(spec)
    streaming = StreamingSignals(spec, **_sizes(bars, config))
    one = bars.bid
    columns = (getattr(one, name).tolist() for name in ("open", "high", "low", "close", "volume"))
    rows = [
        streaming.update(int(ts), *values)
        for ts, *values in zip(one.ts_open_ns.tolist(), *columns, strict=True)
    ]
    entries = {side: np.array([getattr(row, f"entry_{side}") for row in rows], dtype=bool) for side in SIDES}
    trades = told(result.trades, bars.price_step)
    return View(NAUTILUS, trades, len(result.open_trades), entries, {}), result


def pine_view(run: PineRun, spec: StrategySpec, bars: BarSet) -> View:
    """Return the view of a script in the Pine engine; without its signal plots, by its trades alone."""
    n_bars = len(bars)
    wanted = [side for side in SIDES if getattr(spec, f"entry_{side}") is not None]
    entries: dict[str, BoolArray] = {}
    if all(signal_plot(side) in run.plots for side in wanted):
        fired = {side: run.plots[signal_plot(side)] == 1 for side in wanted}
        none = np.zeros(n_bars, dtype=bool)
        # If both sides ask for an entry, neither gets it.
        both = fired.get("long", none) & fired.get("short", none)
        entries = {side: fired.get(side, none) & ~both for side in SIDES}
    plots = {title: values for title, values in run.plots.items() if title in _outputs(spec)}
    return View(PINE, _told_pine(run.closed, bars.price_step), len(run.open), entries, plots)


def _outputs(spec: StrategySpec) -> set[str]:
    return {output for outputs in spec.output_names().values() for output in outputs}


AnyTrade = TypeVar("AnyTrade", Trade, PineTrade)


def in_order(trades: Iterable[AnyTrade]) -> list[AnyTrade]:
    """Return closed trades by the bars of their exits and entries.

    Where several entries leave on one bar, every engine has an order of its own.
    """
    return sorted(trades, key=lambda trade: (trade.exit_bar or 0, trade.entry_bar))


def told(trades: Iterable[Trade], step: float) -> list[ViewTrade]:
    """Return a backtest's trades as views tell them."""
    return [
        ViewTrade(
            entry_bar=trade.entry_bar,
            exit_bar=trade.exit_bar,
            side=trade.side,
            entry_price=on_grid(trade.entry_price, step),
            exit_price=on_grid(trade.exit_price, step),
            size=round(float(trade.size), 6),
            reason=trade.exit_reason,
        )
        for trade in in_order(trades)
    ]


def _told_pine(trades: Iterable[PineTrade], step: float) -> list[ViewTrade]:
    found = []
    for trade in in_order(trades):
        assert trade.exit_bar is not None  # it is closed
        assert trade.exit_price is not None
        found.append(
            ViewTrade(
                entry_bar=trade.entry_bar,
                exit_bar=trade.exit_bar,
                side=trade.side,
                entry_price=on_grid(trade.entry_price, step),
                exit_price=on_grid(trade.exit_price, step),
                size=round(float(trade.size), 6),
                reason=reason_of(trade.exit_comment),
            )
        )
    return found


def reason_of(comment: str | None) -> str:
    """Return the exit reason that a comment stands for: ``"Exit signal"`` is ``exit_signal``."""
    if comment is None or _REVERSAL.fullmatch(comment):
        return "reverse"
    return _REASONS.get(comment, comment.lower().replace(" ", "_").replace("-", "_"))


def on_grid(price: float, step: float) -> float:
    """Return the price of the grid that is nearest, as the float nearest to its decimals."""
    return round(round(price / step) * step, 10)


def _sizes(bars: BarSet, config: BacktestConfig) -> _Sizes:
    return {
        "tick_size": bars.price_step,
        "pip_size": bars.instrument.pip_size,
        "initial_balance": config.initial_balance,
    }
