"""Orders of a script that adds entries to a position: each with an id, a stop and a target of its own.

Owns their text.  What adding means is `aiopt.strategy.spec_pyramiding`'s business; `aiopt.pine.emitter` says
why orders look as they do.

Entries have ids from ``Long 1`` to ``Long N``; a new one takes the first that no open trade has.  A call of
`strategy.exit` for each id keeps its stop and target, and ``close_entries_rule="ANY"`` makes them close that
entry: under TradingView's default, FIFO, they would close the oldest one.
"""

from __future__ import annotations

from aiopt.pine import alerts
from aiopt.pine.draft import Draft, Side
from aiopt.pine.text import number
from aiopt.strategy.spec import FixedSize
from aiopt.strategy.spec_pyramiding import entries_of

_OPEN = "strategy.opentrades"
_SEEN, _COUNT, _QUANTITY = "openSeen", "openCount", "orderUnits"


def free_to_add(script: Draft, side: Side) -> str:
    """Return the condition under which an entry of a side may be taken, given the position."""
    leaves = "" if getattr(script.spec, f"exit_{side.word}") is None else f" and not exit{side.title}Signal"
    room = f"{_OPEN} < {entries_of(script.spec)}{leaves}"
    return f"(strategy.position_size {side.free} or {room})"


def write_added_orders(script: Draft) -> None:
    """Append the section of orders, filled at the open of the next bar."""
    places = range(1, entries_of(script.spec) + 1)
    lines = _held_lines(script, places)
    if not isinstance(script.spec.size, FixedSize):
        adding = " or ".join(
            f"enter{side.title} and strategy.position_size {side.held}" for side in script.sides
        )
        lines += [
            "// What margin allows, less what is held already and stays",
            f"float besideUnits = {adding} ? math.abs(strategy.position_size) : 0.0",
            f"float {_QUANTITY} = math.min(entryUnits, carriedUnits - besideUnits)",
        ]
    for side in script.sides:
        lines += _entry_lines(script, side, places)
    calls = [_exit_line(script, side, place) for side in script.sides for place in places]
    if any(_levels(script, side) for side in script.sides):
        lines += ["// Called on every bar: an exit placed only once could be lost at a reversal", *calls]
    for side in script.sides:
        lines += _close_lines(script, side, places)
    script.section("Orders, filled at the open of the next bar", lines)


def _levels(script: Draft, side: Side) -> list[tuple[str, str]]:
    """Return stop and target of a side's entries, as far as there are any: name and price."""
    spec = script.spec
    wanted = (("Stop", spec.stop_loss, side.against), ("Target", spec.take_profit, side.towards))
    return [
        (f"{side.word}{name}", f"math.round_to_mintick(close {sign} {script.distance(distance)})")
        for name, distance, sign in wanted
        if distance is not None
    ]


def _held_lines(script: Draft, places: range) -> list[str]:
    """Return which ids have an open trade, and the first of each side that has none."""
    lines = ["// Which entries are open"]
    lines += [f"bool {side.word}Held{place} = false" for side in script.sides for place in places]
    lines += [f"int {_SEEN} = 0", f"int {_COUNT} = {_OPEN}", f"while {_SEEN} < {_COUNT}"]
    lines += [
        f"    {side.word}Held{place} := {side.word}Held{place} or "
        f'{_OPEN}.entry_id({_SEEN}) == "{side.title} {place}"'
        for side in script.sides
        for place in places
    ]
    lines.append(f"    {_SEEN} := {_SEEN} + 1")
    for side in script.sides:
        free = [f"not {side.word}Held{place} ? {place} : " for place in places[:-1]]
        lines.append(f"int {side.word}Place = {''.join(free)}{places[-1]}")
    return lines


