"""Draw charts: bars, overlays, indicator panes, volume and trades to PNG.

Owns what is drawn where and in which order; pixels are `raster`'s, places `layout`'s and `axes`', colours
`theme`'s.  Knows nothing of strategies, backtests or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays
from aiopt.charts.axes import ValueScale, compact_label, stamp, time_ticks, value_ticks
from aiopt.charts.font import BOLD, REGULAR
from aiopt.charts.layout import (
    AXIS_WIDTH,
    LEGEND_ROW,
    PANE_HEADER,
    TITLE_ROW,
    ChartLayout,
    bar_scale,
    divide,
)
from aiopt.charts.png import encode_png
from aiopt.charts.raster import Box, Canvas
from aiopt.charts.spec import MAX_OVERLAYS, ChartSpec, IndicatorPlot
from aiopt.charts.theme import LINE_INKS, Colour, theme
from aiopt.errors import ConfigError, DataError
from aiopt.market.instrument import find_instrument
from aiopt.trades import TradeMark
from aiopt.utc import HOUR_NS

FloatArray = NDArray[np.float64]

_PADDING = 0.05
_OVERLAY_REACH = 0.5
_TRADE_REACH = 1.0
_LINE_WIDTH = 1.6
_BREAK_MIN_NS = HOUR_NS
_BREAK_MIN_BARS = 12
_PRICE_TICK_ROWS = 46
_PANE_TICK_ROWS = 26
_TIME_TICK_COLUMNS = 96
_MARKER = 10


@dataclass(frozen=True)
class _PaneStyle:
    """How a kind's pane looks: fixed ends, dashed levels, labelled values, output drawn as columns."""

    low: float | None = None
    high: float | None = None
    levels: tuple[float, ...] = ()
    labels: tuple[float, ...] = ()
    histogram: str | None = None
    in_price: bool = False


_PANE_STYLES = {
    "rsi": _PaneStyle(low=0.0, high=100.0, levels=(30.0, 70.0), labels=(30.0, 50.0, 70.0)),
    "stochastic": _PaneStyle(low=0.0, high=100.0, levels=(20.0, 80.0), labels=(20.0, 50.0, 80.0)),
    "dmi": _PaneStyle(low=0.0, levels=(25.0,)),
    "macd": _PaneStyle(levels=(0.0,), histogram="histogram", in_price=True),
    "atr": _PaneStyle(in_price=True),
}
_PRICE_STYLE = _PaneStyle(in_price=True)

_TRADE_LEGEND = (
    ("long", Colour.LONG),
    ("short", Colour.SHORT),
    ("exit", Colour.TEXT),
    ("stop", Colour.STOP),
    ("target", Colour.TARGET),
)


@dataclass(frozen=True, eq=False)
class _Line:
    """One line of an indicator over all bars."""

    name: str
    title: str
    values: FloatArray
    ink: int


