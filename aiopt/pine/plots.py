"""What a script shows: plots, the shapes of an indicator's signals and the alerts on them."""

from __future__ import annotations

from aiopt.pine import alerts
from aiopt.pine.draft import Draft, Side
from aiopt.pine.text import string_literal
from aiopt.strategy.spec_targets import targets_of


def write_signal_alerts(script: Draft) -> None:
    """Write the shapes of an indicator's signals and the alerts on them."""
    lines = []
    for side in script.sides:
        shape, place, color = (
            ("up", "belowbar", "green") if side.word == "long" else ("down", "abovebar", "red")
        )
        lines.append(
            f'plotshape(enter{side.title}, "{side.title} entry", style=shape.triangle{shape}, '
            f"location=location.{place}, color=color.{color}, size=size.tiny)"
        )
    if script.form.alerts:
        for side in script.sides:
            lines += [
                f"if enter{side.title}",
                f"    alert({_entry_message(script, side)}, alert.freq_once_per_bar_close)",
            ]
            if f"exit_{side.word}" in script.spec.trees:
                message = alerts.exit_message(side.word, "signal")
                lines += [
                    f"if exit{side.title}Signal",
                    f"    alert({message}, alert.freq_once_per_bar_close)",
                ]
    script.section("Signals on the chart and their alerts; an indicator knows no position", lines)


def _entry_message(script: Draft, side: Side) -> str:
    """Return the message of an indicator's entry signal."""
    targets = targets_of(script.spec)
    first = targets[0].distance if targets else script.spec.take_profit
    prices, away = {}, {}
    for kind, distance, sign in (
        ("stop", script.spec.stop_loss, side.against),
        ("target", first, side.towards),
    ):
        if distance is None:
            continue
        if distance.is_from_signal:
            prices[kind] = f"math.round_to_mintick(close {sign} {script.distance(distance)})"
        elif distance.origin == "entry":
            away[kind] = f"{script.levels(side)[kind].ticks_at_signal} * syminfo.mintick"
    return alerts.entry_message(
        side.word,
        quantity=None,
        stop=prices.get("stop"),
        target=prices.get("target"),
        stop_distance=away.get("stop"),
        target_distance=away.get("target"),
    )


def write_plots(script: Draft) -> None:
    """Append the plots: stop and target on the chart, the rest in the data window."""
    spec = script.spec
    lines = []
    for side in script.sides:
        held = f"strategy.position_size {side.held}"
        exits, levels = script.exits(side), script.levels(side)
        stop = exits.stop if exits.has_stop else None
        if stop is not None and not exits.moves:
            stop = levels["stop"].shown
        target = levels["target"].shown if "target" in levels else None
        for kind, variable, color in (("Stop", stop, "red"), ("Target", target, "green")):
            if variable is not None and script.trades:
                series = f"{held} ? {variable} : na"
                title = f'"{side.title} {kind.lower()}"'
                lines.append(f"plot({series}, {title}, color=color.{color}, style=plot.style_linebr)")
        for number, _ in enumerate(targets_of(spec), start=1):
            series = f"{held} and {side.word}Open{number} ? {side.word}Target{number} : na"
            title = f'"{side.title} target {number}"'
            if script.trades:
                lines.append(f"plot({series}, {title}, color=color.green, style=plot.style_linebr)")
    hidden = "display=display.data_window"
    for name in (name for names in spec.output_names().values() for name in names):
        lines.append(f"plot({script.variables[name]}, {string_literal(name)}, {hidden})")
    for side in script.sides:
        lines.append(f'plot({side.word}Signal ? 1 : 0, "{side.title} signal", {hidden})')
    script.section("Plots: stop and target on the chart, the rest in the data window", lines)
