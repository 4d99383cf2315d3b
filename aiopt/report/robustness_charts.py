"""Pictures of what the ranked entries do under stress.  Owns their layout; knows no run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiopt.report.charts import heat_map
from aiopt.report.document import HeatMap
from aiopt.report.svg import Canvas, Linear, padded, short, time_ticks
from aiopt.robustness.robustness_file import EntryRobustness, Map, Part, Quantiles, Scenario

_WIDTH = 1080
_COLUMNS = 3
_MOST_WORDS = 26
"""Letters of a label that fit beside its row."""


@dataclass(frozen=True)
class Row:
    """One distribution of a plot: `own` is the value it is held against, `note` stands at its right."""

    label: str
    spread: Quantiles
    own: float | None
    note: str


def spread_plot(rows: Sequence[Row], *, title: str, unit: str = "") -> str:
    """Draw distributions one below the other: whisker 5 to 95 %, box 25 to 75 %, a stroke at the median.

    Parameters
    ----------
    rows : sequence of Row
        From top to bottom.
    title : str
        What the values are.
    unit : str
        Behind numbers in tips.
    """
    if not rows:
        return ""
    left, right, step = 190.0, _WIDTH - 190.0, 30.0
    height = 54 + step * len(rows)
    canvas = Canvas(_WIDTH, int(height), label=title, minimum=700)
    ends = [end for row in rows for end in (row.spread.q05, row.spread.q95)]
    x = Linear(*padded(ends, include=[0.0, *(row.own for row in rows if row.own is not None)]), left, right)
    for tick in x.ticks(8):
        canvas.line(x(tick), 6, x(tick), height - 40, "grid")
        canvas.text(x(tick), height - 24, short(tick), "tick", anchor="middle")
    canvas.line(x(0.0), 4, x(0.0), height - 40, "zero")
    canvas.text((left + right) / 2, height - 5, title, "label", anchor="middle")
    for number, row in enumerate(rows):
        y = 22.0 + step * number
        spread = row.spread
        tip = (
            f"{row.label}: median {short(spread.q50, signed=True)} {unit}, 5 % "
            f"{short(spread.q05, signed=True)}, 95 % {short(spread.q95, signed=True)}"
        )
        canvas.text(left - 12, y + 4, _cut(row.label), "label", anchor="end")
        canvas.line(x(spread.q05), y, x(spread.q95), y, "whisker oos")
        canvas.rect(
            x(spread.q25), y - 8, max(x(spread.q75) - x(spread.q25), 1.5), 16, "box", tip=tip, radius=2
        )
        canvas.line(x(spread.q50), y - 10, x(spread.q50), y + 10, "whisker oos")
        if row.own is not None:
            canvas.line(x(row.own), y - 12, x(row.own), y + 12, "own")
        canvas.text(_WIDTH - 6, y + 4, row.note, "label", anchor="end")
    return canvas.render()


def scenario_plot(entry: EntryRobustness, unit: str) -> str:
    """Draw the profit of an entry's path under every scenario; dashed without stress."""
    rows = [
        Row(
            label=words(one.name),
            spread=one.net_pnl,
            own=entry.net_pnl,
            note=f"{one.share_profitable or 0:.0%} of {one.draws} earn"
            if one.draws > 1
            else f"{short(one.net_pnl.q50, signed=True)} {unit}",
        )
        for one in entry.scenarios
        if one.net_pnl is not None
    ]
    return spread_plot(rows, title=f"Out-of-sample profit, {unit}", unit=unit)


