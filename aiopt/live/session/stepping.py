"""One step of a session: what one quote causes, and the commit behind it.

1. The quote's stamp shows which bars have ended.  They are cut and delivered; strategies decide, their orders
   reach the venue.  All of it is done before the next line (`aiopt.live.node.pump`).
2. The venue sees the quote: orders that wait fill, stops and targets are judged, fills go to the strategies,
   which send stop and target; these are judged by the same quote.
3. If anything happened it is committed, in one transaction: venue, strategies, cursor, bars, trades, events.

A session that ends anywhere goes on from its last commit and sees the quotes behind it again.  As all of a
step follows from the quote and the state, ids of orders too, the same happens again, once.

Owns the step.  Knows no feed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np

from aiopt.backtest.growing_bars import BarRow, GrowingBars
from aiopt.backtest.pricing import spread_steps
from aiopt.errors import DataError
from aiopt.live.feeds.bar_cutter import BarCutter
from aiopt.live.guard.guard import Guard
from aiopt.live.guard.paper_target import PaperTarget
from aiopt.live.node.paper_node import PaperNode
from aiopt.live.paper.seam import Filled, VenueEvent
from aiopt.live.paper.venue import PaperVenue
from aiopt.live.reading.live_reader import LiveReader
from aiopt.live.session.live_trades import LiveTrade, live_trade, trade_past
from aiopt.live.session.telling import Teller, actions_of
from aiopt.live.state.session_file import SessionFile
from aiopt.market.instrument import Instrument
from aiopt.timeframe import Timeframe

_COMMIT_S = 1.0
"""Seconds after which what can come again from the feed is committed all the same."""
_PAST = "-past-"
"""In the ids of orders that close a position without its strategy."""
_LAST_QUOTES = 1_000
_PURGED = 64
"""Commits between two clearings of the node's cache."""


@dataclass
class Series:
    """Bars of one instrument and timeframe.

    Attributes
    ----------
    bars : GrowingBars
        As the strategies read them.
    bar_type : nautilus BarType
        The node's name of them.
    """

    bars: GrowingBars
    bar_type: Any

    @property
    def name(self) -> str:
        """``EURUSD-5m``."""
        return series_name(self.bars.instrument, self.bars.timeframe)


def series_name(traded: Instrument, timeframe: Timeframe) -> str:
    """Return ``EURUSD-5m``."""
    return f"{traded.symbol}-{timeframe.label}"


def with_spread(row: BarRow, traded: Instrument, pips: float) -> BarRow:
    """Return a bar whose ask is raised, as `aiopt.backtest.pricing.widen_spread` raises those of a series."""
    if not pips:
        return row
    steps = spread_steps(traded, pips)
    asks = np.round(np.array(row[6:10]) + steps / traded.price_scale, traded.price_precision + 1).tolist()
    return BarRow._make((*row[:6], *asks, *row[10:]))


class StepObserver(Protocol):
    """Told of steps and commits; changes nothing."""

    def stepped(self, stepper: Stepper, kind: str, took_s: float) -> None:
        """Take note of a step in which nothing (``"quiet"``), a ``"bar"`` or an ``"order"`` happened."""
        ...

    def committed(
        self,
        stepper: Stepper,
        notes: Sequence[dict[str, Any]],
        trades: Sequence[tuple[str, LiveTrade]],
    ) -> None:
        """Take note of what a commit holds, once it is on the disk."""
        ...

    def ended(self, stepper: Stepper) -> None:
        """Take note of the end of a stretch."""
        ...


