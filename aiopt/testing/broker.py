"""A second opinion on trades: a broker emulator in plain Python, written from the rules alone.

A test oracle, not a backtester: `simulate` takes signals and bars and returns the trades the rules below
imply, one bar after the other, without an engine.  NautilusTrader's trades must equal it.  It knows nothing
of NautilusTrader, costs or accounts: `aiopt.testing.statement` settles its trades.

Rules, in the order of a bar:

1. Orders decided at the previous close fill at the open: first the exit or reversal, then the entry.
2. A stop or target the open lies on or beyond fills at the open.  With `pine_entry_bar`, a short that was
   entered at this very open has no stop on this bar if the open lies on or beyond it (TradingView's habit;
   longs have no such exception).
3. The price walks to the two extremes, the high first if it is at most as far from the open as the low.  A
   stop or target that is reached fills at its own price.
4. On a segment's last bar a position is closed at the close.
5. At the close the strategy decides on the position it then has.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from aiopt.market.bars import BarSet
from aiopt.strategy.signals import SignalArrays

_STEP_DECIMALS = 7


@dataclass(frozen=True)
class BrokerTrade:
    """One round trip; `exit_bar`, `exit_price` and `exit_place` are None while it is open.

    `exit_place` says where in its bar it was closed: at the ``"open"``, ``"inside"`` or at the ``"close"``.
    """

    entry_bar: int
    entry_price: float
    side: str
    size: float
    exit_bar: int | None = None
    exit_price: float | None = None
    exit_reason: str | None = None
    exit_place: str | None = None


@dataclass
class _Position:
    entry_bar: int
    entry_price: float
    long: bool
    size: float
    stop: float
    target: float

    def closed(self, bar: int, price: float, reason: str, place: str) -> BrokerTrade:
        side = "long" if self.long else "short"
        return BrokerTrade(self.entry_bar, self.entry_price, side, self.size, bar, price, reason, place)


def simulate(
    signals: SignalArrays,
    bars: BarSet,
    *,
    pine_entry_bar: bool,
    may_enter: Collection[int] | None = None,
    flatten_bars: Collection[int] = (),
    flatten_reason: str = "segment_end",
) -> list[BrokerTrade]:
    """Return the trades of `signals` on `bars`, the open one last.

    Parameters
    ----------
    signals : SignalArrays
        One element per bar.
    bars : BarSet
        Buys take the ask, sells the bid; the same with one price.
    pine_entry_bar : bool
        Rule 2's exception for shorts.
    may_enter : collection of int, optional
        Bars whose entry signals count; default all.
    flatten_bars : collection of int
        Rule 4's last bars of segments.
    flatten_reason : str
        Exit reason of rule 4.
    """
    trades: list[BrokerTrade] = []
    position: _Position | None = None
    exit_reason: str | None = None
    entry: tuple[bool, int] | None = None
    for bar in range(len(bars)):
        if exit_reason is not None:
            assert position is not None
            price = _price(bars, "open", bar, position.long)
            trades.append(position.closed(bar, price, exit_reason, "open"))
            position = exit_reason = None
        spared = False
        if entry is not None:
            position = _entered(signals, bars, bar, *entry)
            entry = None
            spared = (
                pine_entry_bar and not position.long and _at_or_above(position.entry_price, position.stop)
            )
        for place in _path(bars, bar):
            if position is None:
                break
            hit = _hit(position, _price(bars, place, bar, position.long), place == "open", spared)
            if hit is not None:
                trades.append(position.closed(bar, *hit, "open" if place == "open" else "inside"))
                position = None
        if position is not None and bar in flatten_bars:
            price = _price(bars, "close", bar, position.long)
            trades.append(position.closed(bar, price, flatten_reason, "close"))
            position = None
        allowed = may_enter is None or bar in may_enter
        exit_reason, entry = _decide(signals, bar, position, allowed)
    if position is not None:
        side = "long" if position.long else "short"
        trades.append(BrokerTrade(position.entry_bar, position.entry_price, side, position.size))
    return trades


def _price(bars: BarSet, place: str, bar: int, long: bool) -> float:
    """Return the price at which a position would be closed: the bid for a long, the ask for a short."""
    return float(getattr(bars.bid if long else bars.ask, place)[bar])


def _entered(signals: SignalArrays, bars: BarSet, bar: int, long: bool, signal_bar: int) -> _Position:
    return _Position(
        entry_bar=bar,
        entry_price=_price(bars, "open", bar, not long),
        long=long,
        size=float(signals.units[signal_bar]),
        stop=float((signals.stop_long if long else signals.stop_short)[signal_bar]),
        target=float((signals.target_long if long else signals.target_short)[signal_bar]),
    )


def _path(bars: BarSet, bar: int) -> tuple[str, str, str]:
    start, high, low = (float(getattr(bars.bid, name)[bar]) for name in ("open", "high", "low"))
    up, down = round(high - start, _STEP_DECIMALS), round(start - low, _STEP_DECIMALS)
    return ("open", "high", "low") if up <= down else ("open", "low", "high")


def _hit(position: _Position, price: float, at_open: bool, spared: bool) -> tuple[float, str] | None:
    """Return the fill price and reason if `price` on the path reaches the stop or target."""
    if position.long:
        stopped, reached = _at_or_above(position.stop, price), _at_or_above(price, position.target)
    else:
        stopped, reached = _at_or_above(price, position.stop), _at_or_above(position.target, price)
    if stopped and not spared:
        return (price if at_open else position.stop), "stop_loss"
    if reached:
        return (price if at_open else position.target), "take_profit"
    return None


def _at_or_above(left: float, right: float) -> bool:
    if math.isnan(left) or math.isnan(right):
        return False
    return round(left - right, _STEP_DECIMALS) >= 0


def _decide(
    signals: SignalArrays, bar: int, position: _Position | None, allowed: bool
) -> tuple[str | None, tuple[bool, int] | None]:
    """Return the reason to exit and the entry (long?, signal bar), for the next open."""
    entry_long = allowed and bool(signals.entry_long[bar])
    entry_short = allowed and bool(signals.entry_short[bar])
    if position is None:
        return None, ((entry_long, bar) if entry_long or entry_short else None)
    opposite = entry_short if position.long else entry_long
    if opposite:
        return "reverse", (not position.long, bar)
    exits = signals.exit_long if position.long else signals.exit_short
    return ("exit_signal" if exits[bar] else None), None
