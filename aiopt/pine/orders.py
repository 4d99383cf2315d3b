"""The orders of a script: entries, their stops and targets, what closes a position.

Owns the order of these calls; `aiopt.pine.emitter` says why it is as it is.
"""

from __future__ import annotations

from aiopt.pine import alerts
from aiopt.pine.draft import Draft, Side
from aiopt.pine.exits import clock_lines
from aiopt.pine.targets import Bracket
from aiopt.pine.text import number
from aiopt.strategy.spec import FixedSize
from aiopt.strategy.spec_targets import targets_of


def write_orders(script: Draft) -> None:
    """Append the section of orders, filled at the open of the next bar."""
    spec = script.spec
    levels = {side.word: [*script.levels(side).values()] for side in script.sides}
    fixed_levels = {
        word: [pair for writer in found for pair in writer.fixed_at_signals()]
        for word, found in levels.items()
    }
    lines = [f"var float {name} = na" for found in fixed_levels.values() for name, _ in found]
    exits = {side.word: script.exits(side) for side in script.sides}
    lines += [f"var float {name} = na" for writer in exits.values() for name, _ in writer.fixed_at_signals()]
    targets = {side.word: script.targets(side) for side in script.sides}
    is_fixed = isinstance(spec.size, FixedSize)
    quantity = number(spec.size.units) if isinstance(spec.size, FixedSize) else "orderUnits"
    parts = {word: writer.fixed_at_signals(quantity) for word, writer in targets.items()}
    known = {name for found in fixed_levels.values() for name, _ in found}
    lines += [f"var float {name} = na" for found in parts.values() for name, _ in found if name not in known]
    for side in script.sides:
        lines.append(f"if enter{side.title}")
        fixed = [*fixed_levels[side.word], *exits[side.word].fixed_at_signals(), *parts[side.word]]
        lines += [f"    {name} := {value}" for name, value in fixed]
        order = f'"{side.title}", strategy.{side.word}, qty={quantity}{_entry_alert(script, side, quantity)}'
        if is_fixed:
            lines.append(f"    strategy.entry({order})")
            continue
        lines += ["    if orderUnits > 0.0", f"        strategy.entry({order})"]
        if len(script.sides) == 2:
            alert = _exit_alert(script, side.opposite.lower(), "reverse")
            lines += ["    else", f'        strategy.close("{side.opposite}", comment="Reverse"{alert})']
    lines += [line for found in levels.values() for writer in found for line in writer.lines()]
    lines += [line for writer in exits.values() for line in writer.stop_lines()]
    lines += [line for writer in targets.values() for line in writer.lines()]
    calls = [_exit_line(script, side, part) for side in script.sides for part in _placed(script, side)]
    if calls:
        lines += ["// Called on every bar: an exit placed only once could be lost at a reversal", *calls]
    lines += clock_lines(spec)
    lines += [line for writer in exits.values() for line in writer.time_lines()]
    for side in script.sides:
        lines += _close_lines(script, side)
    script.section("Orders, filled at the open of the next bar", lines)


def _placed(script: Draft, side: Side) -> list[Bracket]:
    """Return the exits of a side that have a stop or a target."""
    has_stop = script.exits(side).has_stop
    return [part for part in script.targets(side).brackets if has_stop or part.target is not None]


def _exit_line(script: Draft, side: Side, part: Bracket) -> str:
    arguments = f'"{part.name}", from_entry="{side.title}"'
    exits = script.exits(side)
    if part.units is not None:
        arguments += f", qty={part.price(part.units)}"
    if exits.has_stop:
        alert = _stop_alert(script, side, part)
        arguments += (
            f", {exits.stop_argument}={part.price(exits.stop)}, comment_loss={exits.stop_comment}{alert}"
        )
    if part.target is not None:
        alert = _exit_alert(script, side.word, "target", part.units, parameter="alert_profit")
        arguments += f", {part.target_argument}={part.price(part.target)}"
        arguments += f', comment_profit="Target"{alert}'
    return f"strategy.exit({arguments})"


def _entry_alert(script: Draft, side: Side, quantity: str) -> str:
    """Return the argument of an entry that holds its alert's message, or nothing."""
    if not script.form.alerts:
        return ""
    levels = script.levels(side)
    prices = {kind: writer.price_at_signal for kind, writer in levels.items()}
    away = {kind: writer.away_at_signal for kind, writer in levels.items()}
    if targets_of(script.spec):
        prices["target"] = script.targets(side).first_target
    message = alerts.entry_message(
        side.word,
        quantity=quantity,
        stop=prices.get("stop"),
        target=prices.get("target"),
        stop_distance=away.get("stop"),
        target_distance=away.get("target"),
    )
    return f", alert_message={message}"


def _exit_alert(
    script: Draft, side: str, reason: str, quantity: str | None = None, *, parameter: str = "alert_message"
) -> str:
    if not script.form.alerts:
        return ""
    return f", {parameter}={alerts.exit_message(side, reason, quantity=quantity)}"


def _stop_alert(script: Draft, side: Side, part: Bracket) -> str:
    exits = script.exits(side)
    if not exits.moves or not script.form.alerts:
        return _exit_alert(script, side.word, "stop", part.units, parameter="alert_loss")
    return f", alert_loss={alerts.moved_stop_message(side.word, exits.stop_comment, quantity=part.units)}"


def _close_lines(script: Draft, side: Side) -> list[str]:
    """Return what ends a position at the next open: its stop and target go, an exit signal closes it."""
    reverses = len(script.sides) == 2
    exits = getattr(script.spec, f"exit_{side.word}") is not None
    exit_signal = f"exit{side.title}Signal"
    held = f"strategy.position_size {side.held}"
    lines = []
    time_up = script.exits(side).time_up
    causes = [f"enter{side.opposite}"] * reverses + [exit_signal] * exits
    causes += [] if time_up is None else [time_up]
    placed = _placed(script, side)
    if placed and causes:
        cause = causes[0] if len(causes) == 1 else f"({' or '.join(causes)})"
        lines.append(f"if {held} and {cause}")
        lines += [f'    strategy.cancel("{part.name}")' for part in placed]
    if exits:
        unless = f" and not enter{side.opposite}" if reverses else ""
        alert = _exit_alert(script, side.word, "signal")
        lines += [
            f"if {held} and {exit_signal}{unless}",
            f'    strategy.close("{side.title}", comment="Exit signal"{alert})',
        ]
    if time_up is not None:
        unless = f" and not enter{side.opposite}" * reverses + f" and not {exit_signal}" * exits
        alert = _exit_alert(script, side.word, "time")
        lines += [
            f"if {held} and {time_up}{unless}",
            f'    strategy.close("{side.title}", comment="Time"{alert})',
        ]
    return lines
