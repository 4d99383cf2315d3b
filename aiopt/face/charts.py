"""Charts in a notebook: bars, indicators and trades as a picture.

Owns the call and the object that shows the PNG.  The drawing is `aiopt.charts`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from aiopt.backtest.stop_paths import follow_stops
from aiopt.charts.render import PreparedChart
from aiopt.charts.spec import ChartSpec, IndicatorPlot, parse_plot, split_plots
from aiopt.charts.windows import DEFAULT_WINDOW, window_name
from aiopt.errors import ConfigError
from aiopt.face.backtest import Backtest
from aiopt.face.bars import BarsLike, as_arrays
from aiopt.face.indicators import Indicator
from aiopt.files import atomic_write_bytes
from aiopt.outputs import PICTURE, check_file
from aiopt.trades import TradeMark


class Chart:
    """A picture of bars; a notebook shows it, `save` writes it.

    Attributes
    ----------
    png : bytes
        The same pixels for the same bars and settings, on every machine; the same bytes in one Python
        installation (another may come with another zlib).
    spec : ChartSpec
        How it was drawn.
    name : str
        Instrument, time frame, price, first bar and number of bars; safe as a file name.
    """

    def __init__(self, png: bytes, spec: ChartSpec, name: str) -> None:
        self.png = png
        self.spec = spec
        self.name = name

    def save(self, path: Path | str) -> Path:
        """Write the picture and return its path; a folder gets ``NAME.png``.

        Raises
        ------
        ConfigError
            If a file of another kind is in the way.
        StorageError
            If the disk is full or the folder not writable.
        """
        target = Path(path)
        if target.suffix.lower() != ".png":
            target = target / f"{self.name}.png"
        check_file(target, PICTURE, name="The picture")
        atomic_write_bytes(target, self.png)
        return target

    def __repr__(self) -> str:
        return f"<Chart: {self.name}, {self.spec.width} × {self.spec.height}, {len(self.png):,} bytes>"

    def _repr_png_(self) -> bytes:
        return self.png


def render_chart(
    what: BarsLike | Backtest,
    indicators: Sequence[str | IndicatorPlot | Indicator] = (),
    *,
    last: int | None = None,
    width: int = 1200,
    height: int = 800,
    theme: Literal["dark", "light"] = "dark",
    spec: ChartSpec | None = None,
) -> Chart:
    """Draw bars, with indicators, and the trades of a backtest.

    Parameters
    ----------
    what : Bars, BarSet, Path, str or Backtest
        Bars, of which the bid side is drawn; or a backtest, whose trades are marked on its bars.
    indicators : sequence of str, IndicatorPlot or Indicator
        ``"ema:length=50"``, ``"rsi"``, ``"bollinger:length=20,multiplier=2.5"``, or what
        `aiopt.indicators` returned.  Those in units of price lie over the bars, others in panes below.
    last : int, optional
        How many bars, from the end; by default 200, or all if there are fewer.  Slice the bars for others.
    width, height : int
        Pixels.
    theme : {"dark", "light"}
        Colours.
    spec : ChartSpec, optional
        All settings at once, instead of `indicators`, `width`, `height` and `theme`.

    Returns
    -------
    Chart

    Raises
    ------
    SpecError
        If an indicator is unknown.
    ConfigError
        If a setting is out of range, or there are more bars than columns of pixels.

    Examples
    --------
    >>> import aiopt as ao
    >>> bars = ao.build_bars(ao.sample_ticks(days=1), "15m")
    >>> ao.render_chart(bars, ["ema:length=10", "rsi"], width=640, height=480).name
    'EURUSD-15m-bid-20240304T000000-96'
    """
    if spec is None:
        overlays, panes = split_plots(_plot(one) for one in indicators)
        spec = ChartSpec(width=width, height=height, theme=theme, overlays=overlays, panes=panes)
    elif indicators:
        raise ConfigError(
            "`spec` has the indicators of a chart, but more were given. Leave one of the two out."
        )
    bars = what.bars.bid if isinstance(what, Backtest) else as_arrays(what)
    trades: list[TradeMark] = []
    if isinstance(what, Backtest):
        trades = follow_stops(what.result.trades, what.spec, what.bars)
    count = min(DEFAULT_WINDOW, len(bars)) if last is None else last
    if not 1 <= count <= len(bars):
        raise ConfigError(f"`1 <= last <= {len(bars)}` must hold, but got last={count}. Draw fewer bars.")
    window = (len(bars) - count, len(bars))
    png = PreparedChart(bars, spec).render(*window, trades=trades)
    return Chart(png, spec, window_name(bars, window))


def _plot(one: str | IndicatorPlot | Indicator) -> IndicatorPlot:
    if isinstance(one, Indicator):
        return one.plot
    return parse_plot(one) if isinstance(one, str) else one
