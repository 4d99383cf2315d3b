"""Draw charts: bars, overlays, indicator panes, volume and trades to PNG.

Owns what a chart is made of and its price axis; pixels are `drawing`'s and `raster`'s, places `layout`'s and
`axes`', colours `theme`'s.  Knows nothing of strategies, backtests or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays
from aiopt.charts.axes import ValueScale
from aiopt.charts.chart_checks import check_bars, check_overlay, price_decimals
from aiopt.charts.drawing import Drawing
from aiopt.charts.indicator_lines import Line, line_title, pane_lines, pane_scale
from aiopt.charts.layout import ChartLayout, bar_scale, divide
from aiopt.charts.png import encode_png
from aiopt.charts.raster import Box
from aiopt.charts.spec import MAX_OVERLAYS, ChartSpec
from aiopt.charts.theme import LINE_INKS, theme
from aiopt.charts.trade_drawing import bars_of, trade_prices
from aiopt.errors import ConfigError, DataError
from aiopt.trades import TradeMark

FloatArray = NDArray[np.float64]

_PADDING = 0.05
_OVERLAY_REACH = 0.5
_TRADE_REACH = 1.0


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
        check_bars(bars)
        given = dict(overlays or {})
        if len(spec.overlays) + len(given) > MAX_OVERLAYS:
            count = len(spec.overlays) + len(given)
            msg = f"A chart must have at most {MAX_OVERLAYS} overlays, but got {count}. Draw several charts."
            raise ConfigError(msg)
        self.bars = bars
        self.spec = spec
        self.decimals = price_decimals(bars)
        self._has_volume = spec.volume and bool((bars.volume > 0).any())
        self._panes = divide(spec, has_volume=self._has_volume)
        self.overlays: list[tuple[str, list[Line]]] = []
        for ink, plot in zip(LINE_INKS, spec.overlays, strict=False):
            lines = [
                Line(name, line_title(plot, name), values, ink) for name, values in plot.compute(bars).items()
            ]
            self.overlays.append((plot.title(), lines))
        for ink, (name, values) in zip(LINE_INKS[len(spec.overlays) :], given.items(), strict=False):
            self.overlays.append((name, [Line(name, name, check_overlay(name, values, len(bars)), ink)]))
        self.pane_lines = [pane_lines(plot, bars) for plot in spec.panes]

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
                pane_scale(box, plot, lines, start, stop)
                for box, plot, lines in zip(panes.indicators, self.spec.panes, self.pane_lines, strict=True)
            ),
        )

    def draw(
        self, start: int = 0, stop: int | None = None, *, trades: Sequence[TradeMark] = ()
    ) -> NDArray[np.uint8]:
        """Return the image of a window as palette indices, shape (height, width); errors as `layout`."""
        stop = len(self.bars) if stop is None else stop
        layout = self.layout(start, stop, trades=trades)
        return Drawing(self, layout, start, stop, trades).draw()

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

    def _every(self) -> list[list[Line]]:
        return [lines for _, lines in self.overlays] + self.pane_lines

    def _check_values(self, start: int, stop: int) -> None:
        for lines in self._every():
            for line in lines:
                if not np.isfinite(line.values[start:stop]).any():
                    msg = (
                        f"{line.title} has no value on bars {start} to {stop - 1}. Choose a later or "
                        f"longer window, or a shorter indicator."
                    )
                    raise DataError(msg)

    def _price_scale(self, start: int, stop: int, trades: Sequence[TradeMark]) -> ValueScale:
        low = float(self.bars.low[start:stop].min())
        high = float(self.bars.high[start:stop].max())
        if high == low:
            margin = 5 * 10.0**-self.decimals
            low, high = low - margin, high + margin
        span = high - low
        values = [line.values[start:stop] for _, lines in self.overlays for line in lines]
        levels = [
            np.array([price for price in trade_prices(trade) if price is not None], np.float64)
            for trade in trades
            if bars_of(trade, self.bars, start, stop) is not None
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
            raise ConfigError(msg + " Correct price_low or price_high.")
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
        A palette PNG: the same pixels for equal input on every machine, see `encode_png`.

    Raises
    ------
    DataError
        If the bars or an indicator's values cannot be drawn.
    ConfigError
        If there is too much to draw for the size.
    """
    return PreparedChart(bars, spec or ChartSpec(), overlays=overlays).render(trades=trades)
