"""The Nautilus strategy that trades a StrategySpec's signals.

Owns the life of one position: entry, stop and targets, exit by signal, reversal, closing at a segment's end
or when the account is lost.  What margin allows is `aiopt.backtest.account`'s business.
Knows nothing of indicators or conditions (they come through `SignalSource`), bars' arrays or results' layout.

Timing, with insert latency 1 ns and cancel latency 0 (see `aiopt.backtest.replay` for the quotes):

- at the close of bar t the strategy decides; market orders reach the venue 1 ns later and fill at the next
  quote, the open of bar t+1;
- a signal that closes a position cancels its stop and target at once, so that at the next open the market
  order acts, as the emitted Pine Script does;
- stop and target are sent when the entry fills, as reduce-only orders that live before the bar's extremes;
- a strategy with several targets enters in parts, each with a stop and a target of its own
  (`aiopt.backtest.parts`); what a market order leaves is one round trip of all that is left;
- a bar's close that finds the account lost closes the position at the next open, like an exit signal.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import OrderSide
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.trading.strategy import Strategy

from aiopt.backtest.account import SegmentAccount
from aiopt.backtest.money import Amount
from aiopt.backtest.moving_exits import MovingExits
from aiopt.backtest.parts import Part
from aiopt.backtest.positions import ClosedPosition, HeldPosition
from aiopt.backtest.signals import SignalSource, StreamedSignals
from aiopt.backtest.trading_rules import TradingRules
from aiopt.strategy.signals import BarSignal

LONG, FLAT, SHORT = 1, 0, -1

CLOSING_REASONS = ("exit_signal", "reverse", "segment_end", "end_of_data", "ruin", "time")


class EntryPlan(NamedTuple):
    """What an entry order wants.

    `distances` are those of a moving stop, see `MovingExits.open`; `laid` those of stop and target that are
    laid from the fill, see `LaidLevels.distances`.
    """

    side: int
    stop: float
    target: float
    bar: int
    distances: dict[str, float]
    laid: tuple[float, float] | None = None


class SpecStrategy(Strategy):
    """Trade one position at a time on the signals of a `SignalSource`.

    One object serves all runs of an engine, as Nautilus keeps a removed strategy's event handlers: a new
    object per run would leak and slow every later run.  `prepare` gives it the next run's work.
    """

    def __init__(self, name: str = "SPEC-001") -> None:
        super().__init__(StrategyConfig(strategy_id=name))
        self._streams = False

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
        self._streams = isinstance(source, StreamedSignals)
        self._rules = rules
        self._bar_type = bar_type
        self._timeframe_ns = timeframe_ns
        self._plans: dict[Any, EntryPlan] = {}
        self._exits: dict[Any, tuple[str, Part]] = {}
        self._parts: list[Part] = []
        self._bar = -1
        self._due_bar = -1
        self.held_stop: float = math.nan
        self.held_target: float = math.nan
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

    @property
    def held(self) -> list[HeldPosition]:
        """Entries that are open, the oldest first."""
        return [] if self.position is None else [self.position]

    @property
    def moving(self) -> MovingExits | None:
        """Where the position's stop lies and when its time is up, if it moves or ends."""
        return self._rules.moving

    @property
    def waits_for_close(self) -> bool:
        """Whether a stop or target acts only from the close of the entry bar on."""
        return not (math.isnan(self.held_stop) and math.isnan(self.held_target))

    def first_loss(self, start: int, end: int) -> int:
        """Return the first bar in [start, end) at whose close the account may be lost, else `end`."""
        held = self.held
        if not held or not self._rules.account.has_margin:
            return end
        return self._rules.values.first_loss(held, self.account.balance, start, end)

    # --- driven by the engine ---------------------------------------------------------------------------

    def on_start(self) -> None:
        """Subscribe to bars if signals are computed from them."""
        if self._streams:
            self.subscribe_bars(self._bar_type)

    def rest(self) -> None:
        """Have no part in the runs that follow, until it is prepared again."""
        self._streams = False

    def on_stop(self) -> None:
        """End the subscription: the next run may not want it."""
        if self._streams:
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
        segment, limits = self._rules.segment_of(bar), self._rules.limits
        self.account.enter_segment(segment)
        if limits is not None:
            limits.enter_segment(segment)
        if self.side != FLAT and self.account.is_lost(self._equity(bar), self.clock.timestamp_ns()):
            self._close("ruin")
            return
        may_enter = self._rules.may_enter(bar)
        if limits is not None and limits.holds_back(bar, self.account.balance):
            may_enter = False
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
        elif self.moving is not None and bar >= self.moving.due_bar:
            self._close("time")
        else:
            self._protect(bar)
            if wants_long or wants_short:
                self._add(bar, signal)

    def _add(self, bar: int, signal: BarSignal) -> None:
        """Do nothing on an entry signal of the side that is held: there is one entry at a time."""

    def _protect(self, bar: int) -> None:
        """Put stop and target where they lie from this close on."""
        if not math.isnan(self.held_target):
            self.target_price, self.held_target = self.held_target, math.nan
            for part in self._open_parts():
                self._send_target(part)
        moving = self.moving
        if moving is None or not moving.plan.moves:
            held = self.held_stop
            if not math.isnan(held):
                for part in self._open_parts():
                    self._send_stop(part, held)
            return
        price, reason = moving.stop_after(bar)
        if math.isnan(price) or price == self.stop_price:
            return
        # All cancellations first: NautilusTrader takes messages from a heap as from a sorted list, so one
        # that is due sooner than those sent before it could be left behind.
        for part in self._open_parts():
            if part.stop_order is not None:
                part.resting.remove(part.stop_order)
                self.cancel_order(part.stop_order)
        for part in self._open_parts():
            self._send_stop(part, price, reason)

    def _enter(self, side: int, bar: int, signal: BarSignal, *, beside: float = 0.0) -> None:
        """Order an entry, `beside` so many units that stay."""
        price = self._rules.values.entry_price(side, bar)
        units = self.account.admit(bar, signal.units, price=price, equity=self._equity(bar), beside=beside)
        if not units:
            return
        stop, last_target = (
            (signal.stop_long, signal.target_long)
            if side == LONG
            else (signal.stop_short, signal.target_short)
        )
        distances, levels = self._distances(bar), self._rules.levels
        laid = None
        if levels is not None:
            laid = levels.distances(lambda name: self._source.indicator(name, bar))
        for size, target in self._cut(units, side, bar, last_target):
            order = self.order_factory.market(
                self._instrument.id, OrderSide.BUY if side == LONG else OrderSide.SELL, self._quantity(size)
            )
            self._plans[order.client_order_id] = EntryPlan(side, stop, target, bar, distances, laid)
            self.submit_order(order)

    def _cut(self, units: float, side: int, bar: int, last_target: float) -> list[tuple[float, float]]:
        """Return the units and the target of each part of an entry."""
        parts, source = self._rules.parts, self._source
        if parts is None:
            return [(units, last_target)]
        return parts.of(
            units,
            side=side,
            bar=bar,
            last_target=last_target,
            value_of=lambda name: source.indicator(name, bar),
        )

    def _distances(self, bar: int) -> dict[str, float]:
        """Return the distances of a moving stop of an entry signalled on a bar."""
        if self.moving is None:
            return {}
        plan, source = self.moving.plan, self._source
        wanted = {"trail": plan.trail, "trail_after": plan.trail_after, "even_after": plan.even_after}
        return {
            name: math.nan if away is None else away.at(lambda name: source.indicator(name, bar))
            for name, away in wanted.items()
        }

    def _equity(self, bar: int) -> Amount:
        """Return the account's equity at the close of a bar."""
        values = self._rules.values
        return self.account.balance + sum(values.open_value(held, bar) for held in self.held)

    def _close(self, reason: str) -> None:
        parts = self._open_parts()
        for part in parts:
            for order in part.resting:
                self.cancel_order(order)
            part.resting, part.stop_order = [], None
        self._forget_exits()
        for part in parts:
            order = self.order_factory.market(
                self._instrument.id, self._exit_side(), self._quantity(part.units), reduce_only=True
            )
            self._submit_exit(order, reason, part)

    # --- fills ------------------------------------------------------------------------------------------

    def on_order_filled(self, event: Any) -> None:
        """Open or close the position the fill belongs to."""
        plan = self._plans.pop(event.client_order_id, None)
        if plan is not None:
            self._opened(event, plan)
            return
        self._left(event, *self._exits.pop(event.client_order_id))

    def _opened(self, event: Any, plan: EntryPlan) -> None:
        # Pine's rounding of the fill is the engine's: compare decimals.
        price = round(event.last_px.as_double(), self._rules.price_decimals)
        units = round(event.last_qty.as_double(), self._rules.size_decimals)
        levels = self._rules.levels
        if levels is not None and plan.laid is not None:
            stop, target = levels.around(price, plan.side, plan.laid, (plan.stop, plan.target))
            plan = plan._replace(stop=stop, target=target)
        part = Part(units, plan.target, event.position_id, None, [])
        if self.position is None:
            self._parts = [part]
            self.position = HeldPosition(plan.side, units, event.ts_event, price, plan.stop, plan.target)
            self.target_price = plan.target
            if self._rules.limits is not None:
                self._rules.limits.entered(event.ts_event, self.account.balance)
            if self.moving is not None:
                self.moving.open(
                    side=plan.side,
                    entry_bar=plan.bar + 1,
                    entry_price=price,
                    stop=plan.stop,
                    **plan.distances,
                )
            # Orders travel 1 ns: an alert makes the venue take them in before it sees the bar's extremes.
            self.clock.set_time_alert_ns(f"exits-{event.ts_event}", event.ts_event + 1, self._on_exits_sent)
        else:
            self._parts.append(part)
            self.position = self.position._replace(units=self.position.units + units)
        asleep = plan.side == SHORT and self._rules.pine_entry_bar and price >= plan.stop
        if asleep or (levels is not None and levels.stop_waits):
            self.held_stop = plan.stop
        elif not math.isnan(plan.stop):
            self._send_stop(part, plan.stop)
        if levels is not None and levels.target_waits:
            self.held_target, self.target_price = plan.target, math.nan
        elif not math.isnan(plan.target):
            self._send_target(part)

    def _on_exits_sent(self, event: Any) -> None:
        """Do nothing: the venue processes its messages after every time event."""

    def _left(self, event: Any, reason: str, part: Part) -> None:
        """Take note that a part has left: by its own order, or with all others by a market order."""
        part.is_open = False
        held, still = self.position, self._open_parts()
        assert held is not None
        if reason not in CLOSING_REASONS:
            left = held._replace(units=part.units, target=part.target)
            self._settle(left, event, reason, ends=not still)
            held = held._replace(units=held.units - part.units)
        elif not still:
            self._settle(held, event, reason, ends=True)
        if not still:
            self.position = None
            self._forget_exits()
        elif reason not in CLOSING_REASONS:
            self.position = held._replace(target=still[0].target)
            self.target_price = still[0].target

    def _settle(self, left: HeldPosition, event: Any, reason: str, *, ends: bool) -> None:
        """Book a round trip; `ends`: nothing is held behind it."""
        exit_price = round(event.last_px.as_double(), self._rules.price_decimals)
        settlement = self._rules.books.settle(
            left.side, left.units, left.entry_ts_ns, left.entry_price, event.ts_event, exit_price
        )
        self.closed.append(ClosedPosition(*left, event.ts_event, exit_price, reason, settlement))
        if self._rules.limits is not None:
            self._rules.limits.left(event.ts_event, settlement.net, self.account.balance, ends=ends)
        self.account.book(settlement.net, event.ts_event)

    def _open_parts(self) -> list[Part]:
        return [part for part in self._parts if part.is_open]

    # --- orders -----------------------------------------------------------------------------------------

    def _send_stop(self, part: Part, price: float, reason: str = "stop_loss") -> None:
        self.held_stop = math.nan
        self.stop_price = price
        order = self.order_factory.stop_market(
            self._instrument.id,
            self._exit_side(),
            self._quantity(part.units),
            Price(price, self._rules.price_decimals),
            reduce_only=True,
        )
        part.resting.append(order)
        part.stop_order = order
        self._submit_exit(order, reason, part)

    def _send_target(self, part: Part) -> None:
        order = self.order_factory.limit(
            self._instrument.id,
            self._exit_side(),
            self._quantity(part.units),
            Price(part.target, self._rules.price_decimals),
            reduce_only=True,
        )
        part.resting.append(order)
        self._submit_exit(order, "take_profit", part)

    def _submit_exit(self, order: Any, reason: str, part: Part) -> None:
        self._exits[order.client_order_id] = reason, part
        self.submit_order(order, position_id=part.position_id)

    def _forget_exits(self) -> None:
        self.held_stop = self.held_target = self.stop_price = self.target_price = math.nan

    def _exit_side(self) -> OrderSide:
        return OrderSide.SELL if self.side == LONG else OrderSide.BUY

    def _quantity(self, units: float) -> Quantity:
        return Quantity(units, self._rules.size_decimals)

    # --- refusals ---------------------------------------------------------------------------------------

    def on_order_rejected(self, event: Any) -> None:
        """Record why, unless the order's position was closed while it travelled."""
        reason, part = self._exits.pop(event.client_order_id, ("", None))
        if part is None or reason in CLOSING_REASONS or part.is_open:
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
