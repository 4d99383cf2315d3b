"""What is told on the bus: typed events, each of one version.

Owns the fields of every event and what makes one valid.  Knows nothing of strategies, venues or transports.

An event is made once, by one publisher, with a number of its own: `seq` counts up within a `session`, and
`id` is made of what the publisher knows for certain, so that the same step told again gives the same
event.  Whoever sees an `id` twice has seen one event.  Times are nanoseconds since 1970 (UTC): `ts_ns` is
the market's, the stamp of the quote that caused the event, and `wall_ns` the clock's when it was made.

Prices are in the quote currency, sizes in units of the base currency, money in the account's currency.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from aiopt.utc import time_text

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Id = Annotated[str, Meta(min_length=1, max_length=200)]
Stamp = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Price = Annotated[float, Meta(gt=0)]
Size = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Side = Literal["long", "short"]
Money = float


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every event has.

    Attributes
    ----------
    id : str
        The same whenever the same event is published again.
    session : str
        Whose event it is: one session is one publisher.
    seq : int
        Counts up within the session; a number may be left out, none is used twice.
    ts_ns : int
        Of the market, nanoseconds since 1970; 0 before the first quote.
    wall_ns : int
        Of the clock, nanoseconds since 1970.
    """

    COALESCES: ClassVar[bool] = False

    id: Id
    session: Name
    seq: Count
    ts_ns: Stamp
    wall_ns: Stamp

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                # Plain ValueError: msgspec turns it into a ValidationError that names the place.
                msg = f"`{name}` must be finite, but is {value}"
                raise ValueError(msg)

    @property
    def kind(self) -> str:
        """The tag of the event's type, as in the documents on the bus."""
        return str(self.__struct_config__.tag)

    @property
    def merges_by(self) -> str | None:
        """What a later event must share to stand for this one; None where each counts."""
        return None

    def __repr__(self) -> str:
        return f"<{self.kind} {self.session}#{self.seq} {time_text(self.ts_ns, 'ms')}{self._told()}>"

    def _told(self) -> str:
        """Return what else a short repr says, with a leading space."""
        return ""


class Quote(Event, frozen=True, kw_only=True, tag="quote"):
    """The last of one or more quotes: `merged` is how many it stands for.  A size of 0 is an unknown one."""

    schema: Literal[1] = 1
    instrument: Name
    bid: Price
    ask: Price
    bid_size: Size = 0.0
    ask_size: Size = 0.0
    merged: Annotated[int, Meta(ge=1)] = 1

    @property
    def merges_by(self) -> str:
        """A quote stands for the earlier ones of its instrument."""
        return f"quote {self.instrument}"

    def _told(self) -> str:
        return f" {self.instrument} {self.bid:g}/{self.ask:g}"


class Bar(Event, frozen=True, kw_only=True, tag="bar"):
    """A bar that has ended: `open_ns` to `close_ns`, of the side `price` of the quotes."""

    schema: Literal[1] = 1
    series: Name
    price: Literal["bid", "ask", "mid"]
    open_ns: Stamp
    close_ns: Stamp
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Size
    ticks: Count

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low <= min(self.open, self.close) <= max(self.open, self.close) <= self.high:
            msg = "`low <= open, close <= high` must hold"
            raise ValueError(msg)
        if self.open_ns >= self.close_ns:
            msg = "`open_ns < close_ns` must hold"
            raise ValueError(msg)

    def _told(self) -> str:
        return f" {self.series} {self.price} {self.close:g}"


class Signal(Event, frozen=True, kw_only=True, tag="signal"):
    """What a strategy decided at the end of a bar, before limits and venue were asked."""

    schema: Literal[1] = 1
    strategy: Name
    series: Name
    bar_ns: Stamp
    action: Literal["enter_long", "enter_short", "exit_long", "exit_short"]
    values: dict[str, float | None] = {}

    def _told(self) -> str:
        return f" {self.strategy} {self.action}"


class WouldTrade(Event, frozen=True, kw_only=True, tag="would_trade"):
    """A trade that was not made: only watched, paused, or held back by a limit; `why` says which."""

    schema: Literal[1] = 1
    strategy: Name
    instrument: Name
    side: Side
    units: Size
    price: Price
    stop: Price | None = None
    target: Price | None = None
    why: Name

    def _told(self) -> str:
        return f" {self.strategy} {self.side} {self.units:g} ({self.why})"


class Pattern(Event, frozen=True, kw_only=True, tag="pattern"):
    """A pattern that is complete at a bar."""

    schema: Literal[1] = 1
    series: Name
    bar_ns: Stamp
    pattern: Name
    direction: Literal["up", "down", "none"]

    def _told(self) -> str:
        return f" {self.series} {self.pattern}"


