"""Indicators of bars: every kind of the registry as a function, ``ao.indicators.rsi(bars)``.

Owns their signatures for bars and what they return.  The formulas are `aiopt.indicators`'; a function given
arrays instead of bars is that package's own, and so is every other name of it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays
from aiopt.charts.spec import IndicatorPlot
from aiopt.face import html
from aiopt.face.bars import BarsLike, as_arrays
from aiopt.face.tables import Table, with_timestamps
from aiopt.indicators.registry import INDICATORS

P = ParamSpec("P")
FloatArray = NDArray[np.float64]


class Indicator(Table):
    """The values of an indicator, one per bar.

    As a table: ``ts_open`` (timestamp, UTC) and a column per output, ``value`` where there is one.  NaN
    before the first value, as in Pine.  ``numpy.asarray(x)`` gives the values, of several outputs as columns.

    Attributes
    ----------
    plot : IndicatorPlot
        Kind, arguments and source; `aiopt.render_chart` draws it.
    ts_open_ns : ndarray of shape (n_bars,), int64
        When the bars open, UTC.
    outputs : dict of str to ndarray of shape (n_bars,), float64
        Values by output.
    """

    def __init__(self, plot: IndicatorPlot, bars: BarArrays) -> None:
        self.plot = plot
        self.ts_open_ns = bars.ts_open_ns
        self.outputs: dict[str, FloatArray] = plot.compute(bars)

    @property
    def values(self) -> FloatArray:
        """The values, shape (n_bars,); of several outputs those of the first."""
        return next(iter(self.outputs.values()))

    def __getitem__(self, output: str) -> FloatArray:
        """Return the values of an output, e.g. ``ao.indicators.macd(bars)["signal"]``."""
        return self.outputs[output]

    def __len__(self) -> int:
        return int(self.ts_open_ns.size)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the values: shape (n_bars,), or (n_bars, n_outputs)."""
        several = len(self.outputs) > 1
        values = np.stack(list(self.outputs.values()), axis=1) if several else self.values
        return np.array(values, dtype=dtype, copy=True if copy is None else copy)

    def to_polars(self) -> pl.DataFrame:
        """Return times and values as a Polars frame."""
        return with_timestamps(pl.DataFrame({"ts_open_ns": self.ts_open_ns, **self.outputs}))

    def _title(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.6g}" for name, values in self.outputs.items())
        return f"{self.plot.title()} over {len(self):,} bars, last {last}"

    def _repr_html_(self) -> str:
        middle = float(np.nanmean(self.values)) if np.isfinite(self.values).any() else 0.0
        picture = html.curve(self.ts_open_ns, self.values, label=self.plot.title(), base=middle)
        return html.card(self._title(), picture, html.frame_html(self.to_polars(), 6))


def _of_bars(function: Callable[P, Indicator]) -> Callable[P, Indicator]:
    """Leave calls with arrays to `aiopt.indicators`, whose functions have the same names."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Indicator:
        if args and isinstance(args[0], np.ndarray | list | tuple):
            core: Any = importlib.import_module("aiopt.indicators")
            return getattr(core, function.__name__)(*args, **kwargs)
        return function(*args, **kwargs)

    return call


@_of_bars
def sma(bars: BarsLike | BarArrays, length: int = 20, *, source: str = "close") -> Indicator:
    """Return the simple moving average of a price.

    Parameters
    ----------
    bars : Bars, BarSet, BarArrays, Path or str
        The bid side is read, or the one price.
    length : int
        Bars.
    source : str
        ``"open"``, ``"high"``, ``"low"``, ``"close"``, ``"hl2"``, ``"hlc3"`` or ``"ohlc4"``.

    Returns
    -------
    Indicator
        Output ``value``, in units of price.

    Raises
    ------
    SpecError
        If the length or source is out of range.

    Examples
    --------
    >>> import aiopt as ao
    >>> bars = ao.build_bars(ao.sample_ticks(days=1), "5m")
    >>> len(ao.indicators.sma(bars, 50)) == len(bars)
    True
    """
    return Indicator(IndicatorPlot(kind="sma", args={"length": length}, source=source), as_arrays(bars))


@_of_bars
def ema(bars: BarsLike | BarArrays, length: int = 20, *, source: str = "close") -> Indicator:
    """Return the exponential moving average of a price; arguments and errors as of `sma`."""
    return Indicator(IndicatorPlot(kind="ema", args={"length": length}, source=source), as_arrays(bars))


@_of_bars
def rma(bars: BarsLike | BarArrays, length: int = 14, *, source: str = "close") -> Indicator:
    """Return Wilder's moving average of a price; arguments and errors as of `sma`."""
    return Indicator(IndicatorPlot(kind="rma", args={"length": length}, source=source), as_arrays(bars))


