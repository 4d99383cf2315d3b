"""Lines of indicators and the panes they are drawn in: titles, colours, ends of the axis.  Knows no pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays
from aiopt.charts.axes import ValueScale
from aiopt.charts.raster import Box
from aiopt.charts.spec import IndicatorPlot
from aiopt.charts.theme import LINE_INKS


@dataclass(frozen=True)
class PaneStyle:
    """How a kind's pane looks: fixed ends, dashed levels, labelled values, output drawn as columns."""

    low: float | None = None
    high: float | None = None
    levels: tuple[float, ...] = ()
    labels: tuple[float, ...] = ()
    histogram: str | None = None
    in_price: bool = False


_PANE_STYLES = {
    "rsi": PaneStyle(low=0.0, high=100.0, levels=(30.0, 70.0), labels=(30.0, 50.0, 70.0)),
    "stochastic": PaneStyle(low=0.0, high=100.0, levels=(20.0, 80.0), labels=(20.0, 50.0, 80.0)),
    "dmi": PaneStyle(low=0.0, levels=(25.0,)),
    "macd": PaneStyle(levels=(0.0,), histogram="histogram", in_price=True),
    "atr": PaneStyle(in_price=True),
}
_PRICE_STYLE = PaneStyle(in_price=True)


@dataclass(frozen=True, eq=False)
class Line:
    """One line of an indicator over all bars."""

    name: str
    title: str
    values: NDArray[np.float64]
    ink: int


def pane_lines(plot: IndicatorPlot, bars: BarArrays) -> list[Line]:
    """Return the lines of one pane, each output in a colour of its own."""
    outputs = plot.compute(bars)
    return [
        Line(name, line_title(plot, name), values, ink)
        for ink, (name, values) in zip(LINE_INKS, outputs.items(), strict=False)
    ]


def line_title(plot: IndicatorPlot, output: str) -> str:
    """Return ``"EMA 50"``, or ``"MACD 12 26 9, signal"`` of an indicator with several outputs."""
    return plot.title() if output == "value" else f"{plot.title()}, {output}"


def pane_style(plot: IndicatorPlot) -> PaneStyle:
    """Return how the pane of an indicator looks."""
    return _PANE_STYLES.get(plot.kind, _PRICE_STYLE)


def pane_scale(box: Box, plot: IndicatorPlot, lines: list[Line], start: int, stop: int) -> ValueScale:
    """Return the value axis of a pane for bars `start` to `stop` (excluded)."""
    style = pane_style(plot)
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