class PreparedChart:
    """Bars with their indicators computed once, from which any window can be drawn.

    Indicators run over all bars, so a window in the middle has no warm-up of its own.

    Parameters
    ----------
    bars : BarArrays
        All bars.
    spec : ChartSpec
        Size, theme, overlays, panes.
    overlays : mapping of str to ndarray of shape (n_bars,), optional
        Further lines over the prices, by name; NaN only before the first value.

    Raises
    ------
    DataError
        If `bars` is empty or breaks a rule of bars, or an overlay's length or values are wrong.
    ConfigError
        If there are more than `MAX_OVERLAYS` overlays, or the chart is too low for its panes.
    """

    def __init__(
        self, bars: BarArrays, spec: ChartSpec, *, overlays: Mapping[str, FloatArray] | None = None
    ) -> None:
        _check_bars(bars)
        given = dict(overlays or {})
        if len(spec.overlays) + len(given) > MAX_OVERLAYS:
            count = len(spec.overlays) + len(given)
            msg = f"A chart must have at most {MAX_OVERLAYS} overlays, but got {count}. Draw several charts."
            raise ConfigError(msg)
        self.bars = bars
        self.spec = spec
        self.decimals = _decimals(bars)
        self._has_volume = spec.volume and bool((bars.volume > 0).any())
        self._panes = divide(spec, has_volume=self._has_volume)
        self._overlays: list[tuple[str, list[_Line]]] = []
        for ink, plot in zip(LINE_INKS, spec.overlays, strict=False):
            lines = [
                _Line(name, _line_title(plot, name), values, ink)
                for name, values in plot.compute(bars).items()
            ]
            self._overlays.append((plot.title(), lines))
        for ink, (name, values) in zip(LINE_INKS[len(spec.overlays) :], given.items(), strict=False):
            self._overlays.append((name, [_Line(name, name, _check_overlay(name, values, len(bars)), ink)]))
        self._pane_lines = [_pane_lines(plot, bars) for plot in spec.panes]

    def layout(
        self, start: int = 0, stop: int | None = None, *, trades: Sequence[TradeMark] = ()
    ) -> ChartLayout:
        """Return where things lie when bars `start` to `stop` (excluded) are drawn with `trades`.

        Raises
        ------
        ConfigError
            If the window is not within the bars or has more bars than columns.
        DataError
            If an indicator has no value in the window.
        """
        stop = len(self.bars) if stop is None else stop
        if not 0 <= start < stop <= len(self.bars):
            msg = (
                f"`0 <= start < stop <= {len(self.bars)}` must hold for a window of these bars, "
                f"but got start={start}, stop={stop}. Choose a window within them."
            )
            raise ConfigError(msg)
        self._check_values(start, stop)
        panes = self._panes
        return ChartLayout(
            panes=panes,
            bars=bar_scale(panes, stop - start),
            price=self._price_scale(start, stop, trades),
            volume=None if panes.volume is None else self._volume_scale(panes.volume, start, stop),
            indicators=tuple(
                _pane_scale(box, plot, lines, start, stop)
                for box, plot, lines in zip(panes.indicators, self.spec.panes, self._pane_lines, strict=True)
            ),
        )

    def draw(
        self, start: int = 0, stop: int | None = None, *, trades: Sequence[TradeMark] = ()
    ) -> NDArray[np.uint8]:
        """Return the image of a window as palette indices, shape (height, width); errors as `layout`."""
        stop = len(self.bars) if stop is None else stop
        layout = self.layout(start, stop, trades=trades)
        return _Drawing(self, layout, start, stop, trades).draw()

    def render(self, start: int = 0, stop: int | None = None, *, trades: Sequence[TradeMark] = ()) -> bytes:
        """Return the PNG of bars `start` to `stop` (excluded); errors as `layout`."""
        return encode_png(self.draw(start, stop, trades=trades), theme(self.spec.theme).palette)

    def first_ready(self) -> int | None:
        """Return the first bar on which every indicator has a value, None if there is none."""
        ready = np.ones(len(self.bars), bool)
        for lines in self._every():
            for line in lines:
                ready &= np.isfinite(line.values)
        return int(np.argmax(ready)) if ready.any() else None

    def _every(self) -> list[list[_Line]]:
        return [lines for _, lines in self._overlays] + self._pane_lines

    def _check_values(self, start: int, stop: int) -> None:
        for lines in self._every():
            for line in lines:
                if not np.isfinite(line.values[start:stop]).any():
                    msg = (
                        f"An indicator must have a value in the window, but {line.title} has none on bars "
                        f"{start} to {stop - 1}. Choose a later or longer window, or a shorter indicator."
                    )
                    raise DataError(msg)

    def _price_scale(self, start: int, stop: int, trades: Sequence[TradeMark]) -> ValueScale:
        low = float(self.bars.low[start:stop].min())
        high = float(self.bars.high[start:stop].max())
        if high == low:
            margin = 5 * 10.0**-self.decimals
            low, high = low - margin, high + margin
        span = high - low
        values = [line.values[start:stop] for _, lines in self._overlays for line in lines]
        levels = [
            np.array([price for price in _trade_prices(trade) if price is not None], np.float64)
            for trade in trades
            if _bars_of(trade, self.bars, start, stop) is not None
        ]
        for group, reach in ((values, _OVERLAY_REACH * span), (levels, _TRADE_REACH * span)):
            for part in group:
                finite = part[np.isfinite(part)]
                low = min(low, max(float(finite.min()), low - reach))
                high = max(high, min(float(finite.max()), high + reach))
        padding = (high - low) * _PADDING
        low, high = low - padding, high + padding
        low = self.spec.price_low if self.spec.price_low is not None else low
        high = self.spec.price_high if self.spec.price_high is not None else high
        if low >= high:
            msg = f"The price axis must have `low < high`, but got low={low}, high={high}."
            raise ConfigError(msg + " Mend price_low or price_high.")
        box = self._panes.price
        return ValueScale(low=low, high=high, top=box.top, bottom=box.bottom)

    def _volume_scale(self, box: Box, start: int, stop: int) -> ValueScale:
        most = float(self.bars.volume[start:stop].max())
        return ValueScale(low=0.0, high=most * 1.05 if most > 0 else 1.0, top=box.top, bottom=box.bottom)