@_of_bars
def rsi(bars: BarsLike | BarArrays, length: int = 14, *, source: str = "close") -> Indicator:
    """Return the relative strength index, in [0, 100]; arguments and errors as of `sma`.

    Examples
    --------
    >>> import aiopt as ao
    >>> bars = ao.build_bars(ao.sample_ticks(days=1), "5m")
    >>> ao.indicators.rsi(bars).to_polars().columns
    ['ts_open', 'value']
    """
    return Indicator(IndicatorPlot(kind="rsi", args={"length": length}, source=source), as_arrays(bars))


@_of_bars
def macd(
    bars: BarsLike | BarArrays, fast: int = 12, slow: int = 26, signal: int = 9, *, source: str = "close"
) -> Indicator:
    """Return the MACD: outputs ``macd``, ``signal``, ``histogram``, units of price.

    Parameters
    ----------
    bars, source
        As of `sma`.
    fast, slow, signal : int
        Lengths in bars.
    """
    args: dict[str, int | float | str] = {"fast": fast, "slow": slow, "signal": signal}
    return Indicator(IndicatorPlot(kind="macd", args=args, source=source), as_arrays(bars))


@_of_bars
def bollinger(
    bars: BarsLike | BarArrays, length: int = 20, multiplier: float = 2.0, *, source: str = "close"
) -> Indicator:
    """Return Bollinger Bands: outputs ``middle``, ``upper``, ``lower``, units of price.

    Parameters
    ----------
    bars, length, source
        As of `sma`.
    multiplier : float
        Standard deviations between the middle and each band.
    """
    args: dict[str, int | float | str] = {"length": length, "multiplier": multiplier}
    return Indicator(IndicatorPlot(kind="bollinger", args=args, source=source), as_arrays(bars))


@_of_bars
def stochastic(
    bars: BarsLike | BarArrays, k_length: int = 14, k_smooth: int = 3, d_smooth: int = 3
) -> Indicator:
    """Return the stochastic oscillator: outputs ``k`` and ``d`` in [0, 100]; lengths in bars."""
    args: dict[str, int | float | str] = {"k_length": k_length, "k_smooth": k_smooth, "d_smooth": d_smooth}
    return Indicator(IndicatorPlot(kind="stochastic", args=args), as_arrays(bars))


@_of_bars
def atr(bars: BarsLike | BarArrays, length: int = 14) -> Indicator:
    """Return the average true range, units of price; length in bars, errors as of `sma`."""
    return Indicator(IndicatorPlot(kind="atr", args={"length": length}), as_arrays(bars))


@_of_bars
def dmi(bars: BarsLike | BarArrays, length: int = 14, smoothing: int = 14) -> Indicator:
    """Return the directional movement: outputs ``plus``, ``minus``, ``adx`` in [0, 100]; lengths in bars."""
    args: dict[str, int | float | str] = {"length": length, "smoothing": smoothing}
    return Indicator(IndicatorPlot(kind="dmi", args=args), as_arrays(bars))


def __getattr__(name: str) -> Any:
    """Return a kind of the registry as a function of bars; else a name of the package `aiopt.indicators`.

    A function of bars takes the arguments of its kind, with their defaults, and ``source`` where the kind
    reads one.
    """
    if name in INDICATORS:
        return _function_of(name)
    core = importlib.import_module("aiopt.indicators")
    try:
        return getattr(core, name)
    except AttributeError:
        raise AttributeError(f"module 'aiopt.indicators' has no attribute {name!r}") from None


@functools.cache
def _function_of(kind: str) -> Callable[..., Indicator]:
    """Return ``kind(bars, ..., *, source="close")`` for a kind that has no function written out above."""
    definition = INDICATORS[kind]
    empty, named = inspect.Parameter.empty, inspect.Parameter.KEYWORD_ONLY
    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("bars", plain, annotation="BarsLike | BarArrays", default=empty)]
    parameters += [
        inspect.Parameter(name, plain, default=arg.default, annotation=arg.type.__name__)
        for name, arg in definition.args.items()
    ]
    if "source" in definition.inputs:
        parameters.append(inspect.Parameter("source", named, default="close", annotation="str"))
    signature = inspect.Signature(parameters, return_annotation="Indicator")

    def function(*args: Any, **kwargs: Any) -> Indicator:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        bars, source = given.pop("bars"), given.pop("source", "close")
        return Indicator(IndicatorPlot(kind=definition.kind, args=given, source=source), as_arrays(bars))

    outputs = ", ".join(f"``{name}``" for name in definition.outputs)
    function.__name__ = function.__qualname__ = definition.kind
    function.__doc__ = f"{definition.title} of bars; outputs {outputs}, errors as of `sma`."
    function.__signature__ = signature  # type: ignore[attr-defined]  # what `inspect` reads
    return _of_bars(function)
