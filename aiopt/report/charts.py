"""The report's pictures, each a function from plain numbers to an inline SVG.

Owns how a figure is laid out.  Knows nothing of run folders: it is given labels, numbers and CSS classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from aiopt.report.document import Density, HeatMap
from aiopt.report.svg import Canvas, Linear, padded, short, time_ticks
from aiopt.utc import time_text

_LEFT, _RIGHT = 62.0, 14.0
_MOST_POINTS = 700
_STRONG = 3


@dataclass(frozen=True)
class Region:
    """A stretch of time with a meaning: `kind` is ``"train"``, ``"oos"`` or ``"holdout"``."""

    kind: str
    label: str
    start_ns: int
    stop_ns: int


@dataclass(frozen=True)
class Path:
    """A line over time; `css` names its style, `ts_ns` ascends and is as long as `value`.

    `peak` is the highest value reached before the line begins: the drawdown starts below it.
    """

    label: str
    css: str
    ts_ns: Sequence[int]
    value: Sequence[float]
    peak: float = -math.inf


@dataclass(frozen=True)
class Mark:
    """A vertical line in a histogram."""

    value: float
    label: str
    css: str


@dataclass(frozen=True)
class Dot:
    """A point of a scatter plot."""

    x: float
    y: float
    css: str
    tip: str


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval, one row of a forest plot."""

    label: str
    css: str
    value: float
    low: float | None
    high: float | None


def equity_chart(paths: Sequence[Path], regions: Sequence[Region], *, unit: str) -> str:
    """Draw equity above and drawdown below, over one time axis, the regions shaded, hatched and named.

    Parameters
    ----------
    paths : sequence of Path
        Equity in `unit`; the drawdown of each is taken from its own running peak.
    regions : sequence of Region
        Shaded stretches, in order of time.
    unit : str
        Currency of the equity axis.
    """
    paths = [path for path in paths if len(path.ts_ns) > 1]
    if not paths:
        return ""
    canvas = Canvas(1080, 430, label="Equity and drawdown over time", minimum=700)
    start = min([path.ts_ns[0] for path in paths] + [region.start_ns for region in regions])
    stop = max([path.ts_ns[-1] for path in paths] + [region.stop_ns for region in regions])
    x = Linear(float(start), float(stop), _LEFT, canvas.width - _RIGHT)
    _draw_regions(canvas, regions, x, top=18, bottom=400)
    drawdowns = [drawdown(path.value, path.peak) for path in paths]
    low, high = padded(value for path in paths for value in path.value)
    upper = Linear(low, high, 262, 34)
    lower = Linear(min(min(values) for values in drawdowns) * 1.08 or -0.01, 0.0, 396, 296)
    _y_axis(canvas, upper, 5, f"Equity, {unit}")
    _y_axis(canvas, lower, 3, "Drawdown, %", percent=True)
    canvas.line(_LEFT, 396, canvas.width - _RIGHT, 396, "axis")
    for ns, label in time_ticks(start, stop, 9):
        canvas.line(x(ns), 396, x(ns), 401, "axis")
        fits = x(ns) + 4 * len(label) <= canvas.width
        canvas.text(x(ns), 415, label, "tick", anchor="middle" if fits else "end")
    for path, values in zip(paths, drawdowns, strict=True):
        keep = thin(path.value)
        points = [(x(path.ts_ns[index]), lower(values[index])) for index in thin(values)]
        zero = lower(0.0)
        if "main" in path.css:
            canvas.path(
                [(points[0][0], zero), *points, (points[-1][0], zero)], f"area {path.css}", close=True
            )
        canvas.path(points, f"curve thin {path.css}")
        canvas.path([(x(path.ts_ns[index]), upper(path.value[index])) for index in keep], f"curve {path.css}")
    return canvas.render() + _hover_data(paths, drawdowns, x, unit)


def drawdown(equity: Sequence[float], peak: float = -math.inf) -> list[float]:
    """Return ``equity / running peak - 1`` for each point; `peak` is what was reached before the first."""
    result = []
    for value in equity:
        peak = max(peak, value)
        result.append(value / peak - 1 if peak > 0 else 0.0)
    return result


