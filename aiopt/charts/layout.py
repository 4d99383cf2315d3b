"""Where everything of a chart lies: panes, scales, columns.  Owns the geometry; draws nothing.

The layout of a chart is public, so that a reader's answer ("resistance at 1.1234, bar 57") can be checked
against pixels and the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiopt.charts.axes import BarScale, ValueScale
from aiopt.charts.raster import Box
from aiopt.charts.spec import ChartSpec
from aiopt.errors import ConfigError

LEFT = 12
AXIS_WIDTH = 84
TITLE_ROW = 10
LEGEND_ROW = 34
PRICE_TOP = 56
TIME_AXIS_HEIGHT = 28
PANE_HEADER = 20

VOLUME_SHARE = 0.11
PANE_SHARE = 0.16
BELOW_SHARE = 0.58
MIN_PANE_ROWS = 36
MIN_PRICE_ROWS = 120


@dataclass(frozen=True, slots=True)
class Panes:
    """Rectangles of the plots, frames excluded; for volume and indicators the header lies above.

    Attributes
    ----------
    price : Box
        Candles and overlays.
    volume : Box or None
        Volume, where there is any.
    indicators : tuple of Box
        One per `ChartSpec.panes`.
    """

    price: Box
    volume: Box | None
    indicators: tuple[Box, ...]

    def every(self) -> tuple[Box, ...]:
        """Return all panes from top to bottom."""
        return (self.price, *((self.volume,) if self.volume else ()), *self.indicators)


@dataclass(frozen=True, slots=True)
class ChartLayout:
    """The geometry of one chart.

    Attributes
    ----------
    panes : Panes
        Rectangles.
    bars : BarScale
        Bars to columns.
    price : ValueScale
        Prices to rows.
    volume : ValueScale or None
        Volume to rows.
    indicators : tuple of ValueScale
        Indicator values to rows, one per pane.
    """

    panes: Panes
    bars: BarScale
    price: ValueScale
    volume: ValueScale | None
    indicators: tuple[ValueScale, ...]


def divide(spec: ChartSpec, *, has_volume: bool) -> Panes:
    """Return the panes of a chart.

    Parameters
    ----------
    spec : ChartSpec
        Size and panes.
    has_volume : bool
        Whether a volume pane is wanted and there is volume to show.

    Raises
    ------
    ConfigError
        If the chart is too low for its panes.
    """
    rows = spec.height - PRICE_TOP - TIME_AXIS_HEIGHT
    volume_rows = max(MIN_PANE_ROWS, int(rows * VOLUME_SHARE)) if has_volume else 0
    n_panes = len(spec.panes)
    # Several panes share what prices can spare.
    spare = int(rows * BELOW_SHARE) - volume_rows - PANE_HEADER * (n_panes + has_volume)
    pane_rows = max(MIN_PANE_ROWS, min(int(rows * PANE_SHARE), spare // max(n_panes, 1)))
    below = [volume_rows] * has_volume + [pane_rows] * n_panes
    price_rows = rows - sum(below) - PANE_HEADER * len(below)
    if price_rows < MIN_PRICE_ROWS:
        msg = (
            f"A chart must leave {MIN_PRICE_ROWS} rows for prices, but height={spec.height} with "
            f"{len(below)} panes below leaves {price_rows}. Choose a larger height or fewer panes."
        )
        raise ConfigError(msg)
    right = spec.width - AXIS_WIDTH - 1
    boxes = [Box(PRICE_TOP, PRICE_TOP + price_rows - 1, LEFT, right)]
    for height in below:
        top = boxes[-1].bottom + 1 + PANE_HEADER
        boxes.append(Box(top, top + height - 1, LEFT, right))
    return Panes(
        price=boxes[0],
        volume=boxes[1] if has_volume else None,
        indicators=tuple(boxes[1 + has_volume :]),
    )


def bar_scale(panes: Panes, n_bars: int) -> BarScale:
    """Return the columns of `n_bars` bars.

    Raises
    ------
    ConfigError
        If there are more bars than columns.
    """
    width = panes.price.width
    if n_bars > width:
        msg = (
            f"{n_bars} bars do not fit into {width} columns of pixels. Show fewer bars, take a "
            "longer timeframe or widen the chart."
        )
        raise ConfigError(msg)
    return BarScale(n_bars=n_bars, left=panes.price.left, width=width)
