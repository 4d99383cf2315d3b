"""A session's trades and the backtest's on the same ticks: which are the same, and why others are not.

A backtest knows of a bar only its prices, not their order.  Where one bar reaches both the stop and the
target of a position, the backtest decides by its rule of paths, and the session by the ticks.  Such a bar is
found in the bars themselves and counted; so are trades that differ because the one before them ended
otherwise: they follow from it, until both sides agree again; a size that the account's equity cuts differs
as long as the equity does.  What stands before the orders of a session and is not in a backtest explains
too: an entry that was refused, a position that the kill switch, a command or the guard closed.  Whatever else
differs is unexplained, and a fault.

Owns the comparison.  Knows no node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import msgspec
import numpy as np

from aiopt.bars.schema import BarSet
from aiopt.live.session.live_trades import LiveTrade
from aiopt.trades import Trade

T = TypeVar("T")

_TOLERANCE = 1e-9
_AT_END = frozenset({"end_of_data", "segment_end"})
_CLOSED = frozenset({"flatten", "kill"})


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A trade that is not the same on both sides.

    Attributes
    ----------
    entry_bar_ns : int
        Opening time of the bar it was entered on.
    side : str
        ``"long"`` or ``"short"``.
    where : str
        ``"both"``: entered on both sides, ended otherwise.  ``"live"`` or ``"backtest"``: on one alone.
    why : str
        ``"both_legs"``: a bar reaches its stop and its target.  ``"refused"``: the session refused the entry.
        ``"closed"``: the kill switch, a command or the guard closed it.  ``"follows"``: from a trade before
        it.  ``"unexplained"``.
    live, backtest : str
        Exit price and reason on each side; empty where it has no such trade.
    rule : str
        What refused the entry, e.g. ``"max_daily_loss"``; empty if nothing did.
    """

    entry_bar_ns: int
    side: str
    where: str
    why: str
    live: str
    backtest: str
    rule: str = ""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared for one strategy.

    Attributes
    ----------
    strategy : str
        Its id.
    live, backtest, same : int
        Trades on each side, and those that are the same in entry and exit bar, side, size, prices, reason,
        costs and profit, to the cent and beyond.
    why : dict of str to int
        Differences by their reason.
    differences : tuple of Difference
        All of them.
    changed : tuple of str
        Commands that changed what the strategy does: its trades are no backtest's, and nothing was compared.
    """

    strategy: str
    live: int
    backtest: int
    same: int
    why: dict[str, int]
    differences: tuple[Difference, ...]
    changed: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every difference is explained."""
        return "unexplained" not in self.why


def prove(
    strategy: str,
    live: Sequence[LiveTrade],
    backtest: Sequence[Trade],
    bars: BarSet,
    refused: Mapping[int, str] = MappingProxyType({}),
) -> Proof:
    """Compare the trades of one strategy.

    Parameters
    ----------
    strategy : str
        Its id.
    live : sequence of LiveTrade
        Of the session, this strategy's alone.
    backtest : sequence of Trade
        Of `BacktestSession` on bars of the same ticks, with their stop ladder.
    bars : BarSet
        These bars.
    refused : mapping of int to str
        Bars on which the session refused an entry of this strategy, by opening time, and the rule.
    """
    here = _by_entry(sorted(live, key=_live_order), _live_entry)
    there = _by_entry(sorted(backtest, key=_backtest_order), _backtest_entry)
    same, differences = 0, []
    since = ever = False  # whether something before makes the two sides differ now, or did once
    for entry in sorted(here.keys() | there.keys()):
        mine, theirs = here.get(entry), there.get(entry)
        if mine is not None and theirs is not None and _equal(mine, theirs):
            same += 1
            since = False
            continue
        both = any(_reaches_both(bars, *_span(one)) for one in (mine, theirs) if one is not None)
        entered_alike = mine is not None and theirs is not None and _alike(mine, theirs)
        other_equity = ever and mine is not None and theirs is not None and _equal_but_size(mine, theirs)
        follows = since or other_equity
        rule = refused.get(entry[0], "") if mine is None else ""
        why = "both_legs" if both and entered_alike else "follows" if follows else "unexplained"
        if rule:
            why = "refused"
        elif mine is not None and theirs is not None and mine.exit_reason in _CLOSED and why != "both_legs":
            why = "closed"
        since = since or why in ("both_legs", "refused", "closed")
        ever = ever or since
        differences.append(
            Difference(
                entry_bar_ns=entry[0],
                side=entry[1],
                where="both" if mine and theirs else "live" if mine else "backtest",
                why=why,
                live="" if mine is None else f"{mine.exit_price} {mine.exit_reason}",
                backtest="" if theirs is None else f"{theirs.exit_price} {theirs.exit_reason}",
                rule=rule,
            )
        )
    return Proof(
        strategy=strategy,
        live=len(live),
        backtest=len(backtest),
        same=same,
        why=dict(Counter(one.why for one in differences)),
        differences=tuple(differences),
    )