class Reading(Event, frozen=True, kw_only=True, tag="reading"):
    """What the analyst read from a chart, and who it was.

    Attributes
    ----------
    by : str
        ``"model"``, or ``"rules"`` where the model was slow, wrong or gone; `fallback` then says why.
    confidence : float
        In [0, 1]: how often readings like this one were right.
    took_ms : float
        From the question to the answer.
    """

    schema: Literal[1] = 1
    series: Name
    bar_ns: Stamp
    by: Literal["model", "rules"]
    model: Name | None = None
    trend: Literal["up", "down", "sideways", "none"]
    patterns: tuple[str, ...] = ()
    risk: Literal["low", "medium", "high", "none"] = "none"
    confidence: Share
    took_ms: Size
    fallback: str | None = None

    def _told(self) -> str:
        return f" {self.series} {self.trend} {self.confidence:.0%} by {self.by}"


class Order(Event, frozen=True, kw_only=True, tag="order"):
    """An order in a new state."""

    schema: Literal[1] = 1
    strategy: Name
    instrument: Name
    order_id: Id
    role: Literal["entry", "exit", "stop", "target"]
    order_type: Literal["market", "stop", "limit"]
    side: Literal["buy", "sell"]
    units: Size
    price: Price | None = None
    position_id: Id | None = None
    state: Literal["submitted", "accepted", "modified", "rejected", "cancelled", "filled", "denied"]
    rule: str | None = None
    reason: str | None = None

    def _told(self) -> str:
        return f" {self.order_id} {self.role} {self.side} {self.units:g} {self.state}"


class Fill(Event, frozen=True, kw_only=True, tag="fill"):
    """An order filled, wholly or in part: `left` units remain."""

    schema: Literal[1] = 1
    strategy: Name
    instrument: Name
    order_id: Id
    position_id: Id
    side: Literal["buy", "sell"]
    units: Size
    price: Price
    left: Size
    commission: Money = 0.0

    def _told(self) -> str:
        return f" {self.order_id} {self.side} {self.units:g} at {self.price:g}"


class Position(Event, frozen=True, kw_only=True, tag="position"):
    """A position after a change; `units` is 0 and `reason` says why once it is closed."""

    schema: Literal[1] = 1
    strategy: Name
    instrument: Name
    position_id: Id
    state: Literal["opened", "changed", "closed"]
    side: Side
    units: Size
    entry_price: Price
    stop: Price | None = None
    target: Price | None = None
    profit: Money = 0.0
    reason: str | None = None

    def _told(self) -> str:
        return f" {self.position_id} {self.side} {self.units:g} {self.state}"


class Account(Event, frozen=True, kw_only=True, tag="account"):
    """The account after a change: `equity` counts open positions at what closing them would bring."""

    schema: Literal[1] = 1
    currency: Name
    balance: Money
    equity: Money
    margin_used: Size
    open_positions: Count

    @property
    def merges_by(self) -> str:
        """Only the latest account counts."""
        return "account"

    def _told(self) -> str:
        return f" {self.equity:.2f} {self.currency}"


class Health(Event, frozen=True, kw_only=True, tag="health"):
    """How a part of the node is: feed, bus, model, venue, strategy, node."""

    schema: Literal[1] = 1
    part: Name
    state: Literal["ok", "degraded", "stale", "halted", "down"]
    text: str = ""
    figures: dict[str, float] = {}

    def _told(self) -> str:
        return f" {self.part} {self.state}{f': {self.text}' if self.text else ''}"


class CommandOutcome(Event, frozen=True, kw_only=True, tag="command_outcome"):
    """What became of a command.

    Attributes
    ----------
    status : str
        ``"applied"``, ``"refused"`` (nothing was changed, `rule` and `reason` say why) or ``"failed"`` (it
        was begun and broke off: look at the state).
    command_id, command : str
        Empty where the document was no command and had none.
    before, after : dict
        What the command changed, as it was and as it is.
    """

    schema: Literal[1] = 1
    command_id: Annotated[str, Meta(max_length=200)]
    command: Annotated[str, Meta(max_length=200)]
    status: Literal["applied", "refused", "failed"]
    rule: str | None = None
    reason: str | None = None
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}

    def _told(self) -> str:
        return f" {self.command} {self.command_id} {self.status}{f': {self.reason}' if self.reason else ''}"


EVENT_TYPES: tuple[type[Event], ...] = (
    *(Quote, Bar, Signal, WouldTrade, Pattern, Reading),
    *(Order, Fill, Position, Account, Health, CommandOutcome),
)
"""Every type of event, in the order in which a step brings them about."""

EVENTS: dict[str, type[Event]] = {str(kind.__struct_config__.tag): kind for kind in EVENT_TYPES}
"""Type by tag."""