def render_chart(
    bars: BarArrays,
    spec: ChartSpec | None = None,
    *,
    overlays: Mapping[str, FloatArray] | None = None,
    trades: Sequence[TradeMark] = (),
) -> bytes:
    """Draw all of `bars` as a PNG.

    Parameters
    ----------
    bars : BarArrays
        At least one bar, at most one per column of the plot (1104 by default).
    spec : ChartSpec, optional
        How; 1200 × 800 pixels on dark by default.
    overlays : mapping of str to ndarray of shape (n_bars,), optional
        Lines over the prices besides the spec's, by name; NaN only before the first value.
    trades : sequence of TradeMark
        Trades to mark; those outside the bars are left out.

    Returns
    -------
    bytes
        A palette PNG, equal for equal input on every machine.

    Raises
    ------
    DataError
        If the bars or an indicator's values cannot be drawn.
    ConfigError
        If there is too much to draw for the size.
    """
    return PreparedChart(bars, spec or ChartSpec(), overlays=overlays).render(trades=trades)


# --- checks and scales ------------------------------------------------------------------------------------


def _check_bars(bars: BarArrays) -> None:
    if len(bars) == 0:
        raise DataError("A chart must have at least one bar, but got none. Choose a longer window.")
    prices = np.stack((bars.open, bars.high, bars.low, bars.close))
    broken = ~np.isfinite(prices).all(axis=0)
    broken |= (bars.high < prices.max(axis=0)) | (bars.low > prices.min(axis=0))
    broken |= ~(np.isfinite(bars.volume) & (bars.volume >= 0))
    broken[1:] |= np.diff(bars.ts_open_ns) <= 0
    if broken.any():
        at = int(np.argmax(broken))
        names = ("ts_open_ns", "open", "high", "low", "close", "volume")
        values = ", ".join(f"{name}={getattr(bars, name)[at]}" for name in names)
        msg = (
            "Bars must be finite, in order of time, with open and close between low and high, but got "
            f"{values}. Mend or rebuild the bars."
        )
        raise DataError(msg, row=at)


def _check_overlay(name: str, values: FloatArray, n_bars: int) -> FloatArray:
    values = np.asarray(values, np.float64)
    if values.shape != (n_bars,):
        msg = f"An overlay must have one value per bar, but {name!r} has shape {values.shape} for "
        raise DataError(msg + f"{n_bars} bars. Compute it over the same bars.")
    finite = np.isfinite(values)
    first = int(np.argmax(finite)) if finite.any() else n_bars
    hole = np.flatnonzero(~finite[first:])
    if np.isinf(values).any() or hole.size or first == n_bars:
        at = first + int(hole[0]) if hole.size else int(np.argmax(~finite))
        msg = (
            f"An overlay must be finite after its first value, but {name!r} is {values[at]} at bar {at}. "
            "Leave NaN only before the first value."
        )
        raise DataError(msg, row=at)
    return values


