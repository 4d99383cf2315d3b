"""What always holds of a paper venue, whatever was asked of it.

Owns the invariants, told from the outside: they read the state and nothing else.
"""

from __future__ import annotations

from collections import defaultdict

from aiopt.live.paper.failures import VenueError
from aiopt.live.paper.venue_state import OrderState, PositionState, VenueState


def check_venue(state: VenueState) -> None:
    """Hold the invariants of a state.

    - Every position is open, in one direction, of an instrument that is quoted.
    - What a strategy entered less what it left is what its positions hold.
    - Every exit belongs to an open position of its strategy, faces it, and is not larger than it.
    - Every order has something left; ids are unique; stops and limits have a price, market orders none.
    - A stop or limit that was judged and still rests is not reached by the last quote.

    Raises
    ------
    VenueError
        Naming the first one that does not hold.
    """
    positions = {one.position_id: one for one in state.positions}
    _hold(len(positions) == len(state.positions), "ids of positions are unique", sorted(positions))
    orders = {one.order.order_id for one in state.orders}
    _hold(len(orders) == len(state.orders), "ids of orders at work are unique", sorted(orders))
    quoted = {one.instrument for one in state.markets if one.ts_ns >= 0}
    held: dict[str, int] = defaultdict(int)
    for position in state.positions:
        held[position.strategy] += _check_position(position, quoted)
    for strategy in {*held, *state.traded}:
        entered, left = state.traded.get(strategy, (0, 0))
        text = "units entered less units left are held"
        _hold(entered - left == held[strategy], text, (strategy, entered, left, held[strategy]))
    for one in state.orders:
        _check_order(one, positions)
    _check_resting(state)


def _check_position(position: PositionState, quoted: set[str]) -> int:
    units = sum(lot.units for lot in position.lots)
    _hold(all(lot.units > 0 for lot in position.lots) and units > 0, "a position holds units", position)
    _hold(position.side in (1, -1), "a position has a side", position)
    _hold(position.instrument in quoted, "a position's instrument is quoted", position)
    return units


def _check_order(one: OrderState, positions: dict[str, PositionState]) -> None:
    order = one.order
    _hold(one.left > 0, "an order at work has something left", one)
    _hold((one.level is None) == (order.kind == "market"), "stops and limits have a price", one)
    _hold(not one.triggered or order.kind == "stop", "only stops are triggered", one)
    if order.position_id is None:
        return
    position = positions.get(order.position_id)
    if position is None:
        _hold(False, "an exit has its position", one)
        return
    _hold(position.strategy == order.strategy, "an exit is of its position's strategy", one)
    _hold(position.instrument == order.instrument, "an exit is of its position's instrument", one)
    _hold(position.side == -order.side, "an exit faces its position", one)
    units = sum(lot.units for lot in position.lots)
    _hold(one.left <= units, "an exit is not larger than its position", (one, units))


def _check_resting(state: VenueState) -> None:
    markets = {one.instrument: one for one in state.markets}
    for one in state.orders:
        if one.waits or one.level is None or one.triggered:
            continue
        market = markets[one.order.instrument]
        if market.offered is not None and 0 in market.offered:
            continue
        # The ask may have been raised on top: a quoted ask below a level proves nothing, one beyond it does.
        side = one.order.side
        beyond = ((market.ask if side > 0 else market.bid) - one.level) * side
        if one.order.kind == "stop":
            _hold(beyond < 0, "a stop that rests is not reached", (one, market))
        elif side < 0:
            _hold(beyond > 0, "a limit that rests is not reached", (one, market))


def _hold(holds: bool, rule: str, values: object) -> None:
    if not holds:
        msg = f"The paper venue holds that {rule}, but has {values!r}. Stop the session and report this."
        raise VenueError(msg)
