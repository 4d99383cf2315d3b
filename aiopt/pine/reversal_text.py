"""Double tops, heads with shoulders and their mirror images as Pine text: `aiopt.patterns.reversals` in full.

The script keeps the zigzag itself, bar by bar, with the prices since the extreme that is to become a pivot in
arrays: a look into history of a length that the script computes would need a limit that nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aiopt.patterns.pivots import REVERSAL
from aiopt.patterns.reversals import HEAD, PIVOTS, REVERSALS, SHOULDERS_APART, TOPS_APART, TURNED
from aiopt.pine.indicator_text import PineIndicator, Request
from aiopt.pine.pattern_text import unit_lines
from aiopt.pine.text import number


class _Zigzag:
    """The zigzag as Pine variables, turned upside down or not."""

    def __init__(self, request: Request, *, turned: bool) -> None:
        name = request.name
        self.high, self.low, self.close = name("High"), name("Low"), name("Close")
        self.highs, self.lows, self.closes = name("Highs"), name("Lows"), name("Closes")
        self.bars, self.prices = name("PivotBars"), name("PivotPrices")
        self.first, self.start, self.end = name("First"), name("Start"), name("End")
        self.is_high, self.value = name("IsHigh"), name("Value")
        self._turn, self._top, self._bottom = name("Turn"), name("Top"), name("Bottom")
        self._far, self._other = name("Far"), name("Other")
        self._highest, self._lowest = name("Highest"), name("Lowest")
        self._threshold, self._fell, self._rose = name("Threshold"), name("Fell"), name("Rose")
        self._beyond, self._is_low = name("Beyond"), name("IsLow")
        self._series = (self.highs, self.lows, self.closes)
        self._now = (self.high, self.low, self.close)
        prices = ("-low", "-high", "-close") if turned else ("high", "low", "close")
        units, self._unit = unit_lines(request)
        self._given = [
            *units,
            *(f"float {one} = {price}" for one, price in zip(self._now, prices, strict=True)),
            *(f"var {one} = array.new_float()" for one in self._series),
            f"var {self.bars} = array.new_int()",
            f"var {self.prices} = array.new_float()",
            *(f"var int {one} = 0" for one in (self._turn, self._top, self._bottom, self.first)),
            f"float {self.value} = 0.0",
        ]

    def lines(self) -> list[str]:
        """Return lines that follow the swings up to the turn of a bar, which `confirm` takes."""
        push = [f"array.push({one}, {now})" for one, now in zip(self._series, self._now, strict=True)]
        turn, fell, rose = self._turn, self._fell, self._rose
        moves = f"{self._threshold} > 0.0"
        rising, falling = f"{self.high} > {self._highest}", f"{self.low} < {self._lowest}"
        return [
            *self._given,
            *push,
            f"float {self._threshold} = {number(REVERSAL)} * {self._unit}",
            f"float {self._highest} = array.get({self.highs}, {self._top} - {self.first})",
            f"float {self._lowest} = array.get({self.lows}, {self._bottom} - {self.first})",
            f"bool {fell} = {moves} and {self._highest} - {self.low} >= {self._threshold}",
            f"bool {rose} = {moves} and {self.high} - {self._lowest} >= {self._threshold}",
            f"{turn} := {turn} == 0 and {fell} != {rose} ? {fell} ? 1 : -1 : {turn}",
            f"bool {self._beyond} = {turn} > 0 and {rising} or {turn} < 0 and {falling}",
            f"bool {self.is_high} = {turn} > 0 and {fell} and not {self._beyond}",
            f"bool {self._is_low} = {turn} < 0 and {rose} and not {self._beyond}",
            f"if {turn} == 0",
            f"    {self._top} := {rising} ? bar_index : {self._top}",
            f"    {self._bottom} := {falling} ? bar_index : {self._bottom}",
            f"if {self._beyond}",
            *(f"    array.clear({one})" for one in self._series),
            *(f"    {line}" for line in push),
            *(f"    {one} := bar_index" for one in (self.first, self._top, self._bottom)),
            f"int {self.start} = {self.is_high} ? {self._top} : {self._bottom}",
            f"int {self.end} = bar_index + 1",
            f"if {self.is_high} or {self._is_low}",
            f"    array.push({self.bars}, {self.start})",
            f"    array.push({self.prices}, {self.is_high} ? {self._highest} : {self._lowest})",
            f"    if array.size({self.bars}) > {max(PIVOTS.values())}",
            f"        array.shift({self.bars})",
            f"        array.shift({self.prices})",
            f"    int {self._far} = {self.start} + 1",
            f"    int {self._other} = {self.start} + 2",
            f"    while {self._other} < {self.end}",
            f"        if {self._is_farther()}",
            f"            {self._far} := {self._other}",
            f"        {self._other} := {self._other} + 1",
            f"    {turn} := {self.is_high} ? -1 : 1",
            f"    {self._top} := {self._far}",
            f"    {self._bottom} := {self._far}",
        ]

    def _is_farther(self) -> str:
        far, other = (f"{bar} - {self.first}" for bar in (self._far, self._other))
        lower = f"array.get({self.lows}, {other}) < array.get({self.lows}, {far})"
        higher = f"array.get({self.highs}, {other}) > array.get({self.highs}, {far})"
        return f"{self.is_high} ? {lower} : {higher}"

    def pivot(self, back: int) -> tuple[str, str]:
        """Return price and bar of a pivot, the newest with ``back = 1``."""
        place = f"array.size({self.bars}) - {back}"
        return f"array.get({self.prices}, {place})", f"array.get({self.bars}, {place})"


class _Necklines:
    """The lines that wait for their break: one array for each part of them."""

    PARTS = ("Rise", "Run", "Level", "At", "Ceiling", "LastBar")

    def __init__(self, request: Request, zigzag: _Zigzag) -> None:
        self._request, self._zigzag = request, zigzag
        self._arrays = {part: request.name(f"Line{part}s") for part in self.PARTS}
        self._parts = {part: request.name(part) for part in self.PARTS}

    def _broken(self, bar: str, close: str) -> str:
        part = self._parts
        return f"{part['Rise']} * ({bar} - {part['At']}) > ({close} - {part['Level']}) * {part['Run']}"

    def _types(self) -> list[tuple[str, str]]:
        return [(part, "int" if part in ("Run", "At", "LastBar") else "float") for part in self.PARTS]

    def open_lines(self) -> list[str]:
        """Return lines that look whether the bar breaks a line, or ends its wait."""
        zigzag, last, place = self._zigzag, self._arrays["LastBar"], self._request.name("Place")
        count = self._request.name("Count")
        part = self._parts
        return [
            *(f"var {self._arrays[name]} = array.new_{kind}()" for name, kind in self._types()),
            f"int {count} = array.size({last})",
            f"int {place} = 0",
            f"while {place} < {count}",
            *(
                f"    {kind} {part[name]} = array.get({self._arrays[name]}, {place})"
                for name, kind in self._types()
            ),
            f"    if bar_index <= {part['LastBar']}",
            f"        if {zigzag.close} > {part['Ceiling']}",
            f"            array.set({last}, {place}, -1)",
            f"        else if {self._broken('bar_index', zigzag.close)}",
            f"            array.set({last}, {place}, -1)",
            f"            {zigzag.value} := 1.0",
            f"    {place} := {place} + 1",
            # One a bar is enough: a bar adds one at most.
            f"if {count} > 0",
            f"    if array.get({last}, 0) < bar_index",
            *(f"        array.shift({array})" for array in self._arrays.values()),
        ]

    def new_line(self, kind: str) -> list[str]:
        """Return lines that take a neckline of the newest pivots, or find it broken already."""
        zigzag, part = self._zigzag, self._parts
        declared, test = (_head if kind == HEAD else _double_top)(zigzag, self._request, part)
        bar, close, waits = (self._request.name(name) for name in ("Bar", "Past", "Waits"))
        return [
            f"if {zigzag.is_high} and array.size({zigzag.bars}) >= {PIVOTS[kind]}",
            *(f"    {line}" for line in declared),
            f"    if {test}",
            f"        bool {waits} = true",
            f"        int {bar} = {zigzag.start} + 1",
            f"        while {bar} < {zigzag.end}",
            f"            float {close} = array.get({zigzag.closes}, {bar} - {zigzag.first})",
            f"            if {bar} > {part['LastBar']} or {close} > {part['Ceiling']}",
            f"                {waits} := false",
            f"            if {waits} and {self._broken(bar, close)}",
            f"                {waits} := false",
            f"                {zigzag.value} := 1.0",
            f"            {bar} := {bar} + 1",
            f"        if {waits}",
            *(f"            array.push({self._arrays[name]}, {part[name]})" for name in self.PARTS),
        ]


def _double_top(zigzag: _Zigzag, request: Request, part: dict[str, str]) -> tuple[list[str], str]:
    """Return lines for the parts of a double top's line, and the test of its pivots."""
    tops = (zigzag.pivot(3), zigzag.pivot(1))
    one, other, height = request.name("TopBefore"), request.name("TopNow"), request.name("Height")
    lines = [
        f"float {one} = {tops[0][0]}",
        f"float {other} = {tops[1][0]}",
        f"float {part['Rise']} = 0.0",
        f"int {part['Run']} = 1",
        f"float {part['Level']} = {zigzag.pivot(2)[0]}",
        f"int {part['At']} = {zigzag.pivot(2)[1]}",
        f"float {part['Ceiling']} = math.max({one}, {other})",
        f"int {part['LastBar']} = 2 * {tops[1][1]} - {tops[0][1]}",
        f"float {height} = math.min({one}, {other}) - {part['Level']}",
    ]
    alike = f"math.abs({one} - {other}) <= {number(TOPS_APART)} * {height}"
    return lines, f"{alike} and {one} - {zigzag.pivot(4)[0]} >= {height}"


