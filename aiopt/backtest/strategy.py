"""The Nautilus strategy that trades a StrategySpec's signals.

Owns the life of one position: entry, stop and target, exit by signal, reversal, closing at a segment's end or
when the account is lost.  What margin allows is `aiopt.backtest.account`'s business.
Knows nothing of indicators or conditions (they come through `SignalSource`), bars' arrays or results' layout.

Timing, with insert latency 1 ns and cancel latency 0 (see `aiopt.backtest.replay` for the quotes):

- at the close of bar t the strategy decides; market orders reach the venue 1 ns later and fill at the next
  quote, the open of bar t+1;
- a signal that closes a position cancels its stop and target at once, so that at the next open the market
  order acts, as the emitted Pine Script does;
- stop and target are sent when the entry fills, as reduce-only orders that live before the bar's extremes;
- a bar's close that finds the account lost closes the position at the next open, like an exit signal.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.trading.strategy import Strategy

from aiopt.backtest.account import AccountRules, SegmentAccount
from aiopt.backtest.bookkeeper import Bookkeeper, Settlement
from aiopt.backtest.money import Amount
from aiopt.backtest.signals import SignalSource, StreamedSignals
from aiopt.backtest.valuation import Valuation
from aiopt.strategy.signals import BarSignal

LONG, FLAT, SHORT = 1, 0, -1

CLOSING_REASONS = ("exit_signal", "reverse", "segment_end", "end_of_data", "ruin")


class ClosedPosition(NamedTuple):
    """One round trip as the venue filled it; times are the engine's."""

    side: int
    units: float
    entry_ts_ns: int
    entry_price: float
    stop: float
    target: float
    exit_ts_ns: int
    exit_price: float
    exit_reason: str
    settlement: Settlement


class HeldPosition(NamedTuple):
    """An open position; `stop` and `target` are the prices of its orders, NaN where there are none."""

    side: int
    units: float
    entry_ts_ns: int
    entry_price: float
    stop: float
    target: float


class _Plan(NamedTuple):
    """What an entry order wants."""

    side: int
    stop: float
    target: float


class TradingRules(NamedTuple):
    """What the strategy must know of market, mode and segments.

    Attributes
    ----------
    may_enter : callable of int to bool
        Whether a signal at the close of a bar may open a position.
    n_bars : int
        Bars of the series; nothing is ordered at the close of the last.
    price_decimals, size_decimals : int
        Of the engine's instrument.
    volume : sequence of float
        Bar volumes; not read from the engine's bars, whose volumes are rounded to its size precision.
    pine_entry_bar : bool
        True: a short whose entry bar opens at or above its stop keeps it unarmed until that bar has closed,
        as TradingView does (a long in the same place is stopped at the open).
    account : AccountRules
        Margin and ruin.
    segment_of : callable of int to int
        Segment a bar lies in; each has an account of its own.
    values : Valuation
        What positions and entries are valued at, at the close of each bar.
    books : Bookkeeper
        Settles every position; the venue charges nothing.
    flatten_reason : str
        Exit reason of a position closed at its segment's end.
    """

    may_enter: Callable[[int], bool]
    n_bars: int
    price_decimals: int
    size_decimals: int
    volume: Any
    pine_entry_bar: bool
    account: AccountRules
    segment_of: Callable[[int], int]
    values: Valuation
    books: Bookkeeper
    flatten_reason: str


