"""Compare the three views of a strategy, signal by signal and trade by trade, to the first difference.

Owns what is compared and what is excused.  How a view is made is `aiopt.verification.views`', where the
script comes from `aiopt.verification.scripts`'.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import chart_price
from aiopt.backtest.results import TrialResult
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_parts import RiskSize
from aiopt.trades import Trade
from aiopt.verification.pine_runs import PineRun, PineRunError, PineRunner
from aiopt.verification.verification_file import Difference, Verified, ViewTrade
from aiopt.verification.views import (
    PINE,
    SIDES,
    View,
    arrays_view,
    in_order,
    nautilus_view,
    pine_job,
    pine_view,
)

CONTEXT_BARS = 4
"""Bars shown before and after a difference."""
EXCUSED_SHARE = 0.05
EXCUSED_AT_LEAST = 3
"""More exits than this share and number, in bars that the engine reads otherwise, are no excuse any more."""
SIZE_STEPS = 2
"""Steps by which sizes may differ beside what the accounts' difference explains: parts are rounded."""

MARGIN_CALL = "margin_call"

_MOVED = ("trailing", "break_even")
_BEFORE_THE_EXIT = ("entry_bar", "exit_bar", "side", "entry_price")


@dataclass(frozen=True, eq=False)
class ScriptTask:
    """A script, the strategy it was made from, and the bars on which both are run.

    Attributes
    ----------
    name : str
        How the result is called.
    spec : StrategySpec
        The strategy.
    script : str
        Pine source.
    bars : BarSet
        Any; the bid is the one price.
    initial_balance, leverage : float
        That the script states.
    """

    name: str
    spec: StrategySpec
    script: str
    bars: BarSet
    initial_balance: float = 100_000.0
    leverage: float = 30.0

    @property
    def config(self) -> BacktestConfig:
        """The assumptions of a chart."""
        return BacktestConfig(mode="parity", initial_balance=self.initial_balance, leverage=self.leverage)


class _OwnViews(NamedTuple):
    """What the strategy does without any script; `note` says why the screen could not trade."""

    arrays: View
    nautilus: View
    result: TrialResult
    note: str


def verify_scripts(
    tasks: Sequence[ScriptTask],
    runner: PineRunner,
    progress: Callable[[float], None] = lambda done: None,
) -> list[Verified | PineRunError]:
    """Run scripts in the Pine engine, in one process, and compare each with its two other views.

    Parameters
    ----------
    tasks : sequence of ScriptTask
        What to verify.
    runner : PineRunner
        Runs the scripts.
    progress : callable
        Takes the number of tasks done, in halves: a script that has run, and one that is compared.

    Returns
    -------
    list of Verified or PineRunError
        In the order of `tasks`; the error where the engine could not run a script.

    Raises
    ------
    InputError, BacktestError
        If the bars do not fit the strategy.
    """
    charts = {id(task.bars): chart_price(task.bars) for task in tasks}
    jobs = [pine_job(task.spec, task.script, charts[id(task.bars)]) for task in tasks]
    answers = runner.run_many(jobs, lambda done: progress(done / 2))
    found: list[Verified | PineRunError] = []
    own: tuple[tuple[Any, ...], _OwnViews] | None = None
    for task, answer in zip(tasks, answers, strict=True):
        if isinstance(answer, PineRunError):
            found.append(answer)
        else:
            # Scripts of one strategy, as v6 and v5, follow each other: our own views are made once.
            key = (task.spec.spec_hash, id(task.bars), task.config)
            if own is None or own[0] != key:
                own = key, _own_views(task, charts[id(task.bars)])
            found.append(_compare(task, charts[id(task.bars)], own[1], answer, runner))
        progress((len(tasks) + len(found)) / 2)
    return found


def script_hash(script: str) -> str:
    """Return the SHA-256 of a script without its comment lines: of what is run."""
    lines = (line for line in script.splitlines() if not line.startswith("//") or line.startswith("//@"))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _own_views(task: ScriptTask, bars: BarSet) -> _OwnViews:
    arrays, _, note = arrays_view(task.spec, bars, task.config)
    nautilus, result = nautilus_view(task.spec, bars, task.config)
    return _OwnViews(arrays, nautilus, result, note)


