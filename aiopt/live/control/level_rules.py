"""Where stop and target of an open position may be put by a person.

A stop lies where it protects: below the bid of a long, above the ask of a short; a target on the other side.
Anywhere else it would be reached at once, which is what `flatten` is for.

Owns these rules.
"""

from __future__ import annotations

from aiopt.bus.commands import Refusal, SetLevels
from aiopt.errors import did_you_mean
from aiopt.live.paper.market import DECIMALS_BEYOND_TICK
from aiopt.live.session.stepping import Stepper


def level_refusal(stepper: Stepper, command: SetLevels) -> Refusal | None:
    """Return why stop or target of a position may not be put there, None if they may."""
    position = next(
        (one for one in stepper.venue.positions() if one.position_id == command.position_id), None
    )
    if position is None or position.strategy != command.strategy:
        own = [one.position_id for one in stepper.venue.positions() if one.strategy == command.strategy]
        hint = did_you_mean(command.position_id, own) if own else " It holds none."
        reason = f"{command.strategy} holds no position {command.position_id!r}.{hint}"
        return Refusal(rule="unknown_position", reason=reason)
    strategy = stepper.node.strategies[command.strategy]
    if strategy.is_leaving or strategy.levels_of(command.position_id) is None:
        reason = f"{command.position_id} is being closed. Wait for the next quote."
        return Refusal(rule="state", reason=reason)
    if strategy.waiting_levels:
        reason = f"Stop or target of {command.position_id} is laid at the close of this bar. Wait for it."
        return Refusal(rule="state", reason=reason)
    if any(one.triggered for one in stepper.venue.orders() if one.order.position_id == command.position_id):
        reason = (
            f"The stop of {command.position_id} was reached and is being filled. Wait for the next quote."
        )
        return Refusal(rule="state", reason=reason)
    quote = stepper.venue.last_quote(position.instrument)
    assert quote is not None  # a position was entered at one
    return _side_refusal(stepper, command, position.side, quote[1], quote[2])


def _side_refusal(stepper: Stepper, command: SetLevels, side: int, bid: float, ask: float) -> Refusal | None:
    decimals = stepper.traded.price_precision + DECIMALS_BEYOND_TICK
    name, edge = ("bid", bid) if side > 0 else ("ask", ask)
    held = "long" if side > 0 else "short"
    for what, price, sign in (("stop", command.stop, -side), ("target", command.target, side)):
        if price is None:
            continue
        if round(price, decimals) != price:
            reason = f"A {what} has at most {decimals} decimals, but got {price!r}. Round it."
            return Refusal(rule="out_of_range", reason=reason)
        if sign * (price - edge) <= 0:
            relation = "below" if sign < 0 else "above"
            reason = (
                f"The {what} of a {held} must lie {relation} the {name} ({edge}), but got {price}: it would "
                "be reached at once. Choose another, or flatten."
            )
            return Refusal(rule="out_of_range", reason=reason)
    return None