def _decimals(bars: BarArrays) -> int:
    """Return the decimal places of a price; a mid price lies between two ticks, so it has one more."""
    known = find_instrument(bars.instrument)
    if known is not None:
        return known.price_precision + (bars.price == "mid")
    price = float(bars.close[-1])
    return 5 if price < 20 else 3 if price < 1000 else 2


def _pane_lines(plot: IndicatorPlot, bars: BarArrays) -> list[_Line]:
    outputs = plot.compute(bars)
    return [
        _Line(name, _line_title(plot, name), values, ink)
        for ink, (name, values) in zip(LINE_INKS, outputs.items(), strict=False)
    ]


def _line_title(plot: IndicatorPlot, output: str) -> str:
    """Return ``"EMA 50"``, or ``"MACD 12 26 9, signal"`` of an indicator with several outputs."""
    return plot.title() if output == "value" else f"{plot.title()}, {output}"


def _style(plot: IndicatorPlot) -> _PaneStyle:
    return _PANE_STYLES.get(plot.kind, _PRICE_STYLE)


def _pane_scale(box: Box, plot: IndicatorPlot, lines: list[_Line], start: int, stop: int) -> ValueScale:
    style = _style(plot)
    values = np.concatenate([line.values[start:stop] for line in lines])
    finite = np.append(values[np.isfinite(values)], style.levels)
    low, high = float(finite.min()), float(finite.max())
    if high == low:
        margin = abs(low) * 0.01 or 1.0
        low, high = low - margin, high + margin
    padding = (high - low) * 0.08
    return ValueScale(
        low=low - padding if style.low is None else style.low,
        high=high + padding if style.high is None else style.high,
        top=box.top,
        bottom=box.bottom,
    )


def _trade_prices(trade: TradeMark) -> tuple[float | None, ...]:
    return trade.entry_price, trade.exit_price, trade.stop_price, trade.target_price


def _bars_of(trade: TradeMark, bars: BarArrays, start: int, stop: int) -> tuple[int, int | None] | None:
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


# --- drawing ----------------------------------------------------------------------------------------------


