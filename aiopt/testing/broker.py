"""A second opinion on trades: a broker emulator in plain Python, written from the rules alone.

A test oracle, not a backtester: `simulate` takes signals and bars and returns the trades the rules below
imply, one bar after the other, without an engine.  NautilusTrader's trades must equal it.  It knows nothing
of NautilusTrader or costs: `aiopt.testing.statement` settles its trades.

Rules, in the order of a bar:

1. Orders decided at the previous close fill at the open: first the exit or reversal, then the entry.
2. A stop or target the open lies on or beyond fills at the open.  With `pine_entry_bar`, a short that was
   entered at this very open has no stop on this bar if the open lies on or beyond it (TradingView's habit;
   longs have no such exception).
3. The price walks to the two extremes, the high first if it is at most as far from the open as the low.  A
   target that is reached fills at its own price, a stop at its own or where `stop_fill` says.
4. On a segment's last bar a position is closed at the close.
5. At the close the strategy decides on the position it then has.

With a `BrokerAccount` there is money too, and it starts afresh after every segment's last bar:

6. Before rule 5, a close at which balance and open profit sum to nothing or less ruins the account: the
   position is closed at the next open.  So does an exit that leaves no balance.  Nothing is entered after
   that until the segment ends.
7. An order for an entry is worth its units at the ask (buy) or bid (sale) of the close at which it is
   decided.  Worth more than equity times leverage, a fixed size is refused; a size by risk shrinks to the
   whole steps that fit, and is refused if there is none.  A refused reversal still closes the old position.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from aiopt.bars.schema import BarSet
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


@dataclass(frozen=True)
class BrokerAccount:
    """Money of a segment: rules 6 and 7; without `margin` only the sizes by risk of rule 7."""

    initial_balance: float
    leverage: float
    margin: bool = True


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


# reason: the oracle of all account rules at once
def simulate(  # noqa: C901, PLR0912, PLR0913
    signals: SignalArrays,
    bars: BarSet,
    *,
    pine_entry_bar: bool,
    may_enter: Collection[int] | None = None,
    flatten_bars: Collection[int] = (),
    flatten_reason: str = "segment_end",
    account: BrokerAccount | None = None,
    stop_fill: Callable[[int, float, bool], float] | None = None,
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
    account : BrokerAccount, optional
        Default: money is no matter.
    stop_fill : callable, optional
        Takes a bar, the stop that is reached inside it and whether it closes a long, and returns the price of
        rule 3; default the stop.
    """
    trades: list[BrokerTrade] = []
    position: _Position | None = None
    exit_reason: str | None = None
    entry: tuple[bool, int, float] | None = None
    wallet = None if account is None else _Wallet(account, signals, bars)
    for bar in range(len(bars)):
        before = len(trades)
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
            if hit is not None and hit[1] == "stop_loss" and place != "open" and stop_fill is not None:
                hit = stop_fill(bar, hit[0], position.long), hit[1]
            if hit is not None:
                trades.append(position.closed(bar, *hit, "open" if place == "open" else "inside"))
                position = None
        if position is not None and bar in flatten_bars:
            price = _price(bars, "close", bar, position.long)
            trades.append(position.closed(bar, price, flatten_reason, "close"))
            position = None
        allowed = may_enter is None or bar in may_enter
        if wallet is not None:
            wallet.settle(trades[before:])
            if wallet.ruins(bar, position):
                exit_reason = "ruin"
                continue
        exit_reason, wanted = _decide(signals, bar, position, allowed)
        if wanted is not None:
            size = float(signals.units[bar])
            size = size if wallet is None else wallet.granted(bar, wanted, size, position)
            entry = (wanted, bar, size) if size > 0 else None
        if account is not None and bar in flatten_bars:
            wallet = _Wallet(account, signals, bars)
    if position is not None:
        side = "long" if position.long else "short"
        trades.append(BrokerTrade(position.entry_bar, position.entry_price, side, position.size))
    return trades


class _Wallet:
    """Money of the present segment."""

    def __init__(self, account: BrokerAccount, signals: SignalArrays, bars: BarSet) -> None:
        self._account = account
        self._step = signals.size_step
        self._bars = bars
        self._balance = account.initial_balance
        self._ruined = False

    def settle(self, trades: list[BrokerTrade]) -> None:
        for trade in trades:
            assert trade.exit_price is not None
            gain = (
                trade.exit_price - trade.entry_price
                if trade.side == "long"
                else trade.entry_price - trade.exit_price
            )
            self._balance = round(self._balance + gain * trade.size, 8)
            self._ruined = self._ruined or (self._account.margin and self._balance <= 0)

    def ruins(self, bar: int, position: _Position | None) -> bool:
        if position is None or not self._account.margin or self._equity(bar, position) > 0:
            return False
        self._ruined = True
        return True

    def granted(self, bar: int, long: bool, size: float, position: _Position | None) -> float:
        if self._ruined:
            return 0.0
        price = _price(self._bars, "close", bar, not long)
        worth = self._equity(bar, position) * self._account.leverage
        if self._step is None:
            return 0.0 if self._account.margin and size * price > worth else size
        return min(size, max(0.0, worth / price // self._step * self._step))

    def _equity(self, bar: int, position: _Position | None) -> float:
        if position is None:
            return self._balance
        mark = _price(self._bars, "close", bar, position.long)
        gain = mark - position.entry_price if position.long else position.entry_price - mark
        return round(self._balance + gain * position.size, 8)


def _price(bars: BarSet, place: str, bar: int, long: bool) -> float:
    """Return the price at which a position would be closed: the bid for a long, the ask for a short."""
    return float(getattr(bars.bid if long else bars.ask, place)[bar])


def _entered(
    signals: SignalArrays, bars: BarSet, bar: int, long: bool, signal_bar: int, size: float
) -> _Position:
    return _Position(
        entry_bar=bar,
        entry_price=_price(bars, "open", bar, not long),
        long=long,
        size=size,
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
) -> tuple[str | None, bool | None]:
    """Return the reason to exit and the side of an entry (long?), for the next open."""
    entry_long = allowed and bool(signals.entry_long[bar])
    entry_short = allowed and bool(signals.entry_short[bar])
    if position is None:
        return None, (entry_long if entry_long or entry_short else None)
    opposite = entry_short if position.long else entry_long
    if opposite:
        return "reverse", not position.long
    exits = signals.exit_long if position.long else signals.exit_short
    return ("exit_signal" if exits[bar] else None), None