def _head(zigzag: _Zigzag, request: Request, part: dict[str, str]) -> tuple[list[str], str]:
    """Return lines for the parts of the line below a head and shoulders, and the test of its pivots."""
    (left, left_bar), (low_1, bar_1), (head, _), (low_2, bar_2), (right, right_bar) = (
        zigzag.pivot(back) for back in (5, 4, 3, 2, 1)
    )
    one, other, height = request.name("ShoulderBefore"), request.name("ShoulderNow"), request.name("Height")
    low = request.name("LowBefore")
    lines = [
        f"float {one} = {left}",
        f"float {other} = {right}",
        f"float {low} = {low_1}",
        f"float {part['Level']} = {low_2}",
        f"float {part['Rise']} = {part['Level']} - {low}",
        f"int {part['Run']} = {bar_2} - {bar_1}",
        f"int {part['At']} = {bar_2}",
        f"float {part['Ceiling']} = {head}",
        f"int {part['LastBar']} = 2 * {right_bar} - {left_bar}",
        f"float {height} = {part['Ceiling']} - ({low} + {part['Level']}) / 2.0",
    ]
    tests = (
        f"{part['Ceiling']} - math.max({one}, {other}) >= {number(TOPS_APART)} * {height}",
        f"math.abs({one} - {other}) <= {number(SHOULDERS_APART)} * {height}",
        f"math.abs({part['Rise']}) <= {number(SHOULDERS_APART)} * {height}",
    )
    return lines, " and ".join(tests)


def _write(request: Request, *, kind: str, turned: bool) -> PineIndicator:
    zigzag = _Zigzag(request, turned=turned)
    necklines = _Necklines(request, zigzag)
    lines = [*zigzag.lines(), *necklines.open_lines(), *necklines.new_line(kind)]
    return PineIndicator(tuple(lines), {"value": zigzag.value})


REVERSAL_WRITERS: dict[str, Callable[[Request], PineIndicator]] = {
    kind: partial(_write, kind=TURNED.get(kind, kind), turned=kind in TURNED) for kind in REVERSALS
}
"""Writers by kind."""
