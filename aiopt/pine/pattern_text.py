"""Candlestick patterns and breakouts as Pine text: the formulas of `aiopt.patterns`, spelled out.

Every comparison is one of Pine's operators, whose tolerance is the detectors' too; no average of `ta.*` is
called, as engines may round what those hand out.  A bearish pattern is its bullish mirror image, with prices
turned.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aiopt.patterns.bars import RANGE_BARS
from aiopt.patterns.breakouts import BEYOND, BREAKOUT_BARS, MAX_RANGE
from aiopt.patterns.candlesticks import MOVE_BARS
from aiopt.pine.indicator_text import PineIndicator, Request
from aiopt.pine.text import number


def unit_lines(request: Request) -> tuple[list[str], str]:
    """Return lines for the typical range, the unit patterns are measured in, and its variable."""
    span, total, unit = request.name("Range"), request.name("RangeSum"), request.name("Unit")
    before = "nz(close[1], high)", "nz(close[1], low)"
    terms = [f"nz({span}[{bars}])" for bars in reversed(range(1, RANGE_BARS))]
    lines = [
        f"float {span} = math.max(high, {before[0]}) - math.min(low, {before[1]})",
        f"float {total} = {' + '.join([*terms, span])}",
        f"float {unit} = {total} / math.min(bar_index + 1.0, {RANGE_BARS}.0)",
    ]
    return lines, unit


class _Bars:
    """The measures of bars as Pine variables, turned upside down or not."""

    def __init__(self, request: Request, *, turned: bool) -> None:
        self.turned = turned
        self._request = request
        self._gain = request.name("Fall" if turned else "Gain")
        self._body, self._span = request.name("Body"), request.name("Span")
        self._above, self._below = request.name("WickAbove"), request.name("WickBelow")
        self.lines = [
            f"float {self._gain} = {'open - close' if turned else 'close - open'}",
            f"float {self._body} = math.abs(close - open)",
            f"float {self._span} = high - low",
            f"float {self._above} = high - math.max(open, close)",
            f"float {self._below} = math.min(open, close) - low",
        ]

    def gain(self, bar: int = 0) -> str:
        return _past(self._gain, bar)

    def body(self, bar: int = 0) -> str:
        return _past(self._body, bar)

    def span(self, bar: int = 0) -> str:
        return _past(self._span, bar)

    def upper(self, bar: int = 0) -> str:
        return _past(self._below if self.turned else self._above, bar)

    def lower(self, bar: int = 0) -> str:
        return _past(self._above if self.turned else self._below, bar)

    def rise(self, later: str, later_bar: int, earlier: str, earlier_bar: int) -> str:
        """Return by how much one price of a bar lies above another, upside down if turned."""
        one, other = _past(later, later_bar), _past(earlier, earlier_bar)
        return f"{other} - {one}" if self.turned else f"{one} - {other}"


def _past(name: str, bar: int) -> str:
    return f"{name}[{bar}]" if bar else name


def _doji(bars: _Bars, unit: str) -> list[str]:
    return [f"{bars.span()} >= 0.5 * {unit}", f"{bars.span()} >= 10.0 * {bars.body()}"]


def _inside_bar(bars: _Bars, unit: str) -> list[str]:
    return ["high[1] > high", "low > low[1]", f"{bars.span(1)} >= {unit}"]


def _outside_bar(bars: _Bars, unit: str) -> list[str]:
    return ["high > high[1]", "low[1] > low", f"{bars.span()} >= {unit}"]


def _move(bars: _Bars, length: int, unit: str) -> str:
    return f"{bars.rise('close', length, 'close', length + MOVE_BARS)} <= -{unit}"


def _hammer(bars: _Bars, unit: str) -> list[str]:
    return [
        _move(bars, 1, unit),
        f"{bars.body()} > 0.0",
        f"{bars.lower()} >= 2.0 * {bars.body()}",
        f"{bars.lower()} >= 0.6 * {bars.span()}",
        f"0.15 * {bars.span()} >= {bars.upper()}",
        f"{bars.span()} >= 0.8 * {unit}",
    ]


def _engulfing(bars: _Bars, unit: str) -> list[str]:
    return [
        _move(bars, 2, unit),
        f"{bars.gain(1)} < 0.0",
        f"{bars.gain()} > 0.0",
        f"{bars.rise('close', 1, 'open', 0)} >= 0.0",
        f"{bars.rise('close', 0, 'open', 1)} >= 0.0",
        f"{bars.body()} > {bars.body(1)}",
        f"{bars.body()} >= 0.5 * {unit}",
    ]


def _star(bars: _Bars, unit: str) -> list[str]:
    top = "math.min(open[1], close[1])" if bars.turned else "math.max(open[1], close[1])"
    beyond = f"close[2] - {top}" if bars.turned else f"{top} - close[2]"
    return [
        f"{bars.gain(2)} < 0.0",
        f"{bars.body(2)} >= 0.7 * {unit}",
        f"0.35 * {bars.body(2)} >= {bars.body(1)}",
        f"0.1 * {bars.body(2)} >= {beyond}",
        f"{bars.gain()} > 0.0",
        f"({bars.rise('close', 0, 'close', 2)}) + ({bars.rise('close', 0, 'open', 2)}) > 0.0",
    ]


def _three(bars: _Bars, unit: str) -> list[str]:
    tests = [f"{bars.rise('close', bar, 'close', bar + 1)} > 0.0" for bar in (0, 1)]
    for bar in (0, 1, 2):
        tests += [f"{bars.gain(bar)} >= 0.5 * {unit}", f"0.35 * {bars.body(bar)} >= {bars.upper(bar)}"]
    for bar in (0, 1):
        tests += [f"{bars.rise('open', bar, 'open', bar + 1)} >= 0.0"]
        tests += [f"{bars.rise('close', bar + 1, 'open', bar)} >= 0.0"]
    return tests


def _write(
    request: Request, *, length: int, tests: Callable[[_Bars, str], list[str]], turned: bool = False
) -> PineIndicator:
    lines, unit = unit_lines(request)
    bars = _Bars(request, turned=turned)
    usual = _past(unit, length)
    found, value = request.name("Found"), request.name("Value")
    condition = " and ".join([f"{usual} > 0.0", *tests(bars, usual)])
    lines += [*bars.lines, f"bool {found} = {condition}", f"float {value} = {found} ? 1.0 : 0.0"]
    used = "\n".join(lines)
    kept = [line for line in lines if _is_read(line, used)]
    return PineIndicator(tuple(kept), {"value": value})


def _is_read(line: str, text: str) -> bool:
    """Return whether the variable a line declares is read, or the last one."""
    name = line.split(" = ")[0].split()[1]
    return name.endswith("Value") or text.count(name) > 1


def _breakout(request: Request, *, upwards: bool) -> PineIndicator:
    lines, unit = unit_lines(request)
    top, bottom = request.name("Top"), request.name("Bottom")
    beyond, value = request.name("Beyond"), request.name("Value")
    past = f"close - {top}[1]" if upwards else f"{bottom}[1] - close"
    narrow = f"{unit}[1] > 0.0 and {number(MAX_RANGE)} * {unit}[1] >= {top}[1] - {bottom}[1]"
    lines += [
        f"float {top} = ta.highest(high, {BREAKOUT_BARS})",
        f"float {bottom} = ta.lowest(low, {BREAKOUT_BARS})",
        f"float {beyond} = {narrow} and {past} > {number(BEYOND)} * {unit}[1] ? 1.0 : 0.0",
        f"float {value} = {beyond} > 0.0 and nz({beyond}[1]) == 0.0 ? 1.0 : 0.0",
    ]
    return PineIndicator(tuple(lines), {"value": value})


PATTERN_WRITERS: dict[str, Callable[[Request], PineIndicator]] = {
    "doji": partial(_write, length=1, tests=_doji),
    "hammer": partial(_write, length=1, tests=_hammer),
    "shooting_star": partial(_write, length=1, tests=_hammer, turned=True),
    "bullish_engulfing": partial(_write, length=2, tests=_engulfing),
    "bearish_engulfing": partial(_write, length=2, tests=_engulfing, turned=True),
    "inside_bar": partial(_write, length=2, tests=_inside_bar),
    "outside_bar": partial(_write, length=2, tests=_outside_bar),
    "morning_star": partial(_write, length=3, tests=_star),
    "evening_star": partial(_write, length=3, tests=_star, turned=True),
    "three_white_soldiers": partial(_write, length=3, tests=_three),
    "three_black_crows": partial(_write, length=3, tests=_three, turned=True),
    "breakout_up": partial(_breakout, upwards=True),
    "breakout_down": partial(_breakout, upwards=False),
}
"""Writers by kind."""
