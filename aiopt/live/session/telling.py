"""What a session tells: its happenings as typed events of the bus, numbered and kept with the commit.

A `Teller` collects what happens in a step in its order; `rows` numbers it and makes the documents that the
commit writes into the session's outbox.  So an event exists if and only if its step does, and has the same
number, id and content however often it is published.  The number is the event's `seq`.

Owns that translation.  Knows no transport: `aiopt.live.control.bus_link` publishes what was committed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiopt.backtest.growing_bars import BarRow
from aiopt.bus import events as told
from aiopt.bus.codec import encode_event
from aiopt.bus.events import Event
from aiopt.live.paper import seam
from aiopt.live.paper.seam import VenueEvent, VenueOrder
from aiopt.live.paper.venue import PaperVenue
from aiopt.live.session.live_trades import LiveTrade
from aiopt.patterns import Pattern
from aiopt.strategy.signals import BarSignal

_QUOTES_COMMIT_S = 0.2
"""Where every quote is told: seconds after which those that wait are committed all the same."""
_WHY = 200
_ROLES = {"stop": "stop", "limit": "target", "market": "exit"}
_EXITS = {"stop": "stop_loss", "target": "take_profit", "exit": "exit"}
_FEED = {"live": "ok", "stale": "stale", "halted": "halted", "closed": "ok"}

_Pending = tuple[type[Event], int, dict[str, Any]]


class Teller:
    """Collects what a session tells.

    Parameters
    ----------
    session : str
        Its id.
    venue : PaperVenue
        Asked of orders, positions and the account.
    last_number : int
        Of the last event that was committed.
    quotes_s : float or None
        Quotes are told merged over so many seconds; 0: every one; None: no quotes and no bars.
    clock_ns : callable
        The clock, nanoseconds since 1970.
    """

    def __init__(
        self,
        session: str,
        venue: PaperVenue,
        last_number: int,
        *,
        quotes_s: float | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.session = session
        self.last_number = last_number
        self._venue, self._quotes_s, self._clock_ns = venue, quotes_s, clock_ns
        self.patterns: Callable[[str], Iterable[Pattern]] = lambda series: ()
        """Gives the patterns that a series' last bar completes; set where they are told."""
        self._pending: list[_Pending] = []
        self._orders: dict[str, VenueOrder] = {one.order.order_id: one.order for one in venue.orders()}
        self._quotes: dict[str, _Pending] = {}
        self._account_changed = False
        self._due = 0.0

    def __repr__(self) -> str:
        return f"<Teller {self.session}, {self.last_number} told, {len(self._pending)} wait>"

    @property
    def is_due(self) -> bool:
        """Whether quotes have waited long enough to be committed by themselves."""
        waits = bool(self._quotes) or (self._quotes_s == 0 and bool(self._pending))
        return waits and time.monotonic() >= self._due

    # --- told of ----------------------------------------------------------------------------------------

    def quote(
        self, symbol: str, ts_ns: int, bid: float, ask: float, sizes: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """Take a quote."""
        if self._quotes_s is None:
            return
        fields = {"instrument": symbol, "bid": bid, "ask": ask, "merged": 1}
        fields |= {"bid_size": sizes[0], "ask_size": sizes[1]}
        if self._quotes_s == 0:
            self._pending.append((told.Quote, ts_ns, fields))
            return
        before = self._quotes.get(symbol)
        if before is not None:
            fields["merged"] = before[2]["merged"] + 1
        self._quotes[symbol] = told.Quote, ts_ns, fields

    def bar(self, series: str, row: BarRow, length_ns: int, ts_ns: int) -> None:
        """Take a bar that has ended, as strategies read it: of the bid; and what it completes."""
        for one in self.patterns(series):
            which = {"series": series, "bar_ns": row.ts_open_ns, "pattern": one.kind}
            self._pending.append((told.Pattern, ts_ns, {**which, "direction": _WAY[one.direction]}))
        if self._quotes_s is None:
            return
        names = ("open", "high", "low", "close", "volume")
        fields = dict(zip(names, map(float, row[1:6]), strict=True)) | {"ticks": int(row.ticks)}
        span = {"open_ns": row.ts_open_ns, "close_ns": row.ts_open_ns + length_ns}
        self._pending.append((told.Bar, ts_ns, {"series": series, "price": "bid", **span, **fields}))

    @property
    def place(self) -> int:
        """Where the next happening goes; see `signal`."""
        return len(self._pending)

    def signal(
        self,
        strategy: str,
        series: str,
        bar_ns: int,
        ts_ns: int,
        *,
        actions: Iterable[str],
        values: Mapping[str, float],
        place: int,
    ) -> None:
        """Take what a strategy decided at a bar's end, ahead of what followed from it: at `place`."""
        found = {name: value if math.isfinite(value) else None for name, value in values.items()}
        common = {"strategy": strategy, "series": series, "bar_ns": bar_ns, "values": found}
        for action in actions:
            self._pending.insert(place, (told.Signal, ts_ns, {**common, "action": action}))

    def ordered(self, order: VenueOrder) -> None:
        """Take an order that a strategy sends, before anybody judges it."""
        self._orders[order.order_id] = order

    def held_back(
        self, order: VenueOrder, rule: str, reason: str, levels: tuple[float | None, float | None]
    ) -> None:
        """Take an entry that was not let through: the trade that would have been.

        Parameters
        ----------
        order : VenueOrder
            As it would have been sent.
        rule, reason : str
            Why not.
        levels : tuple of float or None
            Stop and target it would have had, as far as they were known.
        """
        last = self._venue.last_quote(order.instrument)
        self._orders.pop(order.order_id, None)
        self._order(order, "denied", order.ts_ns, rule=rule, reason=reason)
        if last is None:
            return
        fields = {
            "strategy": order.strategy,
            "instrument": order.instrument,
            "side": "long" if order.side > 0 else "short",
            "units": order.units,
            "price": last[2] if order.side > 0 else last[1],
            "stop": levels[0],
            "target": levels[1],
            "why": f"{rule}: {reason}"[:_WHY],
        }
        self._pending.append((told.WouldTrade, order.ts_ns, fields))

    def venue_event(self, event: VenueEvent) -> None:
        """Take an event of the venue."""
        order = self._known(event)
        if order is None:  # of an order that has just ended: its end was told
            return
        ts_ns, name = event.ts_ns, event.order_id
        match event:
            case seam.Accepted():
                self._order(order, "accepted", ts_ns, units=event.units)
            case seam.Rejected():
                self._order(order, "rejected", ts_ns, rule=event.rule, reason=event.reason)
                self._orders.pop(name, None)
            case seam.Cancelled():
                self._order(order, "cancelled", ts_ns, reason=event.reason)
                self._orders.pop(name, None)
            case seam.Modified():
                self._order(
                    order, "modified", ts_ns, units=event.units, price=event.price, reason=event.reason
                )
            case seam.Filled():
                self._filled(order, event)

    def note(self, ts_ns: int, note: Mapping[str, Any]) -> None:
        """Take something that happened in the session itself; see `Stepper.note`."""
        kind = note["type"]
        if kind == "command":
            fields = {key: value for key, value in note.items() if key not in ("type", "again")}
            self._pending.append((told.CommandOutcome, ts_ns, fields))
            return
        if kind == "reading":
            fields = {key: value for key, value in note.items() if key != "type"}
            self._pending.append((told.Reading, ts_ns, fields))
            return
        health = _HEALTH.get(kind)
        if health is not None:
            part, state, text = health(note)
            self._pending.append((told.Health, ts_ns, {"part": part, "state": state, "text": text}))

    # --- made -------------------------------------------------------------------------------------------

    def rows(self, trades: Iterable[tuple[str, LiveTrade]], now_ns: int) -> list[tuple[int, str]]:
        """Return number and document of all that has happened since the last commit; see `committed`.

        Parameters
        ----------
        trades : iterable of (str, LiveTrade)
            That ended since, for the reasons of exits.
        now_ns : int
            Of the market.
        """
        pending = [*self._pending, *self._quotes.values()]
        if self._account_changed:
            pending.append((told.Account, now_ns, self._account(now_ns)))
        if not pending:
            return []
        reasons = {(name, one.exit_ts_ns, one.exit_price): one.exit_reason for name, one in trades}
        levels = self._levels() if any(kind is told.Position for kind, _, _ in pending) else {}
        wall_ns, made = self._clock_ns(), []
        for number, (kind, ts_ns, fields) in enumerate(pending, start=self.last_number + 1):
            if kind is told.Position:
                fields = self._position(ts_ns, fields, levels, reasons)
            event = kind(
                id=f"{self.session}:{number}",
                session=self.session,
                seq=number,
                ts_ns=ts_ns,
                wall_ns=wall_ns,
                **fields,
            )
            made.append((number, encode_event(event).decode()))
        return made

    def committed(self, rows: list[tuple[int, str]]) -> None:
        """Forget what `rows` returned: it is in the file."""
        if rows:
            self.last_number = rows[-1][0]
        self._pending, self._quotes, self._account_changed = [], {}, False
        if self._quotes_s is not None:
            self._due = time.monotonic() + (self._quotes_s or _QUOTES_COMMIT_S)

    def _known(self, event: VenueEvent) -> VenueOrder | None:
        order = self._orders.get(event.order_id)
        if order is None and isinstance(event, seam.Accepted):  # sent by the session itself
            for one in self._venue.orders():
                self._orders[one.order.order_id] = one.order
            order = self._orders.get(event.order_id)
        return order

    def _order(self, order: VenueOrder, state: str, ts_ns: int, **changes: Any) -> None:
        fields: dict[str, Any] = {
            "strategy": order.strategy,
            "instrument": order.instrument,
            "order_id": order.order_id,
            "role": _role(order),
            "order_type": order.kind,
            "side": "buy" if order.side > 0 else "sell",
            "units": order.units,
            "price": order.price,
            "position_id": order.position_id,
            "state": state,
        }
        self._pending.append((told.Order, ts_ns, fields | changes))

    def _filled(self, order: VenueOrder, event: seam.Filled) -> None:
        settled, ts_ns = event.settled, event.ts_ns
        common = {
            "strategy": order.strategy,
            "instrument": order.instrument,
            "position_id": event.position_id,
        }
        fill = {
            "order_id": order.order_id,
            "side": "buy" if order.side > 0 else "sell",
            "units": event.units,
            "price": event.price,
            "left": event.left,
            "commission": 0.0 if settled is None else settled.commission,
        }
        self._pending.append((told.Fill, ts_ns, common | fill))
        if event.left == 0:
            self._order(order, "filled", ts_ns, position_id=event.position_id)
            self._orders.pop(order.order_id, None)
        state = "closed" if event.held == 0 else "opened" if event.held == event.units else "changed"
        if settled is not None and event.held:
            state = "changed"
        side = order.side if settled is None else -order.side
        position: dict[str, Any] = {
            "state": state,
            "side": "long" if side > 0 else "short",
            "units": event.held,
            "entry_price": self._entry_price(event),
            "profit": 0.0 if settled is None else settled.net,
        }
        if settled is not None:
            position["exit"] = order, event.price
        self._pending.append((told.Position, ts_ns, common | position))
        self._account_changed = True

    def _entry_price(self, event: seam.Filled) -> float:
        if event.settled is not None:
            return event.settled.entry_price
        held = {one.position_id: one.entry_price for one in self._venue.positions()}
        return held.get(event.position_id, event.price)

    def _levels(self) -> dict[str, dict[str, float | None]]:
        """Return stop and target of open positions: those the price would reach first."""
        found: dict[str, dict[str, float | None]] = {}
        for one in self._venue.orders():
            if one.order.position_id is not None and one.order.kind != "market":
                levels = found.setdefault(one.order.position_id, {})
                levels[_role(one.order)] = one.price
        return found

    def _position(
        self,
        ts_ns: int,
        fields: dict[str, Any],
        levels: Mapping[str, Mapping[str, float | None]],
        reasons: Mapping[tuple[str, int, float], str],
    ) -> dict[str, Any]:
        """Return the fields of a position's event, now that all that followed from its fill has happened."""
        fields = dict(fields)
        exits = fields.pop("exit", None)
        if exits is not None:
            order, price = exits
            known = reasons.get((order.strategy, ts_ns, price))
            fields["reason"] = known or _EXITS[_role(order)]
        if fields["state"] != "closed":
            fields |= levels.get(fields["position_id"], {})
        return fields

    def _account(self, now_ns: int) -> dict[str, Any]:
        account = self._venue.account(now_ns)
        return {
            "currency": account.currency,
            "balance": account.balance,
            "equity": account.equity,
            "margin_used": account.margin,
            "open_positions": len(self._venue.positions()),
        }


def actions_of(signal: BarSignal, side: int, entries: int) -> list[str]:
    """Return what a signal means to a strategy that holds a side.

    Parameters
    ----------
    signal : BarSignal
        At a bar's close.
    side : int
        Held before it: 1, -1, or 0 for nothing.
    entries : int
        Of one side that may be open at once.
    """
    found = []
    for sign, enters, leaves, name in (
        (1, signal.entry_long, signal.exit_long, "long"),
        (-1, signal.entry_short, signal.exit_short, "short"),
    ):
        if enters and (side != sign or entries > 1):
            found.append(f"enter_{name}")
        if leaves and side == sign:
            found.append(f"exit_{name}")
    return found


def _role(order: VenueOrder) -> str:
    return "entry" if order.position_id is None else _ROLES[order.kind]


_WAY = {"bullish": "up", "bearish": "down", "neutral": "none"}
"""How the bus says the direction of a pattern."""

_Health = tuple[str, str, str]
_HEALTH: dict[str, Callable[[Mapping[str, Any]], _Health]] = {
    "began": lambda note: ("node", "ok", "goes on" if note["resumed"] else "began"),
    "ended": lambda note: ("node", "ok", "at the end of its feed"),
    "left": lambda note: ("node", "down", "stopped; it can be gone on with"),
    "warning": lambda note: ("node", "degraded", note["text"]),
    "node_error": lambda note: ("node", "degraded", note["error"]),
    "setting": lambda note: ("node", "ok", f"goes on with another {note['name']}"),
    "flat_on_start": lambda note: ("node", "ok", "closes what was open"),
    "feed": lambda note: ("feed", _FEED[note["change"]["state"]], note["change"]["text"]),
    "hole": lambda note: ("feed", "degraded", note["text"]),
    "feed_note": lambda note: ("feed", "degraded", note["text"]),
    "feed_late": lambda note: ("feed", "ok", f"quotes come {note['seconds']:,.0f} s late"),
    "feed_over": lambda note: ("feed", "down", "at its end"),
    "breach": lambda note: (
        "limits",
        "halted" if note["breach"]["kills"] else "degraded",
        f"{note['breach']['rule']}: {note['breach']['value']:g} of {note['breach']['limit']:g}",
    ),
    "kill": lambda note: ("kill switch", "halted", f"{note['step']}: {note['reason']}"),
    "strategy_broken": lambda note: (f"strategy {note['strategy']}", "down", note["error"]),
    "flatten_failed": lambda note: (f"strategy {note['strategy']}", "down", note["error"]),
    "uncovered": lambda note: (
        f"strategy {note['strategy']}",
        "degraded",
        f"{note['position']} has no stop",
    ),
    "bus": lambda note: ("bus", note["state"], note["text"]),
    "no_reading": lambda note: ("analyst", "degraded", f"{note['failure']}: {note['error']}"),
}
"""Part, state and text of each kind of note that says how a part of the session is."""
