"""Draw one chart: axes, candles, overlays, panes and texts, from back to front.

Owns pixels' places and order; what a chart is made of is `render`'s, trades are `trade_drawing`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aiopt.charts.axes import ValueScale, compact_label, stamp, time_ticks, value_ticks
from aiopt.charts.font import BOLD, REGULAR
from aiopt.charts.indicator_lines import Line, PaneStyle, pane_style
from aiopt.charts.layout import AXIS_WIDTH, LEGEND_ROW, PANE_HEADER, TITLE_ROW, ChartLayout
from aiopt.charts.raster import Box, Canvas
from aiopt.charts.theme import Colour
from aiopt.charts.trade_drawing import LINE_WIDTH, TradeMarks, legend_width
from aiopt.trades import TradeMark
from aiopt.utc import HOUR_NS

if TYPE_CHECKING:
    from aiopt.charts.render import PreparedChart

_BREAK_MIN_NS = HOUR_NS
_BREAK_MIN_BARS = 12
_PRICE_TICK_ROWS = 46
_PANE_TICK_ROWS = 26
_TIME_TICK_COLUMNS = 96


class Drawing:
    """One chart being drawn."""

    def __init__(
        self, chart: PreparedChart, layout: ChartLayout, start: int, stop: int, trades: Sequence[TradeMark]
    ) -> None:
        self.chart = chart
        self.spec = chart.spec
        self.layout = layout
        self.bars = chart.bars.slice(start, stop)
        self.window = slice(start, stop)
        self.canvas = Canvas(chart.spec.width, chart.spec.height)
        self.x = layout.bars.centres
        self.trades = TradeMarks(self.canvas, layout, chart.bars, (start, stop), trades)

    def draw(self) -> NDArray[np.uint8]:
        """Draw everything from back to front."""
        self._time_axis()
        self._price_grid()
        self._breaks()
        self.trades.draw_zones()
        self._candles()
        self._overlays()
        self.trades.draw_marks()
        self._volume_pane()
        self._indicator_panes()
        self._last_price()
        self._frames()
        self._header()
        return self.canvas.pixels

    def _time_axis(self) -> None:
        panes = self.layout.panes.every()
        row = panes[-1].bottom + 9
        for tick in time_ticks(self.bars.ts_open_ns, self.layout.bars, min_distance=_TIME_TICK_COLUMNS):
            x = int(self.x[tick.bar])
            for box in panes:
                self.canvas.column_line(x, box.top, box.bottom, Colour.GRID)
            self.canvas.column_line(x, panes[-1].bottom + 1, panes[-1].bottom + 5, Colour.BORDER)
            left = x - REGULAR.width(tick.label) // 2
            self.canvas.text(row, left, tick.label, REGULAR, Colour.TEXT if tick.strong else Colour.MUTED)
        self.canvas.text(row, self.layout.panes.price.right + 10, "UTC", REGULAR, Colour.MUTED)

    def _price_grid(self) -> None:
        box, scale = self.layout.panes.price, self.layout.price
        tag = scale.row(float(self.bars.close[-1]))
        for tick in value_ticks(scale, min_distance=_PRICE_TICK_ROWS, decimals=self.chart.decimals):
            row = scale.row(tick.value)
            self.canvas.row_line(row, box.left, box.right, Colour.GRID)
            if abs(row - tag) > REGULAR.height + 3:
                self._value_label(box, row, tick.label)

    def _value_label(self, box: Box, row: int, label: str) -> None:
        self.canvas.row_line(row, box.right + 1, box.right + 5, Colour.BORDER)
        self.canvas.text(row - REGULAR.height // 2, box.right + 10, label, REGULAR, Colour.MUTED)

    def _breaks(self) -> None:
        """Mark where time jumps: weekends, holidays, missing data."""
        least = max(_BREAK_MIN_BARS * self.bars.timeframe.ns, _BREAK_MIN_NS)
        for at in np.flatnonzero(np.diff(self.bars.ts_open_ns) > least).tolist():
            column = int(self.x[at] + self.x[at + 1]) // 2
            for box in self.layout.panes.every():
                self.canvas.column_line(column, box.top, box.bottom, Colour.BREAK, dash=3, gap=4)

    def _candles(self) -> None:
        bars, box, scale = self.bars, self.layout.panes.price, self.layout.price
        up, down = bars.close > bars.open, bars.close < bars.open
        body = np.where(up, Colour.UP, np.where(down, Colour.DOWN, Colour.FLAT))
        # One column per bar leaves no shape to tell body from wick: the wick is then paler.
        thin = np.where(up, Colour.WICK_UP, np.where(down, Colour.WICK_DOWN, Colour.FLAT))
        x = self.x.tolist()
        rows = scale.rows(bars.high).tolist(), scale.rows(bars.low).tolist()
        wick = body if any(self.layout.bars.body) else thin
        self.canvas.columns(box, (x, x), rows, wick.tolist())
        upper, lower = np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close)
        rows = scale.rows(upper).tolist(), scale.rows(lower).tolist()
        self.canvas.columns(box, self._body_columns(), rows, body.tolist())

    def _body_columns(self) -> tuple[list[int], list[int]]:
        left, right = self.layout.bars.body
        return (self.x - left).tolist(), (self.x + right).tolist()

    def _overlays(self) -> None:
        for _, lines in self.chart.overlays:
            for line in lines:
                self._line(self.layout.panes.price, self.layout.price, line)

    def _line(self, box: Box, scale: ValueScale, line: Line) -> None:
        y = scale.y(line.values[self.window])
        self.canvas.polyline(box, self.x.astype(np.float64), y, line.ink, width=LINE_WIDTH)

    def _last_price(self) -> None:
        box, bars = self.layout.panes.price, self.bars
        close, opened = float(bars.close[-1]), float(bars.open[-1])
        colour = Colour.UP if close > opened else Colour.DOWN if close < opened else Colour.FLAT
        row = self.layout.price.row(close)
        if not box.top <= row <= box.bottom:
            return
        last = int(self.x[-1]) + self.layout.bars.body[1] + 2
        if last < box.right:
            self.canvas.row_line(row, last, box.right, colour, dash=2, gap=2)
        top = row - REGULAR.height // 2 - 2
        self.canvas.fill(Box(top, top + REGULAR.height + 3, box.right + 1, self.spec.width - 5), colour)
        label = f"{close:.{self.chart.decimals}f}"
        self.canvas.text(top + 2, box.right + 10, label, REGULAR, Colour.TAG_TEXT)

    def _volume_pane(self) -> None:
        box, scale = self.layout.panes.volume, self.layout.volume
        if box is None or scale is None:
            return
        self._pane_labels(box, scale, compact=True)
        traded = self.bars.volume > 0
        top = np.minimum(scale.rows(self.bars.volume), box.bottom)
        top = np.where(traded, top, box.bottom + 1)
        colours = np.where(self.bars.close >= self.bars.open, Colour.VOLUME_UP, Colour.VOLUME_DOWN)
        bottom = [box.bottom] * len(self.bars)
        self.canvas.columns(box, self._body_columns(), (top.tolist(), bottom), colours.tolist())
        value = compact_label(float(self.bars.volume[-1]))
        self._pane_header(box, [("Volume", Colour.TEXT), (value, Colour.MUTED)])

    def _indicator_panes(self) -> None:
        parts = zip(
            self.spec.panes,
            self.chart.pane_lines,
            self.layout.panes.indicators,
            self.layout.indicators,
            strict=True,
        )
        for plot, lines, box, scale in parts:
            style = pane_style(plot)
            self._pane_labels(box, scale, labels=style.labels)
            for level in style.levels:
                self.canvas.row_line(scale.row(level), box.left, box.right, Colour.LEVEL, dash=4, gap=4)
            texts: list[tuple[str, int]] = [(plot.title(), Colour.TEXT)]
            for line in lines:
                is_columns = line.name == style.histogram
                if is_columns:
                    self._histogram(box, scale, line)
                shown = "" if line.name == "value" else f"{line.name} "
                texts.append(
                    (shown + self._value_text(line, style), Colour.MUTED if is_columns else line.ink)
                )
            for line in lines:
                if line.name != style.histogram:
                    self._line(box, scale, line)
            self._pane_header(box, texts)

    def _histogram(self, box: Box, scale: ValueScale, line: Line) -> None:
        values = line.values[self.window]
        values, zero = np.where(np.isfinite(values), values, 0.0), scale.row(0.0)
        rows = scale.rows(values)
        colours = np.where(values >= 0, Colour.VOLUME_UP, Colour.VOLUME_DOWN).tolist()
        top, bottom = np.minimum(rows, zero).tolist(), np.maximum(rows, zero).tolist()
        self.canvas.columns(box, self._body_columns(), (top, bottom), colours)

    def _pane_labels(
        self, box: Box, scale: ValueScale, *, labels: tuple[float, ...] = (), compact: bool = False
    ) -> None:
        if labels:
            ticks = [(value, f"{value:g}") for value in labels]
        else:
            found = value_ticks(scale, min_distance=_PANE_TICK_ROWS, decimals=None, compact=compact)
            ticks = [(tick.value, tick.label) for tick in found]
        free_below = box.bottom + 4
        for value, label in ticks:
            row = scale.row(value)
            self.canvas.row_line(row, box.left, box.right, Colour.GRID)
            if box.top + 4 <= row <= min(box.bottom - 4, free_below):
                self._value_label(box, row, label)
                free_below = row - REGULAR.height - 2

    def _pane_header(self, box: Box, texts: list[tuple[str, int]]) -> None:
        column = box.left + 6
        for text, ink in texts:
            column = self.canvas.text(box.top - PANE_HEADER + 4, column, text, REGULAR, ink) + 12

    def _value_text(self, line: Line, style: PaneStyle) -> str:
        value = float(line.values[self.window][-1])
        if not np.isfinite(value):
            return "–"
        return f"{value:.{self.chart.decimals + 1 if style.in_price else 2}f}"

    def _frames(self) -> None:
        for box in self.layout.panes.every():
            self.canvas.column_line(box.left - 1, box.top - 1, box.bottom, Colour.BORDER)
            self.canvas.column_line(box.right + 1, box.top - 1, box.bottom, Colour.BORDER)
            self.canvas.row_line(box.bottom + 1, box.left - 1, box.right + 1, Colour.BORDER)
            self.canvas.row_line(box.top - 1, box.left - 1, box.right + 1, Colour.BORDER)

    def _header(self) -> None:
        bars, canvas = self.bars, self.canvas
        column = self.layout.panes.price.left
        title = self.spec.title
        if title is None:
            title = f"{bars.instrument}  {bars.timeframe.label}  {bars.price}"
        column = canvas.text(TITLE_ROW, column, title, BOLD, Colour.TEXT) + 16
        if bars.synthetic:
            width = REGULAR.width("SYNTHETIC") + 12
            canvas.fill(
                Box(TITLE_ROW, TITLE_ROW + 17, column, min(column + width, self.spec.width - 1)), Colour.BADGE
            )
            canvas.text(TITLE_ROW + 2, column + 6, "SYNTHETIC", REGULAR, Colour.TAG_TEXT)
            column += width + 16
        first, last = stamp(int(bars.ts_open_ns[0])), stamp(int(bars.ts_open_ns[-1]))
        count = f"{len(bars)} bars" if len(bars) > 1 else "1 bar"
        for text in (f"{first} – {last} UTC · {count}", f"{first} UTC · {count}", count):
            if column + REGULAR.width(text) <= self._title_end():
                canvas.text(TITLE_ROW + 2, column, text, REGULAR, Colour.MUTED)
                break
        if self.trades and self._trade_legend_start() > column:
            self.trades.draw_legend(self._trade_legend_start())
        self._legend()

    def _title_end(self) -> int:
        """Return the column the title row must stay left of."""
        return self._trade_legend_start() - 12 if self.trades else self.spec.width - 4

    def _trade_legend_start(self) -> int:
        return max(self.spec.width - AXIS_WIDTH - legend_width(), 0)

    def _legend(self) -> None:
        """Write the last bar and each overlay's last value."""
        bars, canvas = self.bars, self.canvas
        column = self.layout.panes.price.left
        for letter, values in (("O", bars.open), ("H", bars.high), ("L", bars.low), ("C", bars.close)):
            column = canvas.text(LEGEND_ROW, column, f"{letter} ", REGULAR, Colour.MUTED)
            text = f"{float(values[-1]):.{self.chart.decimals}f}"
            column = canvas.text(LEGEND_ROW, column, text, REGULAR, Colour.TEXT) + 8
        for title, lines in self.chart.overlays:
            numbers = " ".join(self._overlay_text(line) for line in lines)
            column = canvas.text(LEGEND_ROW, column + 12, f"{title}  {numbers}", REGULAR, lines[0].ink)

    def _overlay_text(self, line: Line) -> str:
        value = float(line.values[self.window][-1])
        return f"{value:.{self.chart.decimals}f}" if np.isfinite(value) else "–"
