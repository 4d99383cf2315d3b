"""The paper venue: takes orders and quotes, answers with events, under the backtest's rules on ticks.

Owns the life of orders and positions.  Knows no strategy, no bar, no clock and no file; it draws nothing at
random, so the same calls always give the same events with the same numbers.

How an order fills
------------------
======================================  =====================================================  ========
order                                   fills at                                               slippage
======================================  =====================================================  ========
market                                  the next quote after it was sent                       yes
stop                                    the first quote at or beyond its price                 yes
limit, first judged, or its series'     the quote, if that is at or better than its price      no
bar opens with the quote
limit, reached inside a bar             its own price                                          no
======================================  =====================================================  ========

A buyer pays the ask and a seller gets the bid; a stop or limit that buys is reached by the ask, one that
sells by the bid.  One quote judges market orders and stops reached before first, then stops, then limits,
each in the order in which they came.  Where quotes offer a limited number of units, what is left waits for
the next quote: a stop that was reached stays so.

Positions
---------
Each entry opens a position of its own, so that strategies and entries do not touch each other.  An exit names
its position: it is cut to what is left of it, cut again when another exit reduces it, cancelled when it is
closed, and never rejected for want of margin.  With the position ends what is left of its entry.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from aiopt.errors import ConfigError, DataError
from aiopt.live.paper import seam, views
from aiopt.live.paper.admission import Refusal, exit_refusal, form_refusal, margin_refusal, modify_refusal
from aiopt.live.paper.holdings import Lot, Position, Working
from aiopt.live.paper.invariants import check_venue
from aiopt.live.paper.market import Market, market_of
from aiopt.live.paper.paper_books import PaperBooks
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.paper.seam import PaperAccount, PaperPosition, VenueEvent, VenueOrder, WorkingOrder
from aiopt.live.paper.venue_state import STATE_VERSION, VenueState
from aiopt.live.paper.views import Exposure

_RECENT = 256
"""Ids of ended orders that are remembered: a late message about one of them is told from a new order."""
_NO_SERIES: frozenset[str] = frozenset()


def _urgency(one: Working) -> int:
    """Return the rank in which a quote judges an order."""
    return 0 if one.is_urgent else 1 if one.order.kind == "stop" else 2


class PaperVenue:
    """Orders, positions and the account of a paper session.

    Parameters
    ----------
    config : PaperConfig
        Account and costs.

    Examples
    --------
    >>> from aiopt.live.paper.paper_config import PaperConfig
    >>> venue = PaperVenue(PaperConfig(account_currency="USD"))
    >>> venue.quote("EURUSD", 1_000, 1.1, 1.1001)
    ()
    >>> order = VenueOrder(order_id="a1", strategy="a", instrument="EURUSD", series="EURUSD-1m", side=1,
    ...                    units=1000.0, kind="market", ts_ns=2_000)
    >>> [type(event).__name__ for event in venue.submit(order)]
    ['Accepted']
    >>> [(event.price, event.position_id) for event in venue.quote("EURUSD", 3_000, 1.1001, 1.1002)]
    [(1.1002, 'P-a1')]
    """

    def __init__(self, config: PaperConfig) -> None:
        self.config = config
        self._markets: dict[str, Market] = {}
        self._working: dict[str, Working] = {}
        self._positions: dict[str, Position] = {}
        self._books = PaperBooks(config, self._markets)
        self._recent: deque[str] = deque(maxlen=_RECENT)
        self._traded: dict[str, tuple[int, int]] = {}
        self._seq = 0
        self._events: list[VenueEvent] = []

    def __repr__(self) -> str:
        return f"PaperVenue({len(self._positions)} positions, {len(self._working)} orders, seq={self._seq})"

    @property
    def seq(self) -> int:
        """Events so far."""
        return self._seq

    # --- calls ----------------------------------------------------------------------------------------

    def submit(self, order: VenueOrder) -> tuple[VenueEvent, ...]:
        """Take an order.

        Parameters
        ----------
        order : VenueOrder
            Entry or exit.

        Returns
        -------
        tuple of VenueEvent
            ``Accepted`` or ``Rejected``; then what follows if the last quote reaches a stop or limit that was
            stamped no later.
        """
        refusal = self._refusal(order)
        if refusal is not None:
            self._tell(seam.Rejected, order, order.ts_ns, **refusal._asdict())
            return self._told()
        market = self._markets[order.instrument]
        units = int(order.units)
        if order.position_id is not None:
            units = min(units, self._positions[order.position_id].units)
        level = None if order.price is None else market.level(order.price)
        one = Working(order, units, level)
        self._working[order.order_id] = one
        self._tell(seam.Accepted, order, order.ts_ns, units=float(units))
        self._judge_at_once(one, market, order.ts_ns)
        return self._told()

    def cancel(self, order_id: str, ts_ns: int) -> tuple[VenueEvent, ...]:
        """Take an order back.

        Parameters
        ----------
        order_id : str
            Of an order at work.
        ts_ns : int
            When, UTC.

        Returns
        -------
        tuple of VenueEvent
            ``Cancelled``, or ``CancelRejected`` where no such order is at work.
        """
        one = self._working.get(order_id)
        if one is None:
            self._tell_unknown(seam.CancelRejected, order_id, ts_ns)
        else:
            self._end(one, ts_ns, "asked")
        return self._told()

    def modify(
        self, order_id: str, price: float | None, units: float | None, ts_ns: int
    ) -> tuple[VenueEvent, ...]:
        """Give an order another price or size.

        Parameters
        ----------
        order_id : str
            Of an order at work.
        price : float or None
            Of a stop or limit; None: as it is.
        units : float or None
            That are to be filled from now on; of an exit at most what is left of its position is kept.  None:
            as they are.
        ts_ns : int
            When, UTC; judged like that of an order that is sent.

        Returns
        -------
        tuple of VenueEvent
            ``Modified`` and what follows at once, or ``ModifyRejected``.
        """
        one = self._working.get(order_id)
        if one is None:
            self._tell_unknown(seam.ModifyRejected, order_id, ts_ns)
            return self._told()
        market = self._markets[one.order.instrument]
        wanted = float(one.left) if units is None else units
        level = one.level if price is None else market.level(price)
        refusal = modify_refusal(one, market, price, wanted)
        if refusal is None and one.is_entry and wanted > one.left:
            refusal = self._margin_refusal(one.order, wanted)
        if refusal is not None:
            self._tell(seam.ModifyRejected, one.order, ts_ns, reason=refusal.reason)
            return self._told()
        one.left, one.level = int(wanted), level
        if one.order.position_id is not None:
            one.left = min(one.left, self._positions[one.order.position_id].units)
        self._tell_modified(one, market, ts_ns, "asked")
        if not one.is_urgent:
            one.waits = True
            self._judge_at_once(one, market, ts_ns)
        return self._told()

    def quote(
        self, instrument: str, ts_ns: int, bid: float, ask: float, opened: frozenset[str] = _NO_SERIES
    ) -> tuple[VenueEvent, ...]:
        """Take a quote and fill what it reaches.

        Parameters
        ----------
        instrument : str
            Symbol.
        ts_ns : int
            UTC, not before the instrument's last.
        bid, ask : float
            Quote currency.
        opened : frozenset of str
            Bar series whose bar this quote opens: limits decided on them fill at the quote if that is better.

        Returns
        -------
        tuple of VenueEvent
            In the order in which they happened; empty for most quotes.

        Raises
        ------
        DataError
            If it is no quote of that market: crossed, not finite, implausible, not on its price grid, or
            older than the last.  The venue is as it was then; whoever called drops the quote and counts it.
        """
        market = self._markets.get(instrument) or self._new_market(instrument)
        steps = market.checked(ts_ns, bid, ask)
        self._markets[instrument] = market
        if market.passes_rollover(ts_ns):
            held = any(position.instrument == instrument for position in self._positions.values())
            self._books.rollover_passed(market, is_held=held)
        market.take(ts_ns, steps)
        if self._working:
            self._judge_all(market, opened)
        return self._told()

    # --- views ----------------------------------------------------------------------------------------

    def orders(self) -> tuple[WorkingOrder, ...]:
        """Return the orders at work, in the order in which they came."""
        return tuple(
            views.order_view(one, self._markets[one.order.instrument]) for one in self._working.values()
        )

    def positions(self) -> tuple[PaperPosition, ...]:
        """Return the open positions, in the order in which they were opened."""
        working, books = self._working.values(), self._books
        return tuple(views.position_view(one, working, books) for one in self._positions.values())

    def account(self, ts_ns: int) -> PaperAccount:
        """Return the account at the last quotes.

        `ts_ns` is the time of the view, UTC, and kept in it.
        """
        return views.account_view(ts_ns, self.config, self._markets, self._books, self._positions.values())

    def exposure(self, order: VenueOrder) -> Exposure:
        """Return what is held and worked for beside an order of a quoted instrument."""
        return views.exposure_view(order, self._markets, self._books, self._positions, self._working)

    def last_quote(self, instrument: str) -> tuple[int, float, float] | None:
        """Return stamp, bid and ask of an instrument's last quote, the ask as it is paid; None before it."""
        market = self._markets.get(instrument)
        if market is None:
            return None
        return market.ts_ns, market.bid / market.scale, market.ask / market.scale

    # --- state ----------------------------------------------------------------------------------------

    def state(self) -> VenueState:
        """Return everything a venue goes on from; restored, it answers every call as this one would."""
        return VenueState(
            version=STATE_VERSION,
            config_hash=self.config.config_hash,
            seq=self._seq,
            balance=str(self._books.balance),
            markets=tuple(market.state() for market in self._markets.values()),
            orders=tuple(one.state() for one in self._working.values()),
            positions=tuple(position.state() for position in self._positions.values()),
            rates=self._books.rates(),
            recent=tuple(self._recent),
            traded=dict(self._traded),
        )

    @classmethod
    def restore(cls, config: PaperConfig, state: VenueState) -> PaperVenue:
        """Return a venue that goes on from a state.

        Parameters
        ----------
        config : PaperConfig
            The one the state was made under.
        state : VenueState
            Of `state`.

        Raises
        ------
        ConfigError
            If the state is of another version or was made under other assumptions.
        VenueError
            If it breaks an invariant.
        """
        if state.version != STATE_VERSION:
            msg = f"The venue's state is of version {state.version}, but this aiopt reads {STATE_VERSION}. "
            raise ConfigError(msg + "Go on with the aiopt that wrote it, or begin a new session.")
        if state.config_hash != config.config_hash:
            msg = (
                "A session goes on under the assumptions it began with, but account or costs have changed "
                f"({state.config_hash[:12]} is now {config.config_hash[:12]}). Set them as they were, or "
                "begin a new session."
            )
            raise ConfigError(msg)
        venue = cls(config)
        for kept in state.markets:
            market = venue._markets[kept.instrument] = venue._new_market(kept.instrument)
            market.load(kept)
        venue._books.load(state.balance, state.rates)
        venue._positions = {one.position_id: Position.of(one) for one in state.positions}
        venue._working = {
            one.order.order_id: Working(
                one.order, one.left, one.level, triggered=one.triggered, waits=one.waits
            )
            for one in state.orders
        }
        venue._recent.extend(state.recent)
        venue._traded = dict(state.traded)
        venue._seq = state.seq
        venue.check()
        return venue

    def check(self) -> None:
        """Hold the invariants of `aiopt.live.paper.invariants`.

        Raises
        ------
        VenueError
            Naming the one that does not hold, with the values.
        """
        check_venue(self.state())

    # --- judging --------------------------------------------------------------------------------------

    def _judge_all(self, market: Market, opened: frozenset[str]) -> None:
        symbol, bid, ask = market.instrument.symbol, market.bid, market.ask
        reached = []
        for one in self._working.values():
            if one.order.instrument != symbol:
                continue
            if one.is_reached(ask if one.order.side > 0 else bid):
                reached.append(one)
            else:
                one.waits = False
        if not reached:
            return
        reached.sort(key=_urgency)  # stable: in the order in which they came
        for one in reached:
            # An exit is gone when one before it has closed its position.
            if one.order.order_id in self._working:
                self._judge(one, market, at_quote=one.waits or one.order.series in opened)

    def _judge_at_once(self, one: Working, market: Market, ts_ns: int) -> None:
        """Judge a stop or limit by the last quote, if it was sent no later than that came."""
        if one.order.kind != "market" and ts_ns <= market.ts_ns:
            self._judge(one, market, at_quote=True)

    def _judge(self, one: Working, market: Market, *, at_quote: bool) -> None:
        """Fill an order if the last quote reaches it."""
        order = one.order
        price = market.price(order.side)
        one.waits = False
        if not one.is_reached(price):
            return
        if order.kind == "limit":
            assert one.level is not None
            price = price if at_quote else one.level
        else:
            one.triggered = order.kind == "stop"
            price += order.side * self.config.slippage_ticks * market.tick
        if order.kind != "market" and one.is_entry and f"P-{order.order_id}" not in self._positions:
            refusal = self._margin_refusal(order, one.left)
            if refusal is not None:
                self._end(one, market.ts_ns, f"refused: {refusal.reason}")
                return
        units = market.offer(order.side, one.left)
        if units:
            self._fill(one, market, units, price / market.scale)

    def _fill(self, one: Working, market: Market, units: int, price: float) -> None:
        order, ts_ns = one.order, market.ts_ns
        one.left -= units
        if one.left == 0:
            self._forget_order(order.order_id)
        entered, left = self._traded.get(order.strategy, (0, 0))
        told: dict[str, Any] = {"units": float(units), "price": price, "left": float(one.left)}
        if order.position_id is None:
            position = self._enter(order, Lot(units, price, ts_ns), market)
            self._traded[order.strategy] = (entered + units, left)
            held = float(position.units)
            self._tell(seam.Filled, order, ts_ns, **told, position_id=position.position_id, held=held)
            return
        position = self._positions[order.position_id]
        settled = self._books.close(position, position.reduce(units), price, ts_ns)
        self._traded[order.strategy] = (entered, left + units)
        told |= {"position_id": position.position_id, "held": float(position.units), "settled": settled}
        self._tell(seam.Filled, order, ts_ns, **told)
        self._reduced(position, market)

    def _enter(self, order: VenueOrder, lot: Lot, market: Market) -> Position:
        position_id = f"P-{order.order_id}"
        position = self._positions.get(position_id)
        if position is None:
            position = self._positions[position_id] = Position(position_id, order)
        position.lots.append(lot)
        self._books.mark(market.instrument.quote, lot.ts_ns)
        return position

    def _reduced(self, position: Position, market: Market) -> None:
        """Let a position's other orders follow what is left of it."""
        ts_ns, units = market.ts_ns, position.units
        others = [
            one
            for one in self._working.values()
            if one.order.position_id == position.position_id or one.order.order_id == position.entry_order_id
        ]
        if units == 0:
            del self._positions[position.position_id]
            for one in others:
                self._end(one, ts_ns, "position closed")
            self._books.forget(market, self._positions.values())
            return
        for one in others:
            if not one.is_entry and one.left > units:
                one.left = units
                self._tell_modified(one, market, ts_ns, "position reduced")

    # --- refusals -------------------------------------------------------------------------------------

    def _refusal(self, order: VenueOrder) -> Refusal | None:
        """Return why an order is not taken, None if it is."""
        order_id, entered = order.order_id, f"P-{order.order_id}" in self._positions
        if order_id in self._working or entered or order_id in self._recent:
            reason = f"An order's id is used once, but {order_id!r} was sent before. Send it with a new id."
            return Refusal("duplicate", reason)
        try:
            market = self._markets.get(order.instrument) or self._new_market(order.instrument)
        except (ConfigError, DataError) as error:
            return Refusal("instrument", str(error))
        refusal = form_refusal(order, market)
        if refusal is not None:
            return refusal
        if order.position_id is not None:
            return exit_refusal(order, self._positions.get(order.position_id))
        if not market.is_quoted:
            reason = f"What an entry costs must be known, but no quote of {order.instrument} has come yet."
            return Refusal("quote", reason + " Wait for the first.")
        unsettled = self._books.refusal(market)
        return self._margin_refusal(order, order.units) if unsettled is None else Refusal(*unsettled)

    def _margin_refusal(self, order: VenueOrder, units: float) -> Refusal | None:
        working = self._working.values()
        return margin_refusal(
            order, self.config, self._markets, self._books, self._positions, working, units=units
        )

    # --- telling --------------------------------------------------------------------------------------

    def _tell(self, kind: type[Any], order: VenueOrder, ts_ns: int, **fields: Any) -> None:
        self._tell_of(kind, order.order_id, order.strategy, ts_ns, **fields)

    def _tell_of(self, kind: type[Any], order_id: str, strategy: str, ts_ns: int, **fields: Any) -> None:
        self._seq += 1
        self._events.append(kind(seq=self._seq, order_id=order_id, strategy=strategy, ts_ns=ts_ns, **fields))

    def _tell_modified(self, one: Working, market: Market, ts_ns: int, reason: str) -> None:
        price = None if one.level is None else one.level / market.scale
        self._tell(seam.Modified, one.order, ts_ns, price=price, units=float(one.left), reason=reason)

    def _tell_unknown(self, kind: type[Any], order_id: str, ts_ns: int) -> None:
        ended = order_id in self._recent
        reason = (
            f"Only an order at work can be changed, but {order_id!r} "
            f"{'has ended' if ended else 'was never taken'}. Ask for the orders at work."
        )
        self._tell_of(kind, order_id, "", ts_ns, reason=reason)

    def _told(self) -> tuple[VenueEvent, ...]:
        events, self._events = self._events, []
        return tuple(events)

    # --- keeping --------------------------------------------------------------------------------------

    def _end(self, one: Working, ts_ns: int, reason: str) -> None:
        self._forget_order(one.order.order_id)
        self._tell(seam.Cancelled, one.order, ts_ns, reason=reason)

    def _forget_order(self, order_id: str) -> None:
        del self._working[order_id]
        self._recent.append(order_id)

    def _new_market(self, symbol: str) -> Market:
        swap, config = self.config.swap, self.config
        triple_day = "wednesday" if swap is None else swap.triple_day
        return market_of(symbol, config.extra_spread_pips, config.units_per_quote, triple_day)
