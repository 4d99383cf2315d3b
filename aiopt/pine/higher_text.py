"""Values of a higher timeframe as Pine text, from the chart's own bars and never from `request.security`.

The script gathers the bars into higher ones and takes one over when the first bar behind it opens, so that
it cannot repaint and does not depend on how a chart cuts its days.  Averages are kept in ticks: engines may
round each variable to ten decimals, which is nothing of a tick.
"""

from __future__ import annotations

from collections.abc import Callable

from aiopt.pine.indicator_text import PineIndicator, Request
from aiopt.pine.time_text import NEW_YORK, ROLLED, day_number

_TICK = "syminfo.mintick"


class _Piece:
    """The higher bar under way as Pine variables.

    While `over` holds, on the first bar behind a higher bar, the variables are still those of that bar:
    what is computed over higher bars comes between `lines` and `rest`.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        minute, key, fresh = request.name("MinuteOfDay"), request.name("Piece"), request.name("Begins")
        self.over = request.name("Over")
        self.open, self.high, self.low, self.close = (
            request.name(f"{part}Now") for part in ("Open", "High", "Low", "Close")
        )
        now = (self.open, self.high, self.low, self.close)
        length = request.args["timeframe"]
        self.lines = [
            f"int {minute} = hour({ROLLED}, {NEW_YORK}) * 60 + minute({ROLLED}, {NEW_YORK})",
            f"float {key} = {day_number(ROLLED, NEW_YORK)} * 1440.0 + {minute} - {minute} % {length}",
            *(f"var float {variable} = na" for variable in now),
            f"bool {fresh} = na({self.open}) or {key} != {key}[1]",
            f"bool {self.over} = {fresh} and not na({self.open})",
        ]
        self.rest = [
            f"{self.open} := {fresh} ? open : {self.open}",
            f"{self.high} := {fresh} ? high : math.max({self.high}, high)",
            f"{self.low} := {fresh} ? low : math.min({self.low}, low)",
            f"{self.close} := close",
        ]

    def kept(self, suffix: str, value: str) -> tuple[list[str], str]:
        """Return lines for a value taken whenever a higher bar is over, and its variable."""
        name = self._request.name(suffix)
        return [f"var float {name} = na", f"{name} := {self.over} ? {value} : {name}"], name

    def window(self, suffix: str, value: str, length: str) -> tuple[list[str], str]:
        """Return lines for the last values, one a higher bar, and the array."""
        name = self._request.name(suffix)
        lines = [
            f"var {name} = array.new_float()",
            f"if {self.over}",
            f"    array.push({name}, {value})",
            f"    if array.size({name}) > {length}",
            f"        array.shift({name})",
        ]
        return lines, name

    def average(self, suffix: str, value: str, length: str, weight: str) -> tuple[list[str], str]:
        """Return lines for ``weight * value + (1 - weight) * before``, begun by a mean; na is passed over."""
        count, total, mean = (self._request.name(f"{suffix}{part}") for part in ("Count", "Sum", "Ticks"))
        step = self._request.name(f"{suffix}Counts")
        blend = f"{weight} * {value} + (1.0 - {weight}) * {mean}"
        lines = [
            f"bool {step} = {self.over} and not na({value})",
            f"var int {count} = 0",
            f"var float {total} = 0.0",
            f"var float {mean} = na",
            f"{count} := {step} ? {count} + 1 : {count}",
            f"{total} := {step} and {count} <= {length} ? {total} + {value} : {total}",
            f"{mean} := not {step} or {count} < {length} ? {mean} : {count} == {length} ? "
            f"{total} / {length} : {blend}",
        ]
        return lines, mean


def _bar(request: Request) -> PineIndicator:
    piece = _Piece(request)
    lines, outputs = list(piece.lines), {}
    for part in ("open", "high", "low", "close"):
        more, outputs[part] = piece.kept(part.capitalize(), getattr(piece, part))
        lines += more
    return PineIndicator((*lines, *piece.rest), outputs)


def _sma(request: Request) -> PineIndicator:
    piece, length, value = _Piece(request), request.args["length"], request.name("Value")
    lines, window = piece.window("Closes", piece.close, length)
    mean = f"float {value} = array.size({window}) < {length} ? na : array.avg({window})"
    return PineIndicator((*piece.lines, *lines, mean, *piece.rest), {"value": value})


def _ema(request: Request) -> PineIndicator:
    piece, length, value = _Piece(request), request.args["length"], request.name("Value")
    ticks = request.name("CloseTicks")
    lines, mean = piece.average("Average", ticks, length, f"(2.0 / ({length} + 1.0))")
    lines = [f"float {ticks} = {piece.close} / {_TICK}", *lines, f"float {value} = {mean} * {_TICK}"]
    return PineIndicator((*piece.lines, *lines, *piece.rest), {"value": value})


def _rsi(request: Request) -> PineIndicator:
    piece, length, value = _Piece(request), request.args["length"], request.name("Value")
    before_lines, before = piece.kept("Before", piece.close)
    change, up, down = request.name("Change"), request.name("Up"), request.name("Down")
    weight, strength = f"(1.0 / {length})", request.name("Strength")
    up_lines, ups = piece.average("Ups", up, length, weight)
    down_lines, downs = piece.average("Downs", down, length, weight)
    lines = [
        before_lines[0],
        f"float {change} = ({piece.close} - {before}) / {_TICK}",
        f"float {up} = na({change}) ? na : math.max({change}, 0.0)",
        f"float {down} = na({change}) ? na : math.max(-{change}, 0.0)",
        *up_lines,
        *down_lines,
        f"float {strength} = 100.0 - 100.0 / (1.0 + {ups} / {downs})",
        f"float {value} = na({downs}) ? na : {downs} == 0.0 ? 100.0 : {strength}",
        *before_lines[1:],
    ]
    return PineIndicator((*piece.lines, *lines, *piece.rest), {"value": value})


def _atr(request: Request) -> PineIndicator:
    piece, length, value = _Piece(request), request.args["length"], request.name("Value")
    before_lines, before = piece.kept("Before", piece.close)
    span = request.name("RangeTicks")
    weight = f"(1.0 / {length})"
    lines, mean = piece.average("Average", span, length, weight)
    top = f"math.max({piece.high}, nz({before}, {piece.high}))"
    bottom = f"math.min({piece.low}, nz({before}, {piece.low}))"
    lines = [
        before_lines[0],
        f"float {span} = ({top} - {bottom}) / {_TICK}",
        *lines,
        f"float {value} = {mean} * {_TICK}",
        *before_lines[1:],
    ]
    return PineIndicator((*piece.lines, *lines, *piece.rest), {"value": value})


def _donchian(request: Request) -> PineIndicator:
    piece, length = _Piece(request), request.args["length"]
    names = {output: request.name(output.capitalize()) for output in ("middle", "upper", "lower")}
    top_lines, tops = piece.window("Highs", piece.high, length)
    bottom_lines, bottoms = piece.window("Lows", piece.low, length)
    lines = [
        *top_lines,
        *bottom_lines,
        f"float {names['upper']} = array.size({tops}) < {length} ? na : array.max({tops})",
        f"float {names['lower']} = array.size({bottoms}) < {length} ? na : array.min({bottoms})",
        f"float {names['middle']} = ({names['upper']} + {names['lower']}) / 2.0",
    ]
    return PineIndicator((*piece.lines, *lines, *piece.rest), names)


HIGHER_WRITERS: dict[str, Callable[[Request], PineIndicator]] = {
    "higher_bar": _bar,
    "higher_sma": _sma,
    "higher_ema": _ema,
    "higher_rsi": _rsi,
    "higher_atr": _atr,
    "higher_donchian": _donchian,
}
"""Writers by kind."""