def _entry_lines(script: Draft, side: Side, places: range) -> list[str]:
    levels = _levels(script, side)
    size = script.spec.size
    quantity = number(size.units) if isinstance(size, FixedSize) else _QUANTITY
    lines = [f"var float {name} = na" for name, _ in levels]
    lines += [f"var float {name}{place} = na" for place in places for name, _ in levels]
    if script.form.alerts and levels:
        lines += [f"var float {side.word}Units{place} = na" for place in places]
    lines.append(f"if enter{side.title}")
    indent = "    "
    if not isinstance(size, FixedSize):
        lines.append(f"    if {_QUANTITY} > 0.0")
        indent = "        "
    lines += [f"{indent}{name} := {price}" for name, price in levels]
    for place in places:
        lines.append(f"{indent}if {side.word}Place == {place}")
        lines += [f"{indent}    {name}{place} := {name}" for name, _ in levels]
        if script.form.alerts and levels:
            lines.append(f"{indent}    {side.word}Units{place} := {quantity}")
        entry = f'"{side.title} {place}", strategy.{side.word}, qty={quantity}'
        lines.append(f"{indent}    strategy.entry({entry}{_entry_alert(script, side, place, quantity)})")
    if not isinstance(size, FixedSize) and len(script.sides) == 2:
        alert = _exit_alert(script, side.opposite.lower(), "reverse")
        lines += [
            f"    else if strategy.position_size {'< 0' if side.word == 'long' else '> 0'}",
            f'        strategy.close_all(comment="Reverse"{alert})',
        ]
    return lines


def _exit_line(script: Draft, side: Side, place: int) -> str:
    arguments = f'"{side.title} exit {place}", from_entry="{side.title} {place}"'
    reasons = {"Stop": ("stop", "loss"), "Target": ("limit", "profit")}
    for name, _ in _levels(script, side):
        kind = name.removeprefix(side.word)
        parameter, leg = reasons[kind]
        arguments += f', {parameter}={name}{place}, comment_{leg}="{kind}"'
        arguments += _exit_alert(script, side.word, kind.lower(), place, parameter=f"alert_{leg}")
    return f"strategy.exit({arguments})"


def _close_lines(script: Draft, side: Side, places: range) -> list[str]:
    """Return what ends a position at the next open: all stops and targets go, an exit signal closes it."""
    spec, held = script.spec, f"strategy.position_size {side.held}"
    reverses, exits = len(script.sides) == 2, getattr(spec, f"exit_{side.word}") is not None
    causes = [f"enter{side.opposite}"] * reverses + [f"exit{side.title}Signal"] * exits
    lines = []
    if causes and _levels(script, side):
        cause = causes[0] if len(causes) == 1 else f"({' or '.join(causes)})"
        lines.append(f"if {held} and {cause}")
        lines += [f'    strategy.cancel("{side.title} exit {place}")' for place in places]
    if exits:
        unless = f" and not enter{side.opposite}" if reverses else ""
        alert = _exit_alert(script, side.word, "signal")
        lines += [
            f"if {held} and exit{side.title}Signal{unless}",
            f'    strategy.close_all(comment="Exit signal"{alert})',
        ]
    return lines


def _entry_alert(script: Draft, side: Side, place: int, quantity: str) -> str:
    if not script.form.alerts:
        return ""
    names = {name.removeprefix(side.word).lower(): name for name, _ in _levels(script, side)}
    message = alerts.entry_message(
        side.word,
        quantity=quantity,
        stop=names.get("stop"),
        target=names.get("target"),
        entry=f"{side.title} {place}",
    )
    return f", alert_message={message}"


def _exit_alert(
    script: Draft, side: str, reason: str, place: int | None = None, *, parameter: str = "alert_message"
) -> str:
    """Return the argument that holds an exit's message; without `place` of all that is open."""
    if not script.form.alerts:
        return ""
    if place is None:
        return f", {parameter}={alerts.exit_message(side, reason)}"
    quantity, entry = f"{side}Units{place}", f"{side.title()} {place}"
    return f", {parameter}={alerts.exit_message(side, reason, quantity=quantity, entry=entry)}"
