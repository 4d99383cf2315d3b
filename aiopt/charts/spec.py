"""ChartSpec: what a chart shows, as data.  Owns its fields, rules and limits; draws nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays
from aiopt.charts.theme import THEMES, ThemeName
from aiopt.config import content_hash
from aiopt.errors import ConfigError, SpecError, did_you_mean
from aiopt.indicators.bar_series import PRICE_SOURCES, bar_series
from aiopt.indicators.registry import IndicatorDef, indicator_def

Number = int | float

MIN_WIDTH, MIN_HEIGHT = 480, 320
MAX_SIDE = 4096
"""Limits of a chart in pixels: smaller, and text hides the bars; larger, and it is a mistake."""

MAX_OVERLAYS = 4
"""Indicators over the prices; more and none can be read."""

MAX_PANES = 4
"""Indicator panes below the prices, volume not counted."""

PRICE_KINDS = frozenset(
    {
        *("sma", "ema", "rma", "wma", "hma", "vwma", "linreg"),
        *("bollinger", "keltner", "donchian", "ichimoku", "heikin_ashi"),
        *("previous_day", "previous_week", "today", "session_range", "vwap"),
    }
)
"""Kinds in units of price, drawn over the bars; all others get a pane."""


class IndicatorPlot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An indicator to draw.

    Attributes
    ----------
    kind : str
        A kind of `aiopt.indicators.INDICATORS`.
    args : dict of str to number, or to text (a time zone)
        Its arguments; defaults for those not given.
    source : str
        Series it reads, one of `aiopt.indicators.bar_series.PRICE_SOURCES`; ``"close"`` for kinds that read
        high, low and close.

    Raises
    ------
    SpecError
        If the kind, an argument or the source is unknown or out of range.
    """

    kind: str
    args: dict[str, Number | str] = {}
    source: str = "close"

    def __post_init__(self) -> None:
        self.resolved_args()
        if self.source not in PRICE_SOURCES:
            hint = did_you_mean(self.source, PRICE_SOURCES)
            raise SpecError(
                f"The source of {self.kind} must be a price series, but got {self.source!r}.{hint}"
            )
        if "source" not in self.definition().inputs and self.source != "close":
            inputs = ", ".join(self.definition().inputs)
            raise SpecError(f"{self.kind} reads {inputs}, not {self.source!r}. Remove the source.")

    def definition(self) -> IndicatorDef:
        """Return the kind's entry in the indicator table."""
        return indicator_def(self.kind)

    def resolved_args(self) -> dict[str, Any]:
        """Return all arguments, defaults filled in."""
        definition = self.definition()
        return definition.check_args({**definition.defaults(), **self.args}, where="chart")

    def title(self) -> str:
        """Return ``"EMA 20"``, ``"Bollinger 20 2"``, ``"RSI 14 (hl2)"``."""
        name = self.kind.upper() if len(self.kind) <= 4 else self.kind.capitalize()
        values = self.resolved_args().values()
        words = " ".join([name, *(value if isinstance(value, str) else f"{value:g}" for value in values)])
        return words + (f" ({self.source})" if self.source != "close" else "")

    def compute(self, bars: BarArrays) -> dict[str, NDArray[np.float64]]:
        """Return each output over `bars`, NaN before its first value."""
        definition = self.definition()
        inputs = [bar_series(bars, self.source if name == "source" else name) for name in definition.inputs]
        outputs = definition.compute(inputs, self.resolved_args())
        return dict(zip(definition.outputs, outputs, strict=True))


class ChartSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How bars are drawn.

    Attributes
    ----------
    width, height : int
        Pixels.
    theme : {"dark", "light"}
        Colours.
    overlays : tuple of IndicatorPlot
        Indicators over the prices, at most `MAX_OVERLAYS`.
    panes : tuple of IndicatorPlot
        Indicators in panes of their own, from top to bottom, at most `MAX_PANES`.
    volume : bool
        Show a volume pane where the bars have volume.
    title : str, optional
        Replaces instrument, timeframe and price in the title.  The mark of synthetic data stays.
    price_low, price_high : float, optional
        Fixed ends of the price axis; bars outside are cut off at its edge.

    Raises
    ------
    ConfigError
        If a size, the number of indicators or the price range breaks a rule.
    """

    width: int = 1200
    height: int = 800
    theme: ThemeName = "dark"
    overlays: tuple[IndicatorPlot, ...] = ()
    panes: tuple[IndicatorPlot, ...] = ()
    volume: bool = True
    title: str | None = None
    price_low: float | None = None
    price_high: float | None = None

    def __post_init__(self) -> None:
        for name, value, minimum in (("width", self.width, MIN_WIDTH), ("height", self.height, MIN_HEIGHT)):
            if not minimum <= value <= MAX_SIDE:
                msg = f"`{minimum} <= {name} <= {MAX_SIDE}` must hold, but got {name}={value} pixels."
                raise ConfigError(msg + " Choose a size in that range.")
        if self.theme not in THEMES:
            msg = f"There is no theme {self.theme!r}. Use one of {', '.join(THEMES)}."
            raise ConfigError(msg + did_you_mean(self.theme, THEMES))
        for name, plots, most in (
            ("overlays", self.overlays, MAX_OVERLAYS),
            ("panes", self.panes, MAX_PANES),
        ):
            if len(plots) > most:
                msg = f"A chart must have at most {most} {name}, but got {len(plots)}. Draw several charts."
                raise ConfigError(msg)
        for plot in self.overlays:
            if plot.kind not in PRICE_KINDS:
                msg = f"An overlay must be in units of price, but {plot.kind} is not. Put it into `panes`."
                raise ConfigError(msg)
        self._check_price_range()

    def _check_price_range(self) -> None:
        low, high = self.price_low, self.price_high
        for name, value in (("price_low", low), ("price_high", high)):
            if value is not None and not math.isfinite(value):
                raise ConfigError(
                    f"`{name}` must be finite, but got {value}. Leave it out for the bars' range."
                )
        if low is not None and high is not None and low >= high:
            msg = f"`price_low < price_high` must hold, but got price_low={low}, price_high={high}."
            raise ConfigError(msg + " Exchange them.")

    @property
    def spec_hash(self) -> str:
        """Hex SHA-256 of the canonical content."""
        return content_hash(self)


def parse_plot(text: str) -> IndicatorPlot:
    """Parse ``"rsi"``, ``"ema:length=50"`` or ``"bollinger:length=20,multiplier=2.5,source=hl2"``.

    Raises
    ------
    SpecError
        If the notation, the kind, an argument or the source is wrong.
    """
    kind, _, rest = text.strip().partition(":")
    args: dict[str, Number | str] = {}
    source = "close"
    for part in filter(None, rest.split(",")):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name == "source":
            source = value
            continue
        if name == "timezone":
            args[name] = value
            continue
        try:
            args[name] = int(value) if value.lstrip("+-").isdigit() else float(value)
        except ValueError as failure:
            msg = f"Cannot read {part!r} in {text!r}. Write an indicator as KIND:NAME=NUMBER,…"
            raise SpecError(msg + " Write e.g. ema:length=50.") from failure
    return IndicatorPlot(kind=kind, args=args, source=source)


def split_plots(
    plots: Iterable[IndicatorPlot],
) -> tuple[tuple[IndicatorPlot, ...], tuple[IndicatorPlot, ...]]:
    """Return the indicators in units of price, which lie over the bars, and those in panes of their own."""
    given = tuple(plots)
    over = tuple(plot for plot in given if plot.kind in PRICE_KINDS)
    return over, tuple(plot for plot in given if plot.kind not in PRICE_KINDS)