def not_comparable(strategy: str, live: int, changed: tuple[str, ...]) -> Proof:
    """Return what is said of a strategy that a person changed while it ran.

    Parameters
    ----------
    strategy : str
        Its id.
    live : int
        Trades of the session.
    changed : tuple of str
        The commands.
    """
    return Proof(strategy=strategy, live=live, backtest=0, same=0, why={}, differences=(), changed=changed)


_Entry = tuple[int, str, int]


def _live_order(trade: LiveTrade) -> tuple[int, float, float, int, float]:
    return trade.entry_bar_ns, trade.target_price or 0.0, trade.size, trade.exit_bar_ns, trade.exit_price


def _backtest_order(trade: Trade) -> tuple[int, float, float, int, float]:
    return trade.entry_ts_ns, trade.target_price or 0.0, trade.size, trade.exit_ts_ns, trade.exit_price


def _live_entry(trade: LiveTrade) -> tuple[int, str]:
    return trade.entry_bar_ns, trade.side


def _backtest_entry(trade: Trade) -> tuple[int, str]:
    return trade.entry_ts_ns, trade.side


def _by_entry(trades: Sequence[T], entry_of: Callable[[T], tuple[int, str]]) -> dict[_Entry, T]:
    """Return trades by entry bar, side and number among those of the same entry (parts of a position)."""
    found: dict[_Entry, T] = {}
    numbers: Counter[tuple[int, str]] = Counter()
    for trade in trades:
        entry = entry_of(trade)
        found[*entry, numbers[entry]] = trade
        numbers[entry] += 1
    return found


def _equal(mine: LiveTrade, theirs: Trade) -> bool:
    ends_alike = mine.exit_reason == theirs.exit_reason or {mine.exit_reason, theirs.exit_reason} <= _AT_END
    return (
        _alike(mine, theirs)
        and ends_alike
        and mine.exit_bar_ns == theirs.exit_ts_ns
        and mine.exit_price == theirs.exit_price
        and (mine.pnl, mine.commission, mine.swap) == (theirs.pnl, theirs.commission, theirs.swap)
        and mine.nights == theirs.nights
    )


def _equal_but_size(mine: LiveTrade, theirs: Trade) -> bool:
    """Return whether two trades differ in what an account's equity decides: the size it carries."""
    return (mine.exit_bar_ns, mine.exit_price, mine.exit_reason, mine.entry_price) == (
        theirs.exit_ts_ns,
        theirs.exit_price,
        theirs.exit_reason,
        theirs.entry_price,
    )


def _alike(mine: LiveTrade, theirs: Trade) -> bool:
    """Return whether two trades were entered alike."""
    return (mine.entry_price, mine.size, mine.stop_price, mine.target_price) == (
        theirs.entry_price,
        theirs.size,
        theirs.stop_price,
        theirs.target_price,
    )


def _span(trade: LiveTrade | Trade) -> tuple[str, float | None, float | None, int, int, str]:
    stop, target = trade.stop_price, trade.target_price
    if isinstance(trade, LiveTrade):
        moved = trade.exit_price if trade.exit_reason in ("trailing", "break_even") else stop
        return trade.side, moved, target, trade.entry_bar_ns, trade.exit_bar_ns, trade.exit_reason
    moved = trade.exit_price if trade.exit_reason in ("trailing", "break_even") else stop
    return trade.side, moved, target, trade.entry_ts_ns, trade.exit_ts_ns, trade.exit_reason


def _reaches_both(
    bars: BarSet,
    side: str,
    stop: float | None,
    target: float | None,
    entry_ns: int,
    exit_ns: int,
    reason: str,
) -> bool:
    """Return whether the bar a trade ended on reaches its stop as well as its target."""
    if stop is None or target is None:
        return False
    bar = int(np.searchsorted(bars.bid.ts_open_ns, exit_ns, side="right")) - 1
    prices = bars.bid if side == "long" else bars.ask
    low, high = float(prices.low[bar]), float(prices.high[bar])
    lower, upper = min(stop, target), max(stop, target)
    return low <= lower + _TOLERANCE and high >= upper - _TOLERANCE
