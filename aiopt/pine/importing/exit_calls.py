"""Calls of ``strategy.exit``: which arguments can be said.  What their prices say is `exits`' business."""

from __future__ import annotations

from aiopt.pine.importing.refusals import Findings
from aiopt.pine.importing.script import Order
from aiopt.pine.importing.symbols import constant
from aiopt.pine.parsing.nodes import Node
from aiopt.strategy.spec import PriceDistance

_KNOWN_EXIT = {"id", "from_entry", "stop", "limit"}
_SAID_ONLY = (
    "comment",
    "comment_profit",
    "comment_loss",
    "comment_trailing",
    "alert_message",
    "alert_profit",
    "alert_loss",
    "alert_trailing",
    "disable_alert",
)


def can_be_said(order: Order, findings: Findings) -> bool:
    """Return whether a call's arguments can be said at all; what cannot is refused."""
    args = {key: value for key, value in order.args.items() if value.op != "na" and key not in _SAID_ONLY}
    before = len(findings.refusals)
    if "trail_offset" in args or "trail_points" in args or "trail_price" in args:
        text = "it moves inside a bar, along a path nobody knows, and from the entry's own price"
        nearest = "a stop moved at each close (trailing_stop of a strategy)"
        findings.refuse(moving_place(order), "trailing", "strategy.exit trail_*", text, nearest)
    for key, price in (("loss", "stop"), ("profit", "limit")):
        if key in args and price in args:
            text = f"{key}= and {price}= together: the nearer counts, and a strategy has one"
            findings.refuse(args[key].place, "exit", f"strategy.exit {key}=", text, "one of both")
    if "qty" in args or not is_whole(order):
        text = "it leaves with a part of the position; partial exits are not imported yet"
        _refuse(findings, order, "partial exit", text, "one exit of the whole position")
    for key in set(args) - _KNOWN_EXIT - {"trail_offset", "trail_points", "trail_price", "loss", "profit"}:
        if key not in ("qty", "qty_percent"):
            _refuse(findings, order, "exit", f"{key}= is not known here", "leave it out")
    return len(findings.refusals) == before


def _refuse(findings: Findings, order: Order, rule: str, message: str, nearest: str) -> None:
    findings.refuse(order.place, rule, "strategy.exit", message, nearest)


def is_whole(order: Order) -> bool:
    """Return whether a call leaves with the whole position."""
    part = order.args.get("qty_percent")
    return part is None or constant(part) == 100


def is_fixed_at_signal(distance: PriceDistance) -> bool:
    """Return whether a second signal would lay a level anew."""
    return distance.is_from_signal or (distance.origin == "entry" and distance.unit != "pips")


def moving_place(order: Order) -> Node:
    """Return the first argument of an exit that moves, so that the message points there."""
    moving = ("trail_price", "trail_points", "trail_offset")
    return next((order.args[key].place for key in moving if key in order.args), order.place)