def _compare(task: ScriptTask, bars: BarSet, own: _OwnViews, run: PineRun, runner: PineRunner) -> Verified:
    arrays, nautilus, result = own.arrays, own.nautilus, own.result
    pine = pine_view(run, task.spec, bars)
    notes = [own.note] if own.note else []
    if not pine.entries:
        notes.append(
            'The script plots no signals ("Long signal", "Short signal"): its trades alone are compared.'
        )
    views = [arrays, nautilus, pine]
    found = [_signal_difference(views, bars.bid), _open_difference(views, bars.bid)]
    excuses = _Excuses(task)
    found.append(_trade_difference(views, result, bars.bid, excuses))
    differences = [one for one in found if one is not None]
    first = min(differences, key=lambda one: one.bar) if differences else None
    told = None if first is None else first.views.get(PINE)
    if isinstance(told, dict) and told.get("reason") == MARGIN_CALL:
        notes.append(
            f"The account of {task.initial_balance:,.0f} was lost by then, and {runner.engine.title} closes "
            "positions of a lost account. Verify with a larger account or a smaller size."
        )
    if excuses.sizes:
        notes.append(
            f"After an exit set aside, the engine's account differs from the backtest's, and with it "
            f"{len(excuses.sizes)} size(s) that the account bounds: no more than it explains."
        )
    return Verified(
        name=task.name,
        spec_hash=task.spec.spec_hash,
        script_hash=script_hash(task.script),
        instrument=bars.instrument.symbol,
        timeframe=bars.timeframe.label,
        bars=len(bars),
        first_ts_ns=int(bars.bid.ts_open_ns[0]),
        last_ts_ns=int(bars.bid.ts_open_ns[-1]),
        data_hash=bars.data_hash,
        engine=runner.engine.title,
        node=f"Node {runner.engine.node_version}",
        trades=len(result.trades),
        open_trades=nautilus.open_trades,
        signals=len(bars) if pine.entries else 0,
        excused=len(excuses.exits),
        notes=notes,
        difference=first,
    )


def _signal_difference(views: Sequence[View], bars: BarArrays) -> Difference | None:
    telling = [view for view in views if view.entries]
    first: tuple[int, str] | None = None
    for view in telling[1:]:
        for side in SIDES:
            unequal = np.flatnonzero(view.entries[side] != telling[0].entries[side])
            if unequal.size and (first is None or unequal[0] < first[0]):
                first = (int(unequal[0]), f"the {side} entry signal of {telling[0].name} and {view.name}")
    if first is None:
        return None
    bar, what = first
    said = {
        view.name: {
            **{f"entry_{side}": bool(view.entries[side][bar]) for side in SIDES},
            **{name: float(values[bar]) for name, values in view.indicators.items()},
        }
        for view in telling
    }
    return _difference(f"bar {bar}: {what} differ", bar, said, bars)


class _Excuses:
    """Trades of the Pine engine that may differ for a known reason, and what that does to its account.

    Attributes
    ----------
    exits : set of int
        Places of trades that left in a bar the engine is known to read otherwise.
    sizes : set of int
        Places of trades whose size differs because those exits left another account behind.
    """

    def __init__(self, task: ScriptTask) -> None:
        self.exits: set[int] = set()
        self.sizes: set[int] = set()
        size = task.spec.size
        # Of the sizes, those by risk alone look at the account: they are cut to what it carries.
        self._step = float(size.step) if isinstance(size, RiskSize) else 0.0
        self._account = task.initial_balance
        self._apart = 0.0

    def after(self, one: ViewTrade, other: ViewTrade) -> None:
        """Take in a pair of trades, in order: the backtest's and the engine's."""
        self._account += min(_profit(one), _profit(other))
        self._apart += abs(_profit(one) - _profit(other))

    def size(self, place: int, one: ViewTrade, other: ViewTrade) -> bool:
        """Say whether both accounts explain the sizes; remember the place if they differ."""
        if one.size == other.size:
            return True
        if not (self.exits and self._step and self._account > 0.0):
            return False
        share = self._apart / self._account
        explained = abs(one.size - other.size) <= SIZE_STEPS * self._step + share * max(one.size, other.size)
        if explained:
            self.sizes.add(place)
        return explained


def _profit(trade: ViewTrade) -> float:
    moved = trade.exit_price - trade.entry_price
    return trade.size * (moved if trade.side == "long" else -moved)


