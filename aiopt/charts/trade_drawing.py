"""Trades on the chart: zones of stop and target, levels, the path, entry and exit, and their legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from aiopt.bars.schema import BarArrays
from aiopt.charts.font import REGULAR
from aiopt.charts.layout import TITLE_ROW, ChartLayout
from aiopt.charts.raster import Box, Canvas
from aiopt.charts.theme import Colour
from aiopt.trades import FollowedTrade, TradeMark

LINE_WIDTH = 1.6
_MARKER = 10
_TRADE_LEGEND = (
    ("long", Colour.LONG),
    ("short", Colour.SHORT),
    ("exit", Colour.TEXT),
    ("stop", Colour.STOP),
    ("target", Colour.TARGET),
)


def trade_prices(trade: TradeMark) -> tuple[float | None, ...]:
    """Return entry, exit, stop and target of a trade, and where its stop moved."""
    moves = trade.stop_moves if isinstance(trade, FollowedTrade) else ()
    return (
        *(trade.entry_price, trade.exit_price, trade.stop_price, trade.target_price),
        *(move.price for move in moves),
    )


def bars_of(trade: TradeMark, bars: BarArrays, start: int, stop: int) -> tuple[int, int | None] | None:
    """Return the bars of entry and exit relative to `start`, None if the trade lies outside the window.

    The exit is None while the trade is open or where it lies behind all bars.
    """
    ts = bars.ts_open_ns
    if not ts[0] <= trade.entry_ts_ns < ts[stop - 1] + bars.timeframe.ns:
        return None
    entry = int(np.searchsorted(ts, trade.entry_ts_ns, side="right")) - 1
    if trade.exit_ts_ns is None or trade.exit_ts_ns >= ts[-1] + bars.timeframe.ns:
        return entry - start, None
    leave = int(np.searchsorted(ts, trade.exit_ts_ns, side="right")) - 1
    return None if leave < start else (entry - start, leave - start)


def legend_width() -> int:
    """Return the columns that the legend of the marks takes."""
    return sum(REGULAR.width(name) + 30 for name, _ in _TRADE_LEGEND)


class _Step(NamedTuple):
    """A level of a stop, with the first and the last column at which it lay there."""

    price: float
    left: int
    right: int


class TradeMarks:
    """The trades of one chart being drawn.

    Parameters
    ----------
    canvas : Canvas
        What is drawn on.
    layout : ChartLayout
        Where.
    bars : BarArrays
        All bars of the chart.
    window : tuple of int
        First bar drawn and the bar behind the last.
    trades : sequence of TradeMark
        Those outside the window are left out.
    """

    def __init__(
        self,
        canvas: Canvas,
        layout: ChartLayout,
        bars: BarArrays,
        window: tuple[int, int],
        trades: Sequence[TradeMark],
    ) -> None:
        self.canvas = canvas
        self.layout = layout
        self.bars = bars.slice(*window)
        self._stamps, self._start = bars.ts_open_ns, window[0]
        self.x = layout.bars.centres
        self.trades = [
            (trade, span) for trade in trades if (span := bars_of(trade, bars, *window)) is not None
        ]

    def __bool__(self) -> bool:
        return bool(self.trades)

    def draw_zones(self) -> None:
        """Fill the prices between entry and target, and between entry and stop while that means a loss."""
        box, scale = self.layout.panes.price, self.layout.price
        for trade, span in self.trades:
            entry, columns = scale.row(trade.entry_price), self._trade_columns(span)
            sign = 1 if trade.side == "long" else -1
            zones = [
                (step.price, step.left, step.right, Colour.LOSS)
                for step in self._stop_steps(trade, columns)
                if sign * step.price < sign * trade.entry_price
            ]
            if trade.target_price is not None:
                zones.insert(0, (trade.target_price, *columns, Colour.PROFIT))
            for price, left, right, colour in zones:
                rows = sorted((entry, scale.row(price)))
                self.canvas.fill(Box(max(rows[0], box.top), min(rows[1], box.bottom), left, right), colour)

    def draw_marks(self) -> None:
        """Draw levels and paths, and over them entries and exits."""
        for trade, span in self.trades:
            self._levels(trade, span)
            self._path(trade, span)
        for trade, span in self.trades:
            self._entry(trade, span[0])
            self._exit(trade, span[1])

    def _column(self, bar: int) -> float:
        """Return the column of a bar, also of one outside the window."""
        scale = self.layout.bars
        return scale.left + float((2 * bar + 1) * scale.width // (2 * scale.n_bars))

    def _trade_columns(self, span: tuple[int, int | None]) -> tuple[int, int]:
        box = self.layout.panes.price
        entry, leave = span
        right = box.right if leave is None else int(self._column(leave))
        return max(int(self._column(entry)), box.left), min(right, box.right)

    def _stop_steps(self, trade: TradeMark, columns: tuple[int, int]) -> list[_Step]:
        """Return where the stop lay, as far as the window shows it."""
        left, right = columns
        begins = [left]
        prices = [trade.stop_price]
        for move in trade.stop_moves if isinstance(trade, FollowedTrade) else ():
            bar = int(np.searchsorted(self._stamps, move.ts_ns, side="right")) - 1 - self._start
            # It lies there from the bar's opening on: half way between two centres.
            column = int((self._column(bar - 1) + self._column(bar)) / 2)
            if column >= right:
                break
            begins.append(max(column, left))
            prices.append(move.price)
        ends = [*begins[1:], right]
        steps = zip(prices, begins, ends, strict=True)
        return [
            _Step(price, begin, end)
            for price, begin, end in steps
            if price is not None and (end > begin or len(prices) == 1)
        ]

    def _levels(self, trade: TradeMark, span: tuple[int, int | None]) -> None:
        box, scale = self.layout.panes.price, self.layout.price
        columns = self._trade_columns(span)
        before: int | None = None
        for step in self._stop_steps(trade, columns):
            row = scale.row(step.price)
            self._level(row, step.left, step.right, Colour.STOP)
            if before is not None:
                top, bottom = max(min(before, row), box.top), min(max(before, row), box.bottom)
                if top <= bottom:
                    self.canvas.column_line(step.left, top, bottom, Colour.STOP)
            before = row
        if trade.target_price is not None:
            self._level(scale.row(trade.target_price), *columns, Colour.TARGET)

    def _level(self, row: int, left: int, right: int, colour: int) -> None:
        box = self.layout.panes.price
        if box.top <= row <= box.bottom:
            self.canvas.row_line(row, left, right, colour, dash=5, gap=3)

    def _path(self, trade: TradeMark, span: tuple[int, int | None]) -> None:
        entry, leave = span
        if leave is None or trade.exit_price is None:
            return
        x = np.array([self._column(entry), self._column(leave)])
        y = self.layout.price.y(np.array([trade.entry_price, trade.exit_price]))
        ink = Colour.LONG if trade.side == "long" else Colour.SHORT
        self.canvas.polyline(self.layout.panes.price, x, y, ink, width=LINE_WIDTH)

    def _entry(self, trade: TradeMark, bar: int) -> None:
        if not 0 <= bar < len(self.bars):
            return
        x = int(self.x[bar])
        box, scale = self.layout.panes.price, self.layout.price
        if trade.side == "long":
            tip = min(scale.row(float(self.bars.low[bar])) + 4, box.bottom - _MARKER)
            self._triangle(x, tip, 1, Colour.LONG)
        else:
            tip = max(scale.row(float(self.bars.high[bar])) - 4, box.top + _MARKER)
            self._triangle(x, tip, -1, Colour.SHORT)

    def _triangle(self, x: int, tip: int, direction: int, colour: int) -> None:
        """Draw a filled triangle with a thin rim of background, its tip at (tip, x)."""
        for grow, fill in ((2, Colour.BACKGROUND), (0, colour)):
            for step in range(-grow, _MARKER + grow // 2):
                half = max(step, 0) * 2 // 3 + grow
                self._span(tip + direction * step, x - half, x + half, fill)

    def _exit(self, trade: TradeMark, bar: int | None) -> None:
        if bar is None or trade.exit_price is None or not 0 <= bar < len(self.bars):
            return
        self._diamond(int(self.x[bar]), self.layout.price.row(trade.exit_price))

    def _diamond(self, x: int, row: int) -> None:
        for size, fill in ((6, Colour.BACKGROUND), (4, Colour.TEXT)):
            for step in range(-size, size + 1):
                self._span(row + step, x - size + abs(step), x + size - abs(step), fill)

    def _span(self, row: int, left: int, right: int, colour: int) -> None:
        box = self.layout.panes.price
        if box.top <= row <= box.bottom:
            self.canvas.pixels[row, max(left, box.left) : min(right, box.right) + 1] = colour

    def draw_legend(self, column: int) -> None:
        """Explain the marks in the title row, from a column on."""
        canvas, row = self.canvas, TITLE_ROW + 2
        middle = row + REGULAR.height // 2
        for number, (name, colour) in enumerate(_TRADE_LEGEND):
            if number < 2:
                for step in range(8):
                    half = (step if number == 0 else 7 - step) * 6 // 7
                    at = middle - 3 + step
                    canvas.pixels[at, column + 8 - half : column + 9 + half] = colour
            elif number == 2:
                for step in range(-4, 5):
                    half = 4 - abs(step)
                    canvas.pixels[middle + step, column + 8 - half : column + 9 + half] = colour
            else:
                canvas.row_line(middle, column, column + 15, colour, dash=5, gap=3)
            column = canvas.text(row, column + 19, name, REGULAR, Colour.MUTED) + 11
