"""Features: what is known at the close of a bar, one array per column.

Owns the formulas and the names of the columns.  Every value at bar i is computed from bars 0 to i alone; a
test changes the bars behind i and sees no value move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from aiopt.bars.schema import BarArrays, BarSet
from aiopt.charts import IndicatorPlot
from aiopt.charts.spec import PRICE_KINDS
from aiopt.dataset.dataset_config import FeatureConfig
from aiopt.indicators import atr
from aiopt.utc import DAY_NS

FloatArray = NDArray[np.float64]

NAN = float("nan")
WEEK_NS = 7 * DAY_NS

# The Unix epoch is a Thursday: three days behind a Monday.
_MONDAY_OFFSET_NS = 3 * DAY_NS
_RANK_CHUNK = 4_096

REGIMES = ("low", "normal", "high")
"""Names of the values 0, 1 and 2 of ``volatility_regime``."""


@dataclass(frozen=True, eq=False)
class Features:
    """Features of every bar.

    Attributes
    ----------
    columns : dict of str to ndarray of shape (n_bars,), float64
        NaN where a value is not defined (yet).
    atr : ndarray of shape (n_bars,)
        Average true range in price units.
    ready : ndarray of shape (n_bars,), bool
        Where every column has a finite value.
    """

    columns: dict[str, FloatArray]
    atr: FloatArray
    ready: NDArray[np.bool_]

    @property
    def warm_up(self) -> int:
        """Bars before the first one on which every feature has a value; all bars if there is none."""
        return int(np.argmax(self.ready)) if self.ready.any() else int(self.ready.size)


def compute_features(bars: BarSet, config: FeatureConfig) -> Features:
    """Return the features of every bar.

    Parameters
    ----------
    bars : BarSet
        Prices are those of the bid side; the ask side, where there is one, gives the spread.
    config : FeatureConfig
        Which.
    """
    side = bars.bid
    true_range = np.asarray(atr(side.high, side.low, side.close, config.atr_length), np.float64)
    columns: dict[str, FloatArray] = {
        "open": side.open,
        "high": side.high,
        "low": side.low,
        "close": side.close,
        "volume": side.volume,
    }
    columns |= _shape(side, true_range)
    columns |= {f"log_return_{lag}": _log_return(side.close, lag) for lag in config.return_lags}
    columns["atr_pips"] = true_range / bars.instrument.pip_size
    for plot in config.plots():
        columns |= _indicator(plot, side, true_range)
    columns |= _volatility(true_range, config)
    columns |= _time(side.ts_open_ns + side.timeframe.ns)
    if not bars.single_price:
        spread = bars.ask.close - side.close
        columns["spread_pips"] = spread / bars.instrument.pip_size
        columns["spread_atr"] = _over(spread, true_range)
    ready = np.isfinite(true_range) & (true_range > 0)
    for values in columns.values():
        ready &= np.isfinite(values)
    return Features(columns=columns, atr=true_range, ready=ready)


def indicator_name(plot: IndicatorPlot, output: str) -> str:
    """Return the column of an indicator's output: ``rsi_14``, ``macd_12_26_9_signal``, ``ema_20_hl2``."""
    parts = [plot.kind, *(_word(value) for value in plot.resolved_args().values())]
    if plot.source != "close":
        parts.append(plot.source)
    if output != "value":
        parts.append(output)
    return "_".join(parts)


def _word(value: float | str) -> str:
    """Return an argument as a part of a column's name."""
    text = value if isinstance(value, str) else f"{value:g}"
    return text.replace(".", "p").replace("/", "_")


def _shape(side: BarArrays, true_range: FloatArray) -> dict[str, FloatArray]:
    """Return how a bar's range is divided; all 0 for a bar without range."""
    span = side.high - side.low
    whole = np.where(span > 0, span, 1.0)
    return {
        "body_ratio": (side.close - side.open) / whole,
        "upper_wick_ratio": (side.high - np.maximum(side.open, side.close)) / whole,
        "lower_wick_ratio": (np.minimum(side.open, side.close) - side.low) / whole,
        "range_atr": _over(span, true_range),
    }


def _log_return(close: FloatArray, lag: int) -> FloatArray:
    result = np.full(close.size, NAN)
    if close.size > lag:
        result[lag:] = np.log(close[lag:] / close[:-lag])
    return result


def _indicator(plot: IndicatorPlot, side: BarArrays, true_range: FloatArray) -> dict[str, FloatArray]:
    columns: dict[str, FloatArray] = {}
    for output, values in plot.compute(side).items():
        name = indicator_name(plot, output)
        columns[name] = values
        if plot.kind in PRICE_KINDS:
            columns[f"{name}_distance"] = _over(side.close - values, true_range)
    return columns


def _volatility(true_range: FloatArray, config: FeatureConfig) -> dict[str, FloatArray]:
    rank = trailing_rank(true_range, config.regime_window)
    regime = np.where(rank <= config.regime_low, 0.0, np.where(rank > config.regime_high, 2.0, 1.0))
    return {
        "volatility_rank": rank,
        "volatility_regime": np.where(np.isnan(rank), NAN, regime),
    }


def trailing_rank(values: FloatArray, window: int) -> FloatArray:
    """Return the share of the last `window` values, this one included, that are not above this one.

    Parameters
    ----------
    values : ndarray of shape (n,)
        A window that holds a NaN gives NaN.
    window : int
        At least 2.

    Returns
    -------
    ndarray of shape (n,)
        In (0, 1], NaN for the first ``window - 1``.
    """
    result = np.full(values.size, NAN)
    if values.size < window:
        return result
    windows = sliding_window_view(values, window)
    for start in range(0, windows.shape[0], _RANK_CHUNK):
        part = windows[start : start + _RANK_CHUNK]
        share = (part <= part[:, -1:]).mean(axis=1)
        at = start + window - 1
        result[at : at + share.size] = np.where(np.isnan(part).any(axis=1), NAN, share)
    return result


def _time(close_ns: NDArray[np.int64]) -> dict[str, FloatArray]:
    """Return the time of day and week of the decision as points on a circle, UTC, weeks from Monday."""
    day = 2.0 * np.pi * ((close_ns % DAY_NS) / DAY_NS)
    week = 2.0 * np.pi * (((close_ns + _MONDAY_OFFSET_NS) % WEEK_NS) / WEEK_NS)
    return {
        "day_sin": np.sin(day),
        "day_cos": np.cos(day),
        "week_sin": np.sin(week),
        "week_cos": np.cos(week),
    }


def _over(values: FloatArray, true_range: FloatArray) -> FloatArray:
    """Return values in ATR; NaN where there is no ATR, or none but zero."""
    scale = np.where(true_range > 0, true_range, NAN)
    return values / scale