def thin(values: Sequence[float], most: int = _MOST_POINTS) -> list[int]:
    """Return the indices to draw: first, last, and the lowest and highest of each bucket, ascending."""
    if len(values) <= most:
        return list(range(len(values)))
    buckets = max(most // 2, 1)
    chosen = {0, len(values) - 1}
    for bucket in range(buckets):
        indices = range(bucket * len(values) // buckets, (bucket + 1) * len(values) // buckets)
        chosen.add(min(indices, key=values.__getitem__))
        chosen.add(max(indices, key=values.__getitem__))
    return sorted(chosen)


def forest_plot(rows: Sequence[Interval], *, title: str) -> str:
    """Draw estimates with confidence intervals, one below the other, zero marked."""
    rows = [row for row in rows if math.isfinite(row.value)]
    if not rows:
        return ""
    height = 40 + 34 * len(rows)
    canvas = Canvas(520, height, label=title)
    ends = [bound for row in rows for bound in (row.low, row.high) if bound is not None]
    low, high = padded([row.value for row in rows] + ends, include=(0.0,))
    x = Linear(low, high, 150, canvas.width - 60)
    for tick in x.ticks(5):
        canvas.line(x(tick), 8, x(tick), height - 26, "grid")
        canvas.text(x(tick), height - 10, short(tick), "tick", anchor="middle")
    canvas.line(x(0.0), 4, x(0.0), height - 26, "zero")
    for index, row in enumerate(rows):
        y = 24.0 + 34 * index
        canvas.text(140, y + 4, row.label, "label", anchor="end")
        tip = f"{row.label}: {short(row.value, signed=True)}"
        if row.low is not None and row.high is not None:
            tip += f" (95% interval {short(row.low, signed=True)} to {short(row.high, signed=True)})"
            canvas.line(x(row.low), y, x(row.high), y, f"whisker {row.css}")
            canvas.line(x(row.low), y - 5, x(row.low), y + 5, f"whisker {row.css}")
            canvas.line(x(row.high), y - 5, x(row.high), y + 5, f"whisker {row.css}")
        canvas.circle(x(row.value), y, 6, f"dot {row.css}", tip=tip)
        canvas.text(canvas.width - 6, y + 4, short(row.value, signed=True), "value", anchor="end")
    return canvas.render()


def heat_map(heat: HeatMap) -> str:
    """Draw a diverging heat map, each cell with its number and, in its tip, how many trials it holds."""
    left, cell_w, cell_h = 60.0, max(44.0, min(148.0, 446.0 / max(len(heat.x_labels), 1))), 44.0
    width = int(left + cell_w * len(heat.x_labels) + 14)
    height = int(22 + cell_h * len(heat.y_labels) + 44)
    label = f"{heat.metric} by {heat.x_name} and {heat.y_name}"
    canvas = Canvas(max(width, 520), height, label=label, minimum=320)
    size = max((abs(value) for row in heat.values for value in row if value is not None), default=1.0) or 1.0
    canvas.text(left, 13, f"{heat.y_name} ↓  {heat.x_name} →", "label")
    for row, label in enumerate(heat.y_labels):
        y = 22 + cell_h * (len(heat.y_labels) - 1 - row)
        canvas.text(left - 8, y + cell_h / 2 + 4, label, "tick", anchor="end")
        for column, value in enumerate(heat.values[row]):
            x = left + cell_w * column
            where = f"{heat.y_name} {label}, {heat.x_name} {heat.x_labels[column]}"
            if value is None:
                canvas.rect(x, y, cell_w - 2, cell_h - 2, "cell none", tip=f"{where}: no trial", radius=3)
                continue
            level = round(4 * value / size)
            tip = f"{where}: median {short(value, signed=True)} over {heat.counts[row][column]} trial(s)"
            css = f"cell {'n' if level < 0 else 'p'}{abs(level)}"
            canvas.rect(x, y, cell_w - 2, cell_h - 2, css, tip=tip, radius=3)
            strong = " strong" if abs(level) >= _STRONG else ""
            text = short(float(f"{value:.2g}"))
            canvas.text(x + cell_w / 2 - 1, y + cell_h / 2 + 3, text, f"cellvalue{strong}", anchor="middle")
    if heat.chosen is not None:
        column, row = heat.chosen
        y = 22 + cell_h * (len(heat.y_labels) - 1 - row)
        canvas.rect(left + cell_w * column - 1, y - 1, cell_w, cell_h, "chosen", radius=4)
    for column, label in enumerate(heat.x_labels):
        y = 22 + cell_h * len(heat.y_labels) + 14
        canvas.text(left + cell_w * column + cell_w / 2 - 1, y, label, "tick", anchor="middle")
    return canvas.render()


def bar_chart(
    labels: Sequence[str], values: Sequence[float], counts: Sequence[int], *, title: str, unit: str
) -> str:
    """Draw profit and loss per category as bars from zero, the number of trades below each."""
    canvas = Canvas(520, 210, label=title)
    low, high = padded(values, include=(0.0,), pad=0.08)
    y = Linear(low, high, 158, 14)
    _y_axis(canvas, y, 4, "", right=520 - _RIGHT)
    step = (520 - _LEFT - _RIGHT) / max(len(labels), 1)
    for index, (label, value, count) in enumerate(zip(labels, values, counts, strict=True)):
        x = _LEFT + step * index
        css = "bar gain" if value >= 0 else "bar loss"
        top, bottom = sorted((y(value), y(0.0)))
        tip = f"{label}: {short(value, signed=True)} {unit} in {count} trade(s)"
        canvas.rect(x + step * 0.14, top, step * 0.72, max(bottom - top, 0.8), css, tip=tip, radius=1.5)
        if len(labels) <= 8 or index % 3 == 0:
            canvas.text(x + step / 2, 176, label, "tick", anchor="middle")
    canvas.line(_LEFT, y(0.0), 520 - _RIGHT, y(0.0), "axis")
    most = max([*counts, 1])
    for index, count in enumerate(counts):
        x = _LEFT + step * index
        tall = 20.0 * count / most
        tip = f"{labels[index]}: {count} trade(s)"
        canvas.rect(x + step * 0.14, 204 - tall, step * 0.72, max(tall, 0.6), "bar count", tip=tip, radius=1)
    canvas.text(_LEFT - 8, 203, "trades", "tick", anchor="end")
    return canvas.render()


def scatter_plot(dots: Sequence[Dot], *, x_title: str, y_title: str, density: Density | None = None) -> str:
    """Draw dots with both axes through zero and the diagonal on which in- and out-of-sample agree.

    `density` shades what lies below the dots.
    """
    canvas = Canvas(520, 380, label=f"{y_title} against {x_title}")
    beyond_x, beyond_y = ((), ()) if density is None else (density.x, density.y)
    x = Linear(*padded([*(dot.x for dot in dots), *beyond_x], include=(0.0,)), _LEFT, 506)
    y = Linear(*padded([*(dot.y for dot in dots), *beyond_y], include=(0.0,)), 330, 14)
    if density is not None:
        _draw_density(canvas, density, x, y)
    _y_axis(canvas, y, 6, "", right=506)
    for tick in x.ticks(6):
        canvas.line(x(tick), 14, x(tick), 330, "grid")
        canvas.text(x(tick), 346, short(tick), "tick", anchor="middle")
    canvas.line(x(0.0), 14, x(0.0), 330, "zero")
    canvas.line(_LEFT, y(0.0), 506, y(0.0), "zero")
    low, high = max(x.low, y.low), min(x.high, y.high)
    if low < high:
        canvas.line(x(low), y(low), x(high), y(high), "diagonal")
    for dot in dots:
        canvas.circle(x(dot.x), y(dot.y), 5.5 if "entry" in dot.css else 3.2, f"dot {dot.css}", tip=dot.tip)
    canvas.text((_LEFT + 506) / 2, 370, x_title, "label", anchor="middle")
    return canvas.render()


def _draw_density(canvas: Canvas, density: Density, x: Linear, y: Linear) -> None:
    most = max((count for _, _, count in density.cells), default=1)
    wide = (density.x[1] - density.x[0]) / density.columns
    tall = (density.y[1] - density.y[0]) / density.rows
    for column, row, count in density.cells:
        left, right = (x(density.x[0] + wide * (column + i)) for i in (0, 1))
        bottom, top = (y(density.y[0] + tall * (row + i)) for i in (0, 1))
        level = 1 + min(5, int(6 * math.log1p(count) / math.log1p(most)))
        canvas.rect(left, top, right - left, bottom - top, f"cell h{level}", tip=f"{count:,} points")


def histogram(values: Sequence[float], marks: Sequence[Mark], *, x_title: str, bins: int = 30) -> str:
    """Draw how many values fall in each bin, with vertical marks; all marks are inside the picture."""
    finite = [value for value in values if math.isfinite(value)]
    canvas = Canvas(520, 380, label=f"Distribution of {x_title}")
    low, high = padded(finite, include=[mark.value for mark in marks] or (0.0,), pad=0.05)
    x = Linear(low, high, _LEFT, 506)
    counts = [0] * bins
    for value in finite:
        counts[min(int((value - low) / (high - low) * bins), bins - 1)] += 1
    y = Linear(0.0, max([*counts, 1]) * 1.05, 330, 30 + 18 * len(marks))
    _y_axis(canvas, y, 5, "", right=506, whole=True)
    step = (506 - _LEFT) / bins
    for index, count in enumerate(counts):
        edge = low + (high - low) * index / bins
        tip = f"{short(edge)} to {short(edge + (high - low) / bins)}: {count} trial(s)"
        canvas.rect(_LEFT + step * index + 0.8, y(count), step - 1.6, 330 - y(count), "bar count", tip=tip)
    for tick in x.ticks(6):
        canvas.text(x(tick), 346, short(tick), "tick", anchor="middle")
    canvas.line(_LEFT, 330, 506, 330, "axis")
    # The mark nearest to its border stands highest, so that no line runs through the label of another.
    from_right = any(x(mark.value) > 300 for mark in marks)
    for index, mark in enumerate(sorted(marks, key=lambda mark: mark.value, reverse=from_right)):
        top = 16.0 + 18 * index
        right = x(mark.value) > 300
        canvas.line(x(mark.value), top - 4, x(mark.value), 330, f"mark {mark.css}")
        canvas.text(
            x(mark.value) + (-6 if right else 6),
            top + 5,
            f"{mark.label} {short(mark.value)}",
            f"label {mark.css}",
            anchor="end" if right else "start",
        )
    canvas.text((_LEFT + 506) / 2, 370, x_title, "label", anchor="middle")
    return canvas.render()


def hour_map(
    days: Sequence[str],
    counts: Sequence[Sequence[int | None]],
    *,
    absent: str = "not delivered",
    what: str = "ticks",
) -> str:
    """Draw `what` per day and hour (UTC) as a calendar; None marks an `absent` hour, -1 draws nothing.

    Parameters
    ----------
    days : sequence of str
        One row each.
    counts : nested sequence of shape (len(days), 24)
    """
    cell_h = 15.0 if len(days) <= 40 else max(4.0, 600.0 / len(days))
    canvas = Canvas(
        1080, int(24 + cell_h * len(days) + 8), label=f"{what.capitalize()} per hour and day", minimum=700
    )
    step = (1080 - 96 - _RIGHT) / 24
    most = max((count for row in counts for count in row if count), default=1)
    for hour in range(0, 24, 2):
        canvas.text(96 + step * (hour + 0.5), 14, f"{hour:02d}h", "tick", anchor="middle")
    skip = max(1, math.ceil(13 / cell_h))
    # Thin rows would be more gap than cell.
    gap = 1.5 if cell_h > 8 else 0.5
    for index, day in enumerate(days):
        y = 22 + cell_h * index
        if index % skip == 0:
            canvas.text(88, y + cell_h / 2 + 4, day, "tick", anchor="end")
        for hour, count in enumerate(counts[index]):
            x = 96 + step * hour
            if count == -1:
                continue
            if count is None:
                canvas.rect(x, y, step - 1.5, cell_h - gap, "cell absent", tip=f"{day} {hour:02d}h: {absent}")
                continue
            level = 0 if not count else 1 + min(6, int(7 * math.sqrt(count / most)))
            tip = f"{day} {hour:02d}h UTC: {count:,} {what}"
            canvas.rect(x, y, step - 1.5, cell_h - gap, f"cell h{level}", tip=tip)
    return canvas.render()


def _draw_regions(canvas: Canvas, regions: Sequence[Region], x: Linear, *, top: float, bottom: float) -> None:
    for region in regions:
        left, right = x(float(region.start_ns)), x(float(region.stop_ns))
        canvas.rect(left, top, right - left, bottom - top, f"region {region.kind}")
        if region.kind != "oos":
            canvas.hatch(left, top, right - left, bottom - top, f"hatch {region.kind}")
        canvas.line(left, top - 4, left, bottom, "edge")
        wide = right - left > 7.0 * len(region.label)
        label = region.label if wide else region.label.split()[0] if right - left > 40 else ""
        canvas.text((left + right) / 2, top - 5, label, f"regionname {region.kind}", anchor="middle")


def _y_axis(
    canvas: Canvas,
    y: Linear,
    count: int,
    title: str,
    *,
    right: float | None = None,
    percent: bool = False,
    whole: bool = False,
) -> None:
    end = canvas.width - _RIGHT if right is None else right
    for tick in y.ticks(count):
        if whole and tick != int(tick):
            continue
        canvas.line(_LEFT, y(tick), end, y(tick), "grid")
        text = f"{short(tick * 100)}%" if percent else f"{tick:,.0f}" if abs(tick) >= 1000 else short(tick)
        canvas.text(_LEFT - 8, y(tick) + 4, text.replace("-", "−"), "tick", anchor="end")
    if title:
        name_y = max(y.start, y.stop) - 5 if percent else min(y.start, y.stop) + 12
        canvas.text(_LEFT + 6, name_y, title, "axisname")


def _hover_data(paths: Sequence[Path], drawdowns: Sequence[Sequence[float]], x: Linear, unit: str) -> str:
    """Return the points a pointer over the chart reads, as data the page's script picks up."""
    series = []
    for path, values in zip(paths, drawdowns, strict=True):
        keep = thin(path.value, 300)
        series.append(
            {
                "label": path.label,
                "css": path.css,
                "x": [round(x(float(path.ts_ns[index])), 1) for index in keep],
                "t": [time_text(path.ts_ns[index], "m") for index in keep],
                "v": [round(path.value[index], 2) for index in keep],
                "d": [round(100 * values[index], 2) for index in keep],
            }
        )
    text = json.dumps({"unit": unit, "series": series}, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" class="hover-data">{text}</script>'
