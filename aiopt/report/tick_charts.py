"""The data-quality page's own pictures: spread by hour, ticks by weekday, findings by day, gaps over time.

Owns how these figures are laid out.  Knows nothing of ticks or rules: it is given labels and numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aiopt.report.svg import Canvas, Linear, short, time_ticks
from aiopt.utc import time_text

_WIDTH = 1080
_LEFT, _RIGHT = 96.0, 14.0
_LEVELS = 7


@dataclass(frozen=True)
class Box:
    """Quantiles of one category; None where there is nothing."""

    label: str
    count: int
    p10: float | None
    p50: float | None
    p90: float | None
    p99: float | None


@dataclass(frozen=True)
class Span:
    """A stretch of time with a text for its tip."""

    start_ns: int
    stop_ns: int
    tip: str


def spread_chart(boxes: Sequence[Box], *, unit: str) -> str:
    """Draw the spread by hour of the day: 10 to 90 % as a bar, the median as a line, 99 % as a dot."""
    known = [box for box in boxes if box.p99 is not None]
    if not known:
        return ""
    canvas = Canvas(_WIDTH, 280, label="Spread by hour of the day", minimum=700)
    top = max(box.p99 or 0.0 for box in known)
    y = Linear(0.0, top * 1.08 or 1.0, 244, 16)
    step = (_WIDTH - _LEFT - _RIGHT) / len(boxes)
    for tick in y.ticks(5):
        canvas.line(_LEFT, y(tick), _WIDTH - _RIGHT, y(tick), "grid")
        canvas.text(_LEFT - 8, y(tick) + 4, short(tick), "tick", anchor="end")
    canvas.text(_LEFT + 6, 13, f"Spread, {unit}", "axisname")
    for index, box in enumerate(boxes):
        x = _LEFT + step * index
        if index % 2 == 0:
            canvas.text(x + step / 2, 262, box.label, "tick", anchor="middle")
        if box.p10 is None or box.p50 is None or box.p90 is None or box.p99 is None:
            continue
        tip = (
            f"{box.label}: median {box.p50:g}, 10% {box.p10:g}, 90% {box.p90:g}, 99% {box.p99:g} {unit}, "
            f"{box.count:,} ticks"
        )
        high, low = y(box.p90), y(box.p10)
        canvas.rect(x + step * 0.2, high, step * 0.6, max(low - high, 1.5), "cell h4", tip=tip, radius=1.5)
        canvas.line(x + step * 0.2, y(box.p50), x + step * 0.8, y(box.p50), "whisker median")
        canvas.circle(x + step / 2, y(box.p99), 3, "dot is", tip=tip)
    canvas.line(_LEFT, 244, _WIDTH - _RIGHT, 244, "axis")
    return canvas.render()


def week_map(rows: Sequence[str], means: Sequence[Sequence[float | None]]) -> str:
    """Draw mean ticks per weekday and hour (UTC); None leaves a cell empty.

    Parameters
    ----------
    rows : sequence of str
        Names of the weekdays.
    means : nested sequence of shape (len(rows), 24)
    """
    cell = 24.0
    canvas = Canvas(
        _WIDTH, int(24 + cell * len(rows) + 6), label="Mean ticks per weekday and hour", minimum=700
    )
    step = (_WIDTH - _LEFT - _RIGHT) / 24
    most = max((mean for row in means for mean in row if mean), default=1.0)
    _hour_labels(canvas, step)
    for index, name in enumerate(rows):
        y = 22 + cell * index
        canvas.text(_LEFT - 8, y + cell / 2 + 4, name, "tick", anchor="end")
        for hour, mean in enumerate(means[index]):
            if mean is None:
                continue
            x, level = _LEFT + step * hour, _level(mean, most)
            tip = f"{name} {hour:02d}h UTC: {mean:,.0f} ticks on average"
            canvas.rect(x, y, step - 1.5, cell - 1.5, f"cell h{level}", tip=tip, radius=2)
            strong = " strong" if level >= 5 else ""
            text = _compact(mean)
            canvas.text(x + step / 2 - 1, y + cell / 2 + 3, text, f"cellvalue{strong}", anchor="middle")
    return canvas.render()


def rule_map(rules: Sequence[str], days: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Draw how much each rule found per day, darker for more, on a logarithmic scale.

    Parameters
    ----------
    rules, days : sequence of str
        Rows and columns.
    counts : nested sequence of shape (len(rules), len(days))
    """
    if not rules or not days:
        return ""
    left, cell = 150.0, 26.0
    canvas = Canvas(_WIDTH, int(24 + cell * len(rules) + 6), label="Findings per rule and day", minimum=700)
    step = (_WIDTH - left - _RIGHT) / len(days)
    wide = min(step, 90.0)
    most = max((count for row in counts for count in row), default=1) or 1
    skip = max(1, math.ceil(76 / wide))
    for column, day in enumerate(days):
        if column % skip == 0 and left + wide * column + 66 <= _WIDTH:
            canvas.text(left + wide * column, 14, day, "tick")
    for index, rule in enumerate(rules):
        y = 22 + cell * index
        canvas.text(left - 8, y + cell / 2 + 3, rule, "tick", anchor="end")
        for column, count in enumerate(counts[index]):
            x = left + wide * column
            level = 0 if not count else 1 + min(6, int(7 * math.log1p(count) / math.log1p(most) - 1e-9))
            gap = 1.5 if wide > 4 else 0.3
            tip = f"{rule}, {days[column]}: {count:,}"
            canvas.rect(x, y, wide - gap, cell - 2, f"cell h{level}", tip=tip, radius=1)
            if count and wide > 34:
                strong = " strong" if level >= 5 else ""
                canvas.text(
                    x + wide / 2, y + cell / 2 + 3, _compact(count), f"cellvalue{strong}", anchor="middle"
                )
    return canvas.render()


