"""What goes into the paper venue and what comes out of it: orders, events, views.

Owns these records alone; they are plain data that survive a file and a wire.  Money is written exactly, as
the whole number of 10**-16 of the account's currency in decimal digits (`aiopt.backtest.money`), because such
numbers are larger than 64 bits; the float beside it is for people.
"""

from __future__ import annotations

from typing import Literal

import msgspec

OrderKind = Literal["market", "stop", "limit"]


class VenueOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order as it is sent.

    Attributes
    ----------
    order_id : str
        Given by who sends it; unique for ever, and the same again when a step is replayed.
    strategy : str
        Whose order and whose position.
    instrument : str
        Symbol, e.g. ``"EURUSD"``.
    series : str
        Bar series the order was decided on, e.g. ``"EURUSD-1m"``; see `PaperVenue.quote`.
    side : int
        1 buys, -1 sells.
    units : float
        Of the base currency; whole multiples of the instrument's size increment.
    kind : str
        ``"market"``: fills at the next quote.  ``"stop"``: at the first quote at or beyond `price`.
        ``"limit"``: at `price` or better.
    price : float or None
        Of a stop or limit; at most one decimal more than the instrument's quotes.
    position_id : str or None
        None: an entry, which opens a position of its own.  Else an exit, which reduces that position alone.
    ts_ns : int
        When it was sent, UTC.  A stop or limit stamped no later than the last quote is judged by that quote
        at once, as the stop that follows an entry's fill must be; one stamped later waits for the next.
    """

    order_id: str
    strategy: str
    instrument: str
    series: str
    side: int
    units: float
    kind: OrderKind
    price: float | None = None
    position_id: str | None = None
    ts_ns: int


class _Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all events have.

    Attributes
    ----------
    seq : int
        Counts the venue's events without a gap, from 1.
    order_id, strategy : str
        Which order, and whose.
    ts_ns : int
        When it happened, UTC.
    """

    seq: int
    order_id: str
    strategy: str
    ts_ns: int


class Accepted(_Event, frozen=True, kw_only=True, tag="accepted"):
    """The order works.

    Attributes
    ----------
    units : float
        What it works with: an exit is cut to what is left of its position.
    """

    units: float


class Rejected(_Event, frozen=True, kw_only=True, tag="rejected"):
    """The order does not work and never did.

    Attributes
    ----------
    rule : str
        Short name of the rule it breaks, e.g. ``"margin"``.
    reason : str
        Rule, value and remedy in a sentence.
    """

    rule: str
    reason: str


class Settled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an exit's fill did to the account.

    Attributes
    ----------
    side : int
        Of the position: 1 long, -1 short.
    units : float
        What was closed.
    entry_ts_ns : int
        First fill of what was closed.
    entry_price, exit_price : float
        Quote currency; the entry's is the mean over its fills.
    gross, commission, swap, net : float
        Account currency; `commission` of both sides, not negative; ``net = gross - commission + swap``.
    exact_net : str
        The net in 10**-16 of the account's currency.
    nights : int
        Rollovers held over, of the part held longest; a triple one counts three.
    """

    side: int
    units: float
    entry_ts_ns: int
    entry_price: float
    exit_price: float
    gross: float
    commission: float
    swap: float
    net: float
    exact_net: str
    nights: int


class Filled(_Event, frozen=True, kw_only=True, tag="filled"):
    """The order, or a part of it, was done.

    Attributes
    ----------
    units : float
        Of this fill.
    price : float
        Of this fill, slippage included.
    position_id : str
        Position it opened, enlarged or reduced.
    left : float
        Of the order; 0.0 ends it.
    held : float
        What the position holds now.
    settled : Settled or None
        Of an exit's fill.
    """

    units: float
    price: float
    position_id: str
    left: float
    held: float
    settled: Settled | None = None


class Cancelled(_Event, frozen=True, kw_only=True, tag="cancelled"):
    """The order works no longer.

    Attributes
    ----------
    reason : str
        ``"asked"``, ``"position closed"``, or ``"refused: …"`` where the market came to know what it costs.
    """

    reason: str


class CancelRejected(_Event, frozen=True, kw_only=True, tag="cancel_rejected"):
    """There was no such order at work; nothing changed.

    Attributes
    ----------
    reason : str
        Rule, value and remedy.
    """

    reason: str


class Modified(_Event, frozen=True, kw_only=True, tag="modified"):
    """The order works with another price or size.

    Attributes
    ----------
    price : float or None
        As it is now.
    units : float
        What is left of it now.
    reason : str
        ``"asked"``, or ``"position reduced"`` where an exit was cut to what is left of its position.
    """

    price: float | None
    units: float
    reason: str


class ModifyRejected(_Event, frozen=True, kw_only=True, tag="modify_rejected"):
    """The order works as before.

    Attributes
    ----------
    reason : str
        Rule, value and remedy.
    """

    reason: str


VenueEvent = Accepted | Rejected | Filled | Cancelled | CancelRejected | Modified | ModifyRejected


class WorkingOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A view of an order at work.

    Attributes
    ----------
    order : VenueOrder
        As it was sent.
    price : float or None
        As it is now.
    left : float
        Units not filled.
    triggered : bool
        A stop that was reached and waits for units to be offered.
    """

    order: VenueOrder
    price: float | None
    left: float
    triggered: bool


class PaperPosition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A view of an open position.

    Attributes
    ----------
    position_id, strategy, instrument, series : str
        Which, and whose; `series` is that of the entry.
    side : int
        1 long, -1 short.
    units : float
        What is left of it.
    entry_ts_ns : int
        Of the first fill that is left.
    entry_price : float
        Mean over the fills that are left, quote currency.
    open_value : float
        What it has added to the balance so far: profit at the mark, entry commission, swap.
    stops : float
        Units that its stops at work cover, at most `units`.
    """

    position_id: str
    strategy: str
    instrument: str
    series: str
    side: int
    units: float
    entry_ts_ns: int
    entry_price: float
    open_value: float
    stops: float


class PaperAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A view of the account.

    Attributes
    ----------
    currency : str
        Of all amounts.
    ts_ns : int
        Time of the view.
    balance : float
        Initial balance and the net of everything that was closed.
    equity : float
        Balance and what open positions have added to it.
    margin : float
        What open positions bind: ``units * price / leverage`` each.
    exact_balance, exact_equity : str
        In 10**-16 of the currency.
    """

    currency: str
    ts_ns: int
    balance: float
    equity: float
    margin: float
    exact_balance: str
    exact_equity: str