def fan_plot(entry: EntryRobustness, unit: str) -> str:
    """Draw the profit so far under each drawn scenario: bands of 50 and 90 % of the draws, the median."""
    drawn = [one for one in entry.scenarios if one.fan]
    if not drawn or len(entry.fan_ts_ns) < 2:
        return ""
    lines = -(-len(drawn) // _COLUMNS)
    wide, tall = _WIDTH / _COLUMNS, 190.0
    canvas = Canvas(_WIDTH, int(tall * lines), label="Profit over time under stress", minimum=700)
    values = [value for one in drawn for level in one.fan for value in level] + entry.fan
    low, high = padded(values, include=(0.0,), pad=0.04)
    for number, one in enumerate(drawn):
        left, top = wide * (number % _COLUMNS), tall * (number // _COLUMNS)
        _draw_fan(canvas, one, entry, (left + 52, left + wide - 12), (top + 24, top + tall - 26), (low, high))
        canvas.text(left + 52, top + 15, f"{words(one.name)}, {one.draws} draws", "axisname")
    return canvas.render()


# reason: where a fan stands and what it shows
def _draw_fan(
    canvas: Canvas,
    one: Scenario,
    entry: EntryRobustness,
    across: tuple[float, float],
    up: tuple[float, float],
    values: tuple[float, float],
) -> None:
    times = entry.fan_ts_ns
    x = Linear(float(times[0]), float(times[-1]), *across)
    y = Linear(*values, up[1], up[0])
    for tick in y.ticks(4):
        canvas.line(across[0], y(tick), across[1], y(tick), "grid")
        canvas.text(across[0] - 6, y(tick) + 4, short(tick), "tick", anchor="end")
    canvas.line(across[0], y(0.0), across[1], y(0.0), "zero")
    for ns, label in time_ticks(times[0], times[-1], 4):
        fits = x(ns) + 4 * len(label) <= across[1] + 10
        canvas.text(x(ns), up[1] + 16, label, "tick", anchor="middle" if fits else "end")
    low, lower, median, upper, high = one.fan
    for bottom, top in ((low, high), (lower, upper)):
        edge = [(x(ns), y(value)) for ns, value in zip(times, top, strict=True)]
        back = [(x(ns), y(value)) for ns, value in zip(times, bottom, strict=True)]
        canvas.path([*edge, *reversed(back)], "area oos", close=True)
    canvas.path([(x(ns), y(value)) for ns, value in zip(times, median, strict=True)], "curve thin oos")
    canvas.path([(x(ns), y(value)) for ns, value in zip(times, entry.fan, strict=True)], "own curve")


def parts_plot(groups: Sequence[tuple[str, Sequence[Part]]], unit: str) -> str:
    """Draw what each part of a path earned as bars from zero, group below group."""
    values = [part.net_pnl for _, parts in groups for part in parts]
    if not values:
        return ""
    left, right, step = 150.0, 400.0, 21.0
    height = sum(26 + step * len(parts) for _, parts in groups) + 4
    canvas = Canvas(520, int(height), label="Profit by session and regime")
    x = Linear(*padded(values, include=(0.0,)), left, right)
    y = 0.0
    for title, parts in groups:
        y += 18
        canvas.text(4, y, title, "axisname")
        y += 8
        for part in parts:
            middle = y + step / 2
            start, stop = sorted((x(0.0), x(part.net_pnl)))
            css = "bar gain" if part.net_pnl >= 0 else "bar loss"
            tip = f"{part.label}: {short(part.net_pnl, signed=True)} {unit}, {part.trades} trades"
            canvas.text(left - 10, middle + 4, _cut(part.label), "label", anchor="end")
            canvas.rect(start, middle - 7, max(stop - start, 0.8), 14, css, tip=tip, radius=1.5)
            text = f"{short(part.net_pnl, signed=True)} in {part.trades:,}"
            canvas.text(516, middle + 4, text, "label", anchor="end")
            y += step
        canvas.line(x(0.0), y - step * len(parts), x(0.0), y, "axis")
    return canvas.render()


def stability_map(found: Map) -> str:
    """Draw the Sharpe ratio over the two parameters that matter most."""
    return heat_map(
        HeatMap(
            metric="Sharpe ratio",
            x_name=found.x_name,
            y_name=found.y_name,
            x_labels=[short(value) for value in found.x_values],
            y_labels=[short(value) for value in found.y_values],
            values=found.sharpe,
            counts=[[int(value is not None) for value in row] for row in found.sharpe],
            chosen=found.chosen,
        )
    )


def words(name: str) -> str:
    """Return the name of a scenario for people."""
    head, _, factor = name.rpartition("_")
    text = f"commission × {factor}" if head == "commission" else name.replace("_", " ")
    return text[:1].upper() + text[1:]


def _cut(label: str) -> str:
    return label if len(label) <= _MOST_WORDS else label[: _MOST_WORDS - 1] + "…"