def gap_timeline(start_ns: int, stop_ns: int, closed: Sequence[Span], gaps: Sequence[Span]) -> str:
    """Draw the span as a strip: closed market shaded, gaps as bars at least as wide as can be seen."""
    canvas = Canvas(_WIDTH, 92, label="Gaps over time", minimum=700)
    x = Linear(float(start_ns), float(max(stop_ns, start_ns + 1)), 14, _WIDTH - _RIGHT)
    canvas.rect(14, 8, _WIDTH - _RIGHT - 14, 52, "cell h2")
    for span in closed:
        left, right = x(float(max(span.start_ns, start_ns))), x(float(min(span.stop_ns, stop_ns)))
        canvas.rect(left, 8, right - left, 52, "region closed", tip=span.tip)
    for span in gaps:
        left, right = x(float(span.start_ns)), x(float(span.stop_ns))
        canvas.rect(left, 4, max(right - left, 1.6), 60, "bar loss", tip=span.tip)
    canvas.line(14, 64, _WIDTH - _RIGHT, 64, "axis")
    for ns, label in time_ticks(start_ns, stop_ns, 9):
        canvas.line(x(float(ns)), 64, x(float(ns)), 69, "axis")
        fits = 14 + 4 * len(label) <= x(float(ns)) <= _WIDTH - 4 * len(label)
        anchor = "middle" if fits else "end" if x(float(ns)) > _WIDTH / 2 else "start"
        canvas.text(x(float(ns)), 84, label, "tick", anchor=anchor)
    return canvas.render()


def minute(ns: int) -> str:
    """Return a UTC time to the second."""
    return time_text(ns)


def _hour_labels(canvas: Canvas, step: float) -> None:
    for hour in range(0, 24, 2):
        canvas.text(_LEFT + step * (hour + 0.5), 14, f"{hour:02d}h", "tick", anchor="middle")


def _level(value: float, most: float) -> int:
    return 0 if value <= 0 else 1 + min(_LEVELS - 1, int(_LEVELS * math.sqrt(value / most)))


def _compact(value: float) -> str:
    return (
        f"{value:.0f}"
        if value < 1000
        else f"{value / 1000:.1f}k"
        if value < 99_950
        else f"{value / 1000:.0f}k"
    )