@dataclass(kw_only=True)
class Stepper:
    """Steps of one instrument's quotes.

    Attributes
    ----------
    node, venue, file, cutter
        What a step goes through.
    traded : Instrument
        What is quoted.
    series : dict of Timeframe to Series
        What strategies decide on.
    timeframes : dict of str to Timeframe
        Of each strategy, by id.
    guard : Guard
        Judges quotes and orders; has the kill switch.
    teller : Teller
        Told of everything that happens, for the bus.
    commits_bars : bool
        Whether every bar is committed at once, not only what orders do.
    also : callable
        Gives further parts of the state, asked at each commit.
    observer : StepObserver or None
        Told of steps and commits.
    position : int
        Place in the feed behind the last quote taken.
    feed_record : str or None
        What is to be read of a live feed beside its place, JSON: how late it is, what is wrong with it.
    reader : LiveReader or None
        Reads charts beside the session.
    chart_frame : Timeframe or None
        The bars it reads.
        Quotes of the feed taken so far.
    cut : int
        Bars so far, of all series.
    """

    node: PaperNode
    venue: PaperVenue
    file: SessionFile
    cutter: BarCutter
    traded: Instrument
    series: dict[Timeframe, Series]
    timeframes: dict[str, Timeframe]
    guard: Guard
    teller: Teller
    commits_bars: bool
    also: Callable[[], Mapping[str, str]] = dict
    on_commit: Callable[[], None] = lambda: None
    reader: LiveReader | None = None
    chart_frame: Timeframe | None = None
    observer: StepObserver | None = None
    position: int = 0
    feed_record: str | None = None
    last: tuple[int, float, float] | None = None
    dropped: int = 0
    quotes: int = 0
    cut: int = 0
    commits: int = 0
    events: list[VenueEvent] = field(default_factory=list)
    notes: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    flattened: set[str] = field(default_factory=set)
    _bars: list[tuple[str, int, BarRow]] = field(default_factory=list)
    _trades: list[tuple[str, LiveTrade]] = field(default_factory=list)
    _written: dict[str, str] = field(default_factory=dict)
    _touched: set[str] = field(default_factory=set)
    _due: float = 0.0
    _taken: int = 0
    _kill_step: str = "armed"

    def step(
        self,
        position: int,
        ts_ns: int,
        bid: float,
        ask: float,
        sizes: tuple[float, float],
        arrived_ns: int | None = None,
    ) -> None:
        """Take a quote.

        Parameters
        ----------
        position : int
            Its place in the feed.
        ts_ns : int
            UTC.
        bid, ask : float
            Quote currency.
        sizes : tuple of float
            Of bid and ask.
        arrived_ns : int, optional
            When it came, UTC on this machine's clock; default: when it is stamped, as in a replay.

        Raises
        ------
        StorageError
            If what happened cannot be committed; the session then goes on from the commit before.
        """
        if self.observer is None:
            self._step(position, ts_ns, bid, ask, sizes, arrived_ns)
            return
        seq, cut = self.venue.seq, self.cut
        began = time.perf_counter()
        self._step(position, ts_ns, bid, ask, sizes, arrived_ns)
        took = time.perf_counter() - began
        kind = "order" if self.venue.seq > seq else "bar" if self.cut > cut else "quiet"
        self.observer.stepped(self, kind, took)

    def _step(
        self,
        position: int,
        ts_ns: int,
        bid: float,
        ask: float,
        sizes: tuple[float, float],
        arrived_ns: int | None,
    ) -> None:
        self.position = position + 1
        self.quotes += 1
        traded, last = self.traded, self.last
        in_order = last is None or ts_ns >= last[0]
        if not (in_order and traded.plausible_low <= bid <= ask <= traded.plausible_high):
            self.dropped += 1
            return
        verdict = self.guard.quote(
            traded.symbol, ts_ns, ts_ns if arrived_ns is None else arrived_ns, bid, ask
        )
        for change in verdict.events:
            self.note("feed", change=msgspec.to_builtins(change))
        if not verdict.is_accepted:
            self.dropped += 1
            return
        self.take_readings(ts_ns)
        self.teller.quote(traded.symbol, ts_ns, bid, ask, sizes)
        cutter = self.cutter
        ended = cutter.push(ts_ns, bid, ask, *sizes)
        opened: frozenset[str] = frozenset()
        if cutter.opened:
            opened = frozenset(self.series[one].name for one in cutter.opened if one in self.series)
        for timeframe, row in ended:
            if timeframe in self.series:
                self._bar(self.series[timeframe], row, ts_ns)
        try:
            self.node.quote(traded.symbol, ts_ns, bid, ask, opened)
        except DataError:
            self.dropped += 1
        self.last = ts_ns, bid, ask
        if ended or self.events or self._kill_step not in ("armed", "halted"):
            self._take_refusals()
            self._look_after(ts_ns)
        if self.broken.keys() - self.flattened:
            self._leave_broken()
        due = bool(ended) and (self.commits_bars or time.monotonic() >= self._due)
        if self.events or self.notes or due or self.teller.is_due:
            self.commit(self._touched)

    def clock(self, now_ns: int) -> None:
        """Let the guard see that time passes: a feed that is silent brings no step."""
        changes = self.guard.clock(now_ns)
        for change in changes:
            self.note("feed", change=msgspec.to_builtins(change))
        if changes or self._kill_step not in ("armed", "halted"):
            self._look_after(self.now_ns)
            self.commit()

    def hole(self, ts_ns: int, text: str) -> None:
        """Take down that quotes before one are missing; the bars they belong to are never cut."""
        self.cutter.incomplete_before(ts_ns)
        self.note("hole", before_ns=ts_ns, text=text)

    def _bar(self, series: Series, row: BarRow, now_ns: int) -> None:
        row = with_spread(row, self.traded, self.venue.config.extra_spread_pips)
        bars = series.bars
        self._touched.update(name for name, frame in self.timeframes.items() if frame == bars.timeframe)
        bars.append(row)
        self.cut += 1
        self._bars.append((series.name, len(bars) - 1, row))
        teller, deciding = self.teller, self._deciding_on(bars.timeframe)
        teller.bar(series.name, row, bars.timeframe.ns, now_ns)
        place = teller.place
        self.node.bar(series.bar_type, row, bars.end_ns, now_ns)
        for name, strategy, side in deciding:
            source = strategy.source
            if name in self.broken or source is None:
                continue
            actions = actions_of(source.at(len(bars) - 1), side, source.pyramiding)
            if actions:
                said: dict[str, Any] = {"actions": actions, "values": source.indicators(), "place": place}
                teller.signal(name, series.name, row.ts_open_ns, now_ns, **said)
        if self.reader is not None and bars.timeframe == self.chart_frame:
            self.reader.bar_ended(now_ns)

    def take_readings(self, ts_ns: int | None) -> None:
        """Let the readings that have come count, before what the quote of this time causes; None: the end."""
        if self.reader is not None:
            last_ns = (ts_ns or 0) if self.last is None else self.last[0]
            for kind, what in self.reader.take(last_ns, ts_ns):
                self.note(kind, **what)

    def _deciding_on(self, timeframe: Timeframe) -> list[tuple[str, Any, int]]:
        """Return name, strategy and present side of those that decide on a timeframe."""
        return [
            (name, one, one.side)
            for name, one in self.node.strategies.items()
            if self.timeframes[name] == timeframe
        ]

    def _look_after(self, ts_ns: int) -> None:
        """Let the guard see the account, and do what it asks for."""
        guard = self.guard
        for breach in guard.observe(ts_ns):
            self.note("breach", breach=msgspec.to_builtins(breach))
        for name in guard.to_flatten:
            if name not in self.broken:
                self.flatten(name, "flatten")
        switch = guard.kill_switch
        if switch.may_enter:
            return
        if self._kill_step == "armed":  # through the strategies first: they then know what became of it
            for name in self.node.strategies:
                if name not in self.broken:
                    self.flatten(name, "kill")
        orders = self.node.orders
        target = PaperTarget(self.venue, orders.send, lambda one: orders.take_back(one))
        target.ts_ns = ts_ns
        switch.advance(target, ts_ns)
        if switch.state.step != self._kill_step:
            self._kill_step = switch.state.step
            self.note("kill", step=self._kill_step, reason=switch.state.reason)

    def flatten(self, strategy: str, reason: str) -> None:
        """Let a strategy close what it holds at the next quote."""
        self._touched.add(strategy)
        with self.node.pump.held():
            self.node.strategies[strategy].flatten(reason)

    def close(self, strategy: str) -> None:
        """Let a strategy close what it holds at the next quote; past it, if it has stopped."""
        if strategy in self.broken:
            self._close_past(strategy)
        else:
            self.flatten(strategy, "flatten")

    def settle_at_last_quote(self, reason: str) -> None:
        """Close what all strategies hold at the last quote, as a backtest does at the end of its bars."""
        if self.last is None:
            return
        for name in self.node.strategies:
            self.flatten(name, reason)
        for _ in range(_LAST_QUOTES):  # where quotes offer a limited size it takes several
            self.node.quote(self.traded.symbol, *self.last, frozenset())
            if not self.venue.positions():
                break
        self.commit()

    def note(self, kind: str, **what: Any) -> None:
        """Take down something that happened in the session itself."""
        self.notes.append((self.now_ns, {"type": kind, **what}))
        self.teller.note(*self.notes[-1])

    @property
    def now_ns(self) -> int:
        """The market's time: the stamp of the last quote, 0 before the first."""
        return 0 if self.last is None else self.last[0]

    def venue_event(self, event: VenueEvent) -> None:
        """Take down what the venue did."""
        self.events.append(event)
        self.teller.venue_event(event)

    def look_after(self) -> None:
        """Let the guard act between two quotes: a kill switch that was pulled begins at once."""
        self._look_after(self.now_ns)

    def strategy_broke(self, strategy: str, error: Exception) -> None:
        """Take down that a strategy raised."""
        self.broken[strategy] = f"{type(error).__name__}: {error}"
        now = 0 if self.last is None else self.last[0]
        self.guard.strategies.fail(strategy, error, now)
        self.note("strategy_broken", strategy=strategy, error=self.broken[strategy])

    def _leave_broken(self) -> None:
        """Close what strategies hold that raised: through them, else past them."""
        for name in sorted(self.broken.keys() - self.flattened):
            self.flattened.add(name)
            if name not in self.guard.to_flatten:
                continue
            try:
                self.flatten(name, "flatten")
            except Exception as error:  # noqa: BLE001 - a strategy that cannot even do this is gone past
                self.note("flatten_failed", strategy=name, error=str(error))
            self._close_past(name)

    def _close_past(self, name: str) -> None:
        """Close what a strategy that raised knows nothing of any more, at the venue itself."""
        now = 0 if self.last is None else self.last[0]
        for one in self.venue.orders():
            if one.order.strategy == name and one.order.position_id is None:
                self.node.orders.tell(self.venue.cancel(one.order.order_id, now))
        leaving = {one.order.position_id for one in self.venue.orders() if one.order.kind == "market"}
        for number, held in enumerate(self.venue.positions()):
            if held.strategy == name and held.position_id not in leaving:
                self.node.orders.close_position(held, f"{name}{_PAST}{self.position}-{number}")

    # --- commit -----------------------------------------------------------------------------------------

    def commit(self, touched: Collection[str] | None = None) -> None:
        """Write everything that has changed since the last commit, in one transaction.

        Parameters
        ----------
        touched : collection of str, optional
            Strategies that a bar or an order reached since then: no other can have changed, and what none
            can have changed is not even looked at.  Default: any of them may have.
        """
        self._take_refusals()
        self._take_trades()
        if touched is not None:
            touched = {event.strategy for event in self.events}.union(touched)
        place = {"position": self.position, "taken": self._taken + self.quotes}
        state = {
            "cursor": json.dumps(place | {"last": self.last, "dropped": self.dropped}),
            "venue": msgspec.json.encode(self.venue.state()).decode(),
            "cutter": json.dumps(self.cutter.save()),
            "broken": json.dumps(self.broken),
            "guard": msgspec.json.encode(self.guard.state()).decode(),
            **self.also(),
        }
        if self.feed_record is not None:
            state["feed"] = self.feed_record
        for name, strategy in self.node.strategies.items():
            if name not in self.broken and (touched is None or name in touched):
                state[f"strategy:{name}"] = json.dumps(strategy.save_state())
        readings: list[tuple[int, str]] = []
        if self.reader is not None:
            state["analyst"], readings = self.reader.state(), self.reader.kept()
        changed = {key: text for key, text in state.items() if self._written.get(key) != text}
        events = [(event.ts_ns, msgspec.json.encode(event).decode()) for event in self.events]
        events += [(ts_ns, json.dumps(note)) for ts_ns, note in self.notes]
        trades = [(name, msgspec.json.encode(trade).decode()) for name, trade in self._trades]
        told = self.teller.rows(self._trades, self.now_ns)
        self.file.commit(
            changed, bars=self._bars, trades=trades, events=events, outbox=told, readings=readings
        )
        self.teller.committed(told)
        self._written |= changed
        notes, done = self.notes, self._trades
        self._bars, self._trades, self.events, self.notes = [], [], [], []
        self._touched.clear()
        self._due = time.monotonic() + _COMMIT_S
        self.commits += 1
        if self.commits % _PURGED == 0 and self.last is not None:
            self.node.purge(self.last[0])
        self.on_commit()
        if self.observer is not None:
            self.observer.committed(self, [note for _, note in notes], done)

    def _take_refusals(self) -> None:
        for name, strategy in self.node.strategies.items():
            for text in strategy.refusals:
                self.note("refused", strategy=name, text=text)
            strategy.refusals.clear()

    def _take_trades(self) -> None:
        for event in self.events:
            if not isinstance(event, Filled) or event.settled is None:
                continue
            if _PAST in event.order_id or event.order_id.startswith("kill-"):
                past = trade_past(event, self.timeframes[event.strategy])
                self._trades.append((event.strategy, past))
        for name, strategy in self.node.strategies.items():
            for closed in strategy.closed:
                self._trades.append((name, live_trade(name, closed, self.timeframes[name])))
            strategy.closed.clear()
            for position in strategy.uncovered:
                self.note("uncovered", strategy=name, position=position)

    def load(self, state: Mapping[str, str]) -> None:
        """Go on from a committed state; venue and strategies are restored by who made them."""
        self._written = dict(state)
        cursor = json.loads(state["cursor"])
        self.position, self.dropped = cursor["position"], cursor["dropped"]
        self._taken = cursor.get("taken", cursor["position"]) - self.quotes
        self.last = (
            None if cursor["last"] is None else (cursor["last"][0], cursor["last"][1], cursor["last"][2])
        )
        self.cutter.restore(json.loads(state["cutter"]))
        self.broken = json.loads(state["broken"])
        self._kill_step = self.guard.kill_switch.state.step