class SpecStrategy(Strategy):
    """Trade one position at a time on the signals of a `SignalSource`.

    One object serves all runs of an engine, as Nautilus keeps a removed strategy's event handlers: a new
    object per run would leak and slow every later run.  `prepare` gives it the next run's work.
    """

    def __init__(self) -> None:
        super().__init__(StrategyConfig(strategy_id="SPEC-001"))

    def prepare(
        self,
        instrument: Any,
        source: SignalSource,
        rules: TradingRules,
        bar_type: BarType,
        timeframe_ns: int,
    ) -> None:
        """Forget the last run and take up the next.

        Parameters
        ----------
        instrument : nautilus Instrument
            What is traded.
        source : SignalSource
            Signals; a `StreamedSignals` makes the strategy subscribe to `bar_type`.
        rules : TradingRules
            Market, mode and segments.
        bar_type : BarType
            Bars to decide on.
        timeframe_ns : int
            Bar length.
        """
        self._instrument = instrument
        self._source = source
        self._rules = rules
        self._bar_type = bar_type
        self._timeframe_ns = timeframe_ns
        self._plans: dict[Any, _Plan] = {}
        self._exits: dict[Any, str] = {}
        self._resting: list[Any] = []
        self._position_id: Any = None
        self._bar = -1
        self._due_bar = -1
        self.held_stop: float = math.nan
        self.stop_price: float = math.nan
        self.target_price: float = math.nan
        self.position: HeldPosition | None = None
        self.closed: list[ClosedPosition] = []
        self.account = SegmentAccount(rules.account)
        self.failure: str | None = None

    @property
    def side(self) -> int:
        """`LONG`, `SHORT` or `FLAT`."""
        return FLAT if self.position is None else self.position.side

    def first_loss(self, start: int, end: int) -> int:
        """Return the first bar in [start, end) at whose close the account may be lost, else `end`."""
        if self.position is None or not self._rules.account.has_margin:
            return end
        return self._rules.values.first_loss(self.position, self.account.balance, start, end)

    # --- driven by the engine ---------------------------------------------------------------------------

    def on_start(self) -> None:
        """Subscribe to bars if signals are computed from them."""
        if isinstance(self._source, StreamedSignals):
            self.subscribe_bars(self._bar_type)

    def on_stop(self) -> None:
        """End the subscription: the next run may not want it."""
        if isinstance(self._source, StreamedSignals):
            self.unsubscribe_bars(self._bar_type)

    def on_bar(self, bar: Any) -> None:
        """Compute the bar's signal and act on it."""
        source = self._source
        assert isinstance(source, StreamedSignals)
        self._bar += 1
        digits = self._rules.price_decimals
        # Rounding undoes the fixed-point conversion, which can be one bit off the decimal price.
        signal = source.push(
            bar.ts_event - self._timeframe_ns,
            round(bar.open.as_double(), digits),
            round(bar.high.as_double(), digits),
            round(bar.low.as_double(), digits),
            round(bar.close.as_double(), digits),
            float(self._rules.volume[self._bar]),
        )
        self._decide(self._bar, signal)

    def schedule_decision(self, bar: int, ts_close_ns: int) -> None:
        """Decide on bar `bar` at its close.  For replays that deliver no bars."""
        self._due_bar = bar
        self.clock.set_time_alert_ns(f"decide-{bar}", ts_close_ns, self._on_decision_due)

    def schedule_flatten(self, bar: int, ts_ns: int) -> None:
        """Close any position on bar `bar`: cancel at `ts_ns`, fill at the quote that follows."""
        self.clock.set_time_alert_ns(f"flatten-{bar}", ts_ns, self._on_flatten_due)

    def _on_decision_due(self, event: Any) -> None:
        self._decide(self._due_bar, self._source.at(self._due_bar))

    def _on_flatten_due(self, event: Any) -> None:
        if self.position is not None:
            self._close(self._rules.flatten_reason)

    # --- decisions --------------------------------------------------------------------------------------

    def _decide(self, bar: int, signal: BarSignal) -> None:
        """Act at the close of a bar."""
        if bar >= self._rules.n_bars - 1:
            return
        self.account.enter_segment(self._rules.segment_of(bar))
        if self.side != FLAT and self.account.is_lost(self._equity(bar), self.clock.timestamp_ns()):
            self._close("ruin")
            return
        may_enter = self._rules.may_enter(bar)
        wants_long = signal.entry_long and may_enter
        wants_short = signal.entry_short and may_enter
        if self.side == FLAT:
            if wants_long or wants_short:
                self._enter(LONG if wants_long else SHORT, bar, signal)
            return
        opposite = wants_short if self.side == LONG else wants_long
        leaves = signal.exit_long if self.side == LONG else signal.exit_short
        if opposite:
            new_side = -self.side
            self._close("reverse")
            self._enter(new_side, bar, signal)
        elif leaves:
            self._close("exit_signal")
        elif not math.isnan(self.held_stop):
            self._send_stop(self.held_stop)

    def _enter(self, side: int, bar: int, signal: BarSignal) -> None:
        price = self._rules.values.entry_price(side, bar)
        units = self.account.admit(bar, signal.units, price=price, equity=self._equity(bar))
        if not units:
            return
        order = self.order_factory.market(
            self._instrument.id, OrderSide.BUY if side == LONG else OrderSide.SELL, self._quantity(units)
        )
        if side == LONG:
            plan = _Plan(side, signal.stop_long, signal.target_long)
        else:
            plan = _Plan(side, signal.stop_short, signal.target_short)
        self._plans[order.client_order_id] = plan
        self.submit_order(order)

    def _equity(self, bar: int) -> Amount:
        """Return the account's equity at the close of a bar."""
        held = self.position
        if held is None:
            return self.account.balance
        return self.account.balance + self._rules.values.open_value(held, bar)

    def _close(self, reason: str) -> None:
        assert self.position is not None
        for order in self._resting:
            self.cancel_order(order)
        self._forget_exits()
        self._submit_exit(
            self.order_factory.market(
                self._instrument.id, self._exit_side(), self._quantity(self.position.units), reduce_only=True
            ),
            reason,
        )

    # --- fills ------------------------------------------------------------------------------------------

    def on_order_filled(self, event: Any) -> None:
        """Open or close the position the fill belongs to."""
        plan = self._plans.pop(event.client_order_id, None)
        if plan is not None:
            self._opened(event, plan)
            return
        self._closed(event, self._exits.pop(event.client_order_id))

    def _opened(self, event: Any, plan: _Plan) -> None:
        price = event.last_px.as_double()
        units = round(event.last_qty.as_double(), self._rules.size_decimals)
        self.position = HeldPosition(
            plan.side,
            units,
            event.ts_event,
            round(price, self._rules.price_decimals),
            plan.stop,
            plan.target,
        )
        self._position_id = event.position_id
        # Pine's rounding of the fill is the engine's: compare decimals.
        price = self.position.entry_price
        if plan.side == SHORT and self._rules.pine_entry_bar and price >= plan.stop:
            self.held_stop = plan.stop
        elif not math.isnan(plan.stop):
            self._send_stop(plan.stop)
        if not math.isnan(plan.target):
            self._send_target(plan.target)
        # Orders travel 1 ns: an alert makes the venue take them in before it sees the bar's extremes.
        self.clock.set_time_alert_ns(f"exits-{event.ts_event}", event.ts_event + 1, self._on_exits_sent)

    def _on_exits_sent(self, event: Any) -> None:
        """Do nothing: the venue processes its messages after every time event."""

    def _closed(self, event: Any, reason: str) -> None:
        held = self.position
        assert held is not None
        exit_price = round(event.last_px.as_double(), self._rules.price_decimals)
        settlement = self._rules.books.settle(
            held.side, held.units, held.entry_ts_ns, held.entry_price, event.ts_event, exit_price
        )
        self.closed.append(ClosedPosition(*held, event.ts_event, exit_price, reason, settlement))
        self.account.book(settlement.net, event.ts_event)
        self.position = None
        self._forget_exits()

    # --- orders -----------------------------------------------------------------------------------------

    def _send_stop(self, price: float) -> None:
        self.held_stop = math.nan
        self.stop_price = price
        assert self.position is not None
        order = self.order_factory.stop_market(
            self._instrument.id,
            self._exit_side(),
            self._quantity(self.position.units),
            Price(price, self._rules.price_decimals),
            reduce_only=True,
        )
        self._resting.append(order)
        self._submit_exit(order, "stop_loss")

    def _send_target(self, price: float) -> None:
        self.target_price = price
        assert self.position is not None
        order = self.order_factory.limit(
            self._instrument.id,
            self._exit_side(),
            self._quantity(self.position.units),
            Price(price, self._rules.price_decimals),
            reduce_only=True,
        )
        self._resting.append(order)
        self._submit_exit(order, "take_profit")

    def _submit_exit(self, order: Any, reason: str) -> None:
        self._exits[order.client_order_id] = reason
        self.submit_order(order, position_id=self._position_id)

    def _forget_exits(self) -> None:
        self._resting = []
        self.held_stop = self.stop_price = self.target_price = math.nan

    def _exit_side(self) -> OrderSide:
        return OrderSide.SELL if self.side == LONG else OrderSide.BUY

    def _quantity(self, units: float) -> Quantity:
        return Quantity(units, self._rules.size_decimals)

    # --- refusals ---------------------------------------------------------------------------------------

    def on_order_rejected(self, event: Any) -> None:
        """Record why, unless the order's position was closed while it travelled."""
        reason = self._exits.pop(event.client_order_id, None)
        if reason is None or reason in CLOSING_REASONS or self.position is not None:
            self._refused("rejected", event)

    def on_order_denied(self, event: Any) -> None:
        """Record why the risk engine denied an order."""
        self._refused("denied", event)

    def on_order_cancel_rejected(self, event: Any) -> None:
        """Record why an order could not be cancelled."""
        self._refused("kept although it was cancelled", event)

    def _refused(self, what: str, event: Any) -> None:
        if self.failure is None:
            self.failure = (
                f"Every order must be accepted, but {event.client_order_id} was {what}: {event.reason}"
            )