def _trade_difference(
    views: Sequence[View], result: TrialResult, bars: BarArrays, excuses: _Excuses
) -> Difference | None:
    arrays, nautilus, pine = views
    ordered = in_order(result.trades)
    first: tuple[int, int, str] | None = None
    for other in (arrays, pine):
        if other.trades is None:
            continue
        place, reason = _first_unequal(
            nautilus.trades or [], other.trades, ordered if other is pine else [], bars, excuses
        )
        if place is None:
            continue
        rows = [view.trades[place] for view in (nautilus, other) if view.trades and place < len(view.trades)]
        bar = min(row.entry_bar for row in rows) if reason != "exit" else min(row.exit_bar for row in rows)
        if first is None or bar < first[0]:
            first = (bar, place, other.name)
    if first is None and len(excuses.exits) > max(EXCUSED_AT_LEAST, EXCUSED_SHARE * len(result.trades)):
        place = min(excuses.exits)
        first = (ordered[place].exit_bar, place, pine.name)
    if first is None:
        return None
    bar, place, name = first
    said: dict[str, Any] = {
        view.name: msgspec.to_builtins(view.trades[place])
        if view.trades is not None and place < len(view.trades)
        else None
        for view in views
        if view.trades is not None
    }
    what = f"trade {place + 1}: {nautilus.name} and {name} differ"
    return _difference(what, bar, said, bars)


def _first_unequal(
    expected: Sequence[ViewTrade],
    found: Sequence[ViewTrade],
    trades: Sequence[Trade],
    bars: BarArrays,
    excuses: _Excuses,
) -> tuple[int | None, str]:
    """Return the place of the first trade that differs, and whether only its exit does."""
    for place, (one, other) in enumerate(zip(expected, found, strict=False)):
        if one == other:
            if trades:
                excuses.after(one, other)
            continue
        alike = bool(trades) and excuses.size(place, one, other)
        same_until_exit = alike and all(
            getattr(one, name) == getattr(other, name) for name in _BEFORE_THE_EXIT
        )
        if same_until_exit and (one.exit_price, one.reason) == (other.exit_price, other.reason):
            excuses.after(one, other)
            continue
        # The Pine engine names the price of a stop that has moved; ours has it only where it filled.
        moved = other.exit_price if other.reason in _MOVED else None
        if (
            same_until_exit
            and _left_by_a_leg(trades[place], other)
            and opens_past_one_leg_and_reaches_the_other(trades[place], bars, moved)
        ):
            excuses.exits.add(place)
            excuses.after(one, other)
            continue
        entered_alike = (one.entry_bar, one.side) == (other.entry_bar, other.side)
        return place, "exit" if entered_alike else "trade"
    if len(expected) != len(found):
        return min(len(expected), len(found)), "trade"
    return None, ""


def _left_by_a_leg(trade: Trade, other: ViewTrade) -> bool:
    """Say whether the engine's exit is a leg at its own price, as the path inside the bar would have it."""
    if other.reason in _MOVED:
        return True  # its price is the only one there is
    price = trade.stop_price if other.reason == "stop_loss" else trade.target_price
    return price is not None and math.isclose(price, other.exit_price, abs_tol=1e-7)


def opens_past_one_leg_and_reaches_the_other(
    trade: Trade, bars: BarArrays, moved_stop: float | None = None
) -> bool:
    """Say whether a trade ended in the one kind of bar that PineTS is known to read in the wrong order.

    The bar opens past the stop (or target), which fills there and then, but also reaches the other leg.
    PineTS lets the path inside the bar decide, as if both were still ahead; TradingView's emulator fills what
    the open has passed, at the open.  `moved_stop` is where the stop lay if it had moved and is known.
    """
    # A stop that moved lies where it filled, or the open had passed it and it filled there.
    stop = trade.stop_price if moved_stop is None else moved_stop
    if trade.exit_reason in _MOVED:
        stop = trade.exit_price
    target = trade.target_price
    if stop is None or target is None:
        return False
    start, high, low = (float(getattr(bars, name)[trade.exit_bar]) for name in ("open", "high", "low"))
    if trade.side == "short":
        stop, target, start, high, low = -stop, -target, -start, -low, -high
    return (start >= target and low <= stop) or (start <= stop and high >= target)


def _open_difference(views: Sequence[View], bars: BarArrays) -> Difference | None:
    telling = [view for view in views if view.trades is not None]
    counts = {view.name: view.open_trades for view in telling}
    if len(set(counts.values())) == 1:
        return None
    last = len(bars) - 1
    return _difference("behind the last bar the views hold different positions", last, counts, bars)


def _difference(what: str, bar: int, views: dict[str, Any], bars: BarArrays) -> Difference:
    around = range(max(0, bar - CONTEXT_BARS), min(len(bars), bar + CONTEXT_BARS + 1))
    return Difference(
        what=what,
        bar=bar,
        ts_ns=int(bars.ts_open_ns[bar]),
        views=views,
        bars=[
            {
                "bar": place,
                "ts_ns": int(bars.ts_open_ns[place]),
                **{name: float(getattr(bars, name)[place]) for name in ("open", "high", "low", "close")},
            }
            for place in around
        ],
    )
