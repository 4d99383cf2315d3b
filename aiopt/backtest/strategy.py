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
from collections.abc import Mapping
from typing import Any

from nautilus_trader.model.data import BarType

from aiopt.backtest.account import SegmentAccount
from aiopt.backtest.growing_bars import BarRow
from aiopt.backtest.money import Amount
from aiopt.backtest.moving_exits import MovingExits
from aiopt.backtest.parts import Part
from aiopt.backtest.positions import ClosedPosition, HeldPosition, Leg
from aiopt.backtest.signals import SignalSource, StreamedSignals
from aiopt.backtest.strategy_orders import (
    CLOSING_REASONS,
    FLAT,
    LONG,
    SHORT,
    EntryPlan,
    OrderingStrategy,
)
from aiopt.backtest.trading_rules import TradingRules
from aiopt.errors import BacktestError
from aiopt.strategy.signals import BarSignal


class SpecStrategy(OrderingStrategy):
    """Trade one position at a time on the signals of a `SignalSource`.

    One object serves all runs of an engine, as Nautilus keeps a removed strategy's event handlers: a new
    one per run would leak.  `prepare` gives it the next run's work.
    """

    def __init__(self, name: str = "SPEC-001") -> None:
        super().__init__(name)
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
        self._prepare_orders(instrument, rules)
        self._source = source
        self._streams = isinstance(source, StreamedSignals)
        self._bar_type = bar_type
        self._timeframe_ns = timeframe_ns
        self._bar = -1
        self._due_bar = -1
        self._leaving: list[Leg] = []
        self._early: list[tuple[EntryPlan, Any]] = []
        self.closed: list[ClosedPosition] = []
        self.account = SegmentAccount(rules.account)

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
        source, stream = self._source, self._rules.stream
        assert isinstance(source, StreamedSignals)
        if stream is not None:
            assert stream.last is not None
            self._decide(len(stream) - 1, self.warm(stream.last))
            return
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

    def warm(self, row: BarRow) -> BarSignal:
        """Take a bar into the indicators without deciding on it; the last one added to the stream."""
        source, rules = self._source, self._rules
        assert isinstance(source, StreamedSignals)
        self._bar += 1
        rules.books.bar_ended(row.ts_open_ns, row.ts_open_ns + self._timeframe_ns, row.bid_close)
        return source.push(*row[:6])

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
        n_bars = self._rules.n_bars
        if n_bars is not None and bar >= n_bars - 1:
            return
        segment, limits = self._rules.segment_of(bar), self._rules.limits
        self.account.enter_segment(segment)
        if limits is not None:
            limits.enter_segment(segment)
        if self._rules.stream is not None and (self._is_leaving or self._plans):
            return  # orders of a close before this one wait for a quote still
        if self.side != FLAT and self.account.is_lost(self._equity(bar), self._now_ns()):
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
        elif self.moving is not None and self.moving.is_due(bar):
            self._close("time")
        else:
            self._protect(bar)
            if wants_long or wants_short:
                self._add(bar, signal)

    def _now_ns(self) -> int:
        """Return the time of a decision: on bars that grow, the last one's end, whatever the clock says."""
        stream = self._rules.stream
        return self.clock.timestamp_ns() if stream is None else stream.end_ns

    def flatten(self, reason: str) -> None:
        """Close what is held at the next quote, and let no entry that waits be followed by an exit alone.

        Parameters
        ----------
        reason : str
            One of `CLOSING_REASONS`.
        """
        for name in list(self._plans):
            self.cancel_order(self._known_order(name.value))
        if self.side != FLAT and not self._is_leaving:
            self._close(reason)

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
            whole = round(size, self._rules.size_decimals)
            self._send_entry(EntryPlan(side, stop, target, bar, distances, laid, whole))

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

    # --- fills ------------------------------------------------------------------------------------------

    def on_order_filled(self, event: Any) -> None:
        """Open or close the position the fill belongs to, or a part of it."""
        name = event.client_order_id
        plan = self._plans.pop(name, None)
        if plan is not None:
            left = plan.units - self._units_of(event)
            if left > 0.0:
                self._plans[name] = plan._replace(units=left)
            if self.side in (FLAT, plan.side):
                self._opened(event, plan)
            else:  # of a reversal, ahead of the exit
                self._early.append((plan, event))
            return
        reason, part = self._exits.pop(name, ("", None))
        if part is None or not part.is_open:
            self._strange(event)
            return
        left = part.units - self._units_of(event)
        if left > 0.0:
            self._exits[name] = reason, part
            self._shrunk(event, reason, part, left)
        else:
            self._left(event, reason, part)
        if self.position is None:
            early, self._early = self._early, []
            for waiting, fill in early:
                self._opened(fill, waiting)

    def _units_of(self, event: Any) -> float:
        return round(event.last_qty.as_double(), self._rules.size_decimals)

    def _price_of(self, event: Any) -> float:
        # Pine's rounding of the fill is the engine's: compare decimals.
        return round(event.last_px.as_double(), self._rules.price_decimals)

    def _strange(self, event: Any) -> None:
        """Note the fill of an order that nothing is known of, and change nothing."""
        text = f"{event.client_order_id} was filled, but the strategy has no such order"
        self.refusals.append(text)
        if self.failure is None:
            self.failure = f"Every fill must be of an order of the strategy, but {text}."

    def _opened(self, event: Any, plan: EntryPlan) -> None:
        price, units = self._price_of(event), self._units_of(event)
        levels = self._rules.levels
        if levels is not None and plan.laid is not None:
            stop, target = levels.around(price, plan.side, plan.laid, (plan.stop, plan.target))
            plan = plan._replace(stop=stop, target=target)
        part = Part(units, plan.target, event.position_id, None, [], event.ts_event, price)
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
            self._await_exits(event)
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

    def _await_exits(self, event: Any) -> None:
        """Let the simulated venue take the exits in before it sees the bar's extremes: orders travel 1 ns."""
        if self._rules.stream is None:
            self.clock.set_time_alert_ns(f"exits-{event.ts_event}", event.ts_event + 1, lambda _: None)

    def _shrunk(self, event: Any, reason: str, part: Part, left: float) -> None:
        """Take note that some of a part has left."""
        held = self.position
        assert held is not None
        gone = part.units - left
        part.units = left
        if reason in CLOSING_REASONS:
            self._leaving.append(self._leg(event, part, gone))
            return
        self.position = held._replace(units=held.units - gone)
        self._settle(self._of(held, part, gone), event, reason, ends=False)

    def _left(self, event: Any, reason: str, part: Part) -> None:
        """Take note that a part has left: by its own order, or with all others by a market order."""
        part.is_open = False
        held, still = self.position, self._open_parts()
        assert held is not None
        if reason not in CLOSING_REASONS:
            self._cancel_beside(event, part, still)
            self._settle(self._of(held, part, part.units), event, reason, ends=not still)
            held = held._replace(units=held.units - part.units)
        else:
            self._leaving.append(self._leg(event, part, part.units))
            if not still:
                self._settle_legs(held, event, reason)
        if not still:
            self.position = None
            self._forget_exits()
        elif reason not in CLOSING_REASONS:
            self.position = held._replace(target=still[0].target)
            self.target_price = still[0].target

    @staticmethod
    def _of(held: HeldPosition, part: Part, units: float) -> HeldPosition:
        """Return what some units of a part are as a position of their own."""
        return HeldPosition(held.side, units, part.entry_ts_ns, part.entry_price, held.stop, part.target)

    def _leg(self, event: Any, part: Part, units: float) -> Leg:
        return Leg(units, part.entry_ts_ns, part.entry_price, event.ts_event, self._price_of(event))

    def _settle_legs(self, held: HeldPosition, event: Any, reason: str) -> None:
        """Book what market orders took of a position: one round trip per pair of prices."""
        sizes: dict[tuple[int, float, int, float], float] = {}
        for units, *prices in self._leaving:
            key = tuple(prices)
            sizes[key] = sizes.get(key, 0.0) + units  # type: ignore[index, arg-type]
        self._leaving = []
        for number, ((entry_ts_ns, entry_price, exit_ts_ns, exit_price), units) in enumerate(sizes.items()):
            one = held._replace(units=units, entry_ts_ns=entry_ts_ns, entry_price=entry_price)
            self._settle_at(one, exit_ts_ns, exit_price, reason, ends=number == len(sizes) - 1)

    def _cancel_beside(self, event: Any, part: Part, still: list[Part]) -> None:
        """Cancel the other exits of a part whose venue position goes on: fills of one order share it."""
        if self._rules.stream is not None and any(one.position_id == part.position_id for one in still):
            for order in part.resting:
                if order.client_order_id != event.client_order_id and order.is_open:
                    self.cancel_order(order)

    def _settle(self, left: HeldPosition, event: Any, reason: str, *, ends: bool) -> None:
        """Book a round trip; `ends`: nothing is held behind it."""
        self._settle_at(left, event.ts_event, self._price_of(event), reason, ends=ends)

    def _settle_at(self, left: HeldPosition, ts_ns: int, price: float, reason: str, *, ends: bool) -> None:
        settlement = self._rules.books.settle(
            left.side, left.units, left.entry_ts_ns, left.entry_price, ts_ns, price
        )
        self.closed.append(ClosedPosition(*left, ts_ns, price, reason, settlement))
        if self._rules.limits is not None:
            self._rules.limits.left(ts_ns, settlement.net, self.account.balance, ends=ends)
        self.account.book(settlement.net, ts_ns)

    # --- state ------------------------------------------------------------------------------------------

    def save_state(self) -> dict[str, Any]:
        """Return all that a restart needs beside the bars, as plain data that JSON can hold.

        Whole numbers may be larger than 64 bits: amounts of money are exact.
        """
        limits, moving = self._rules.limits, self.moving
        return {
            "bar": self._bar,
            "orders": self._saved_orders(),
            "leaving": [list(leg) for leg in self._leaving],
            "account": self.account.save(),
            "limits": None if limits is None else limits.save(),
            "moving": None if moving is None else moving.save(),
        }

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `save_state` returned, after `prepare` and `warm` with all bars up to it.

        Raises
        ------
        BacktestError
            If the state is of another bar, or the node's cache lacks an order it speaks of.
        """
        if state["bar"] != self._bar:
            msg = f"The strategy's state is of bar {state['bar']}, but it was warmed up to bar {self._bar}."
            raise BacktestError(f"{msg} Feed it the session's own bars.")
        self._restore_orders(state["orders"] | {"entries": state.get("entries", [])})
        self._leaving = [Leg(*leg) for leg in state["leaving"]]
        self.account.restore(state["account"])
        if self._rules.limits is not None:
            self._rules.limits.restore(state["limits"])
        if self.moving is not None:
            self.moving.restore(state["moving"])
