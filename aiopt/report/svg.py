"""Small SVG drawing kit: scales, ticks, escaped elements.

Owns geometry and markup.  Knows nothing of trading or of colours: every shape carries a CSS class, and the
page's style sheet gives it a colour for light, dark and print.  Coordinates are rounded, so the same data
give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from aiopt.utc import DAY_S, HOUR_NS, SECOND_NS

NS_PER_S = 1_000_000_000
_HOUR, _DAY = HOUR_NS // SECOND_NS, DAY_S
_TIME_STEPS_S = (60, 300, 900, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY)


@dataclass(frozen=True)
class Linear:
    """A linear scale from a data interval to a pixel interval."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a data value."""
        if self.high == self.low:
            return (self.start + self.stop) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self, count: int) -> list[float]:
        """Return about `count` round values inside the data interval."""
        return nice_ticks(self.low, self.high, count)


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` values 1, 2, 2.5 or 5 times a power of ten apart, inside ``[low, high]``."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def padded(
    values: Iterable[float], *, include: Sequence[float] = (), pad: float = 0.06
) -> tuple[float, float]:
    """Return an interval holding all finite values and `include`, widened by `pad` on both sides."""
    finite = [value for value in (*values, *include) if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    if low == high:
        margin = abs(low) * 0.1 or 1.0
        return low - margin, high + margin
    margin = (high - low) * pad
    return low - margin, high + margin


def utc(ns: int) -> datetime:
    """Return the UTC time of nanoseconds since the Unix epoch, to the microsecond."""
    return datetime.fromtimestamp(ns // NS_PER_S, tz=UTC).replace(microsecond=(ns % NS_PER_S) // 1000)


def time_ticks(low_ns: int, high_ns: int, count: int) -> list[tuple[int, str]]:
    """Return about `count` round UTC times inside the interval, each with its label."""
    span_s = max((high_ns - low_ns) / NS_PER_S, 1.0)
    step = next((step for step in _TIME_STEPS_S if span_s / step <= count), None)
    if step is None:
        return _month_ticks(low_ns, high_ns, count)
    step_ns = step * NS_PER_S
    form = "%d %b" if step >= _DAY else "%d %b %H:%M"
    if span_s < _DAY:
        form = "%H:%M"
    first = -(-low_ns // step_ns)
    last = high_ns // step_ns
    return [(index * step_ns, utc(index * step_ns).strftime(form)) for index in range(first, last + 1)]


def _month_ticks(low_ns: int, high_ns: int, count: int) -> list[tuple[int, str]]:
    start, stop = utc(low_ns), utc(high_ns)
    months = (stop.year - start.year) * 12 + stop.month - start.month + 1
    stride = next(
        (size for size in (1, 2, 3, 6, 12) if months / size <= count), 12 * -(-months // (12 * count))
    )
    ticks = []
    for index in range(start.year * 12 + start.month - 1, stop.year * 12 + stop.month):
        if index % stride:
            continue
        moment = datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)
        ns = int(moment.timestamp()) * NS_PER_S
        if low_ns <= ns <= high_ns:
            ticks.append((ns, moment.strftime("%Y" if stride >= 12 else "%b %Y")))
    return ticks


def short(value: float, *, signed: bool = False) -> str:
    """Return a number for an axis or a cell: three significant digits, thousands as k, a true minus sign."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 1e6:
        text = f"{size / 1e6:.3g}M"
    elif size >= 1e4:
        text = f"{size / 1e3:.3g}k"
    elif size >= 1000:
        text = f"{size:,.0f}"
    else:
        text = f"{float(f'{size:.3g}'):g}"
    if text == "0":
        return text
    return ("−" if value < 0 else "+" if signed else "") + text


class Canvas:
    """An SVG picture being drawn.

    Parameters
    ----------
    width, height : int
        View box in CSS pixels.
    label : str
        What the picture shows, for people who do not see it.
    minimum : int, optional
        Width in pixels below which the picture scrolls sideways instead of shrinking.
    """

    def __init__(self, width: int, height: int, *, label: str, minimum: int | None = None) -> None:
        self.width = width
        self.height = height
        self._label = label
        self._minimum = minimum
        self._parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """Draw a straight line."""
        self._add("line", css, x1=x1, y1=y1, x2=x2, y2=y2)

    def rect(
        self, x: float, y: float, width: float, height: float, css: str, *, tip: str = "", radius: float = 0
    ) -> None:
        """Draw a rectangle; `tip` shows when the pointer rests on it."""
        size: dict[str, float] = {"x": x, "y": y, "width": max(width, 0.0), "height": max(height, 0.0)}
        if radius:
            size["rx"] = radius
        self._add("rect", css, tip=tip, **size)

    def circle(self, x: float, y: float, radius: float, css: str, *, tip: str = "") -> None:
        """Draw a dot."""
        self._add("circle", css, tip=tip, cx=x, cy=y, r=radius)

    def text(self, x: float, y: float, text: str, css: str = "", *, anchor: str = "start") -> None:
        """Write text; `y` is its base line."""
        self._parts.append(
            f'<text x="{_number(x)}" y="{_number(y)}" class="{escape(css)}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def path(self, points: Sequence[tuple[float, float]], css: str, *, close: bool = False) -> None:
        """Draw a line through points; `close` makes it an area."""
        if not points:
            return
        data = "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points) + ("Z" if close else "")
        self._parts.append(f'<path class="{escape(css)}" d="{data}"/>')

    def hatch(self, x: float, y: float, width: float, height: float, css: str, *, gap: float = 8.0) -> None:
        """Draw diagonal strokes inside a rectangle, so that a region shows without colour too."""
        strokes = []
        offset = -height
        while offset < width:
            x1, x2 = max(offset, 0.0), min(offset + height, width)
            if x2 > x1:
                strokes.append(
                    f"M{_number(x + x1)} {_number(y + height - (x1 - offset))}"
                    f"L{_number(x + x2)} {_number(y + height - (x2 - offset))}"
                )
            offset += gap
        self._parts.append(f'<path class="{escape(css)}" d="{"".join(strokes)}"/>')

    def render(self) -> str:
        """Return the picture as an inline ``<svg>`` element."""
        style = f' style="min-width:{self._minimum}px"' if self._minimum else ""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(self._label)}"'
            f"{style}>{''.join(self._parts)}</svg>"
        )

    def _add(self, tag: str, css: str, *, tip: str = "", **numbers: float) -> None:
        attributes = " ".join(f'{name}="{_number(value)}"' for name, value in numbers.items())
        inner = f"<title>{escape(tip)}</title>" if tip else ""
        self._parts.append(f'<{tag} class="{escape(css)}" {attributes}>{inner}</{tag}>')


def _number(value: float) -> str:
    text = f"{value:.1f}"
    if text.endswith(".0"):
        text = text[:-2]
    return "0" if text == "-0" else text