class _Drawing:
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
        self.trades = [
            (trade, span)
            for trade in trades
            if (span := _bars_of(trade, chart.bars, start, stop)) is not None
        ]

    def draw(self) -> NDArray[np.uint8]:
        """Draw everything from back to front."""
        self._time_axis()
        self._price_grid()
        self._breaks()
        self._trade_zones()
        self._candles()
        self._overlays()
        self._trade_marks()
        self._volume_pane()
        self._indicator_panes()
        self._last_price()
        self._frames()
        self._header()
        return self.canvas.pixels

    # axes

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

    # prices

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
        for _, lines in self.chart._overlays:
            for line in lines:
                self._line(self.layout.panes.price, self.layout.price, line)

    def _line(self, box: Box, scale: ValueScale, line: _Line) -> None:
        y = scale.y(line.values[self.window])
        self.canvas.polyline(box, self.x.astype(np.float64), y, line.ink, width=_LINE_WIDTH)

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

    # trades

    def _column(self, bar: int) -> float:
        """Return the column of a bar, also of one outside the window."""
        scale = self.layout.bars
        return scale.left + float((2 * bar + 1) * scale.width // (2 * scale.n_bars))

    def _trade_columns(self, span: tuple[int, int | None]) -> tuple[int, int]:
        box = self.layout.panes.price
        entry, leave = span
        right = box.right if leave is None else int(self._column(leave))
        return max(int(self._column(entry)), box.left), min(right, box.right)

    def _trade_zones(self) -> None:
        box, scale = self.layout.panes.price, self.layout.price
        for trade, span in self.trades:
            left, right = self._trade_columns(span)
            entry = scale.row(trade.entry_price)
            for price, colour in ((trade.target_price, Colour.PROFIT), (trade.stop_price, Colour.LOSS)):
                if price is not None:
                    rows = sorted((entry, scale.row(price)))
                    self.canvas.fill(
                        Box(max(rows[0], box.top), min(rows[1], box.bottom), left, right), colour
                    )

    def _trade_marks(self) -> None:
        for trade, span in self.trades:
            self._levels(trade, span)
            self._path(trade, span)
        for trade, span in self.trades:
            self._entry(trade, span[0])
            self._exit(trade, span[1])

    def _levels(self, trade: TradeMark, span: tuple[int, int | None]) -> None:
        box, scale = self.layout.panes.price, self.layout.price
        left, right = self._trade_columns(span)
        for price, colour in ((trade.stop_price, Colour.STOP), (trade.target_price, Colour.TARGET)):
            row = None if price is None else scale.row(price)
            if row is not None and box.top <= row <= box.bottom:
                self.canvas.row_line(row, left, right, colour, dash=5, gap=3)

    def _path(self, trade: TradeMark, span: tuple[int, int | None]) -> None:
        entry, leave = span
        if leave is None or trade.exit_price is None:
            return
        x = np.array([self._column(entry), self._column(leave)])
        y = self.layout.price.y(np.array([trade.entry_price, trade.exit_price]))
        ink = Colour.LONG if trade.side == "long" else Colour.SHORT
        self.canvas.polyline(self.layout.panes.price, x, y, ink, width=_LINE_WIDTH)

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

    # panes

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
            self.chart._pane_lines,
            self.layout.panes.indicators,
            self.layout.indicators,
            strict=True,
        )
        for plot, lines, box, scale in parts:
            style = _style(plot)
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

    def _histogram(self, box: Box, scale: ValueScale, line: _Line) -> None:
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

    def _value_text(self, line: _Line, style: _PaneStyle) -> str:
        value = float(line.values[self.window][-1])
        if not np.isfinite(value):
            return "–"
        return f"{value:.{self.chart.decimals + 1 if style.in_price else 2}f}"

    # frame and header

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
            self._trade_legend()
        self._legend()

    def _title_end(self) -> int:
        """Return the column the title row must stay left of."""
        return self._trade_legend_start() - 12 if self.trades else self.spec.width - 4

    def _trade_legend_start(self) -> int:
        width = sum(REGULAR.width(name) + 30 for name, _ in _TRADE_LEGEND)
        return max(self.spec.width - AXIS_WIDTH - width, 0)

    def _legend(self) -> None:
        """Write the last bar and each overlay's last value."""
        bars, canvas = self.bars, self.canvas
        column = self.layout.panes.price.left
        for letter, values in (("O", bars.open), ("H", bars.high), ("L", bars.low), ("C", bars.close)):
            column = canvas.text(LEGEND_ROW, column, f"{letter} ", REGULAR, Colour.MUTED)
            text = f"{float(values[-1]):.{self.chart.decimals}f}"
            column = canvas.text(LEGEND_ROW, column, text, REGULAR, Colour.TEXT) + 8
        for title, lines in self.chart._overlays:
            numbers = " ".join(self._overlay_text(line) for line in lines)
            column = canvas.text(LEGEND_ROW, column + 12, f"{title}  {numbers}", REGULAR, lines[0].ink)

    def _overlay_text(self, line: _Line) -> str:
        value = float(line.values[self.window][-1])
        return f"{value:.{self.chart.decimals}f}" if np.isfinite(value) else "–"

    def _trade_legend(self) -> None:
        """Explain the marks, right-aligned in the title row."""
        canvas, row = self.canvas, TITLE_ROW + 2
        column = self._trade_legend_start()
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
