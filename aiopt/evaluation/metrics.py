"""Figures of a return series, an equity curve or a list of trades.

Owns the formulas; knows nothing of strategies, engines, bars or time stamps.  Three rules hold throughout:

- Arrays must be finite and one-dimensional, else `MetricInputError`.
- A figure that is not defined on a valid array (no trades, no losses, no variance) is NaN: never 0, -1 or
  infinity, so that nothing can be ranked by it by accident.
- Nothing is annualised without being told by how much: `periods_per_year` has no default.

Returns are per-period figures: fractions of a *constant* capital, or profit in account currency.  Ratios
(`sharpe_ratio`, `sortino_ratio`, `skewness`, `kurtosis`) do not depend on which, if the capital is constant.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from aiopt.errors import MetricInputError
from aiopt.evaluation.arrays import FloatArray, finite_matrix, finite_vector, require
from aiopt.utc import DAY_S

SECONDS_PER_YEAR = 365.25 * DAY_S
"""Julian year."""

_NAN = float("nan")
_NO_VARIANCE = 1e-12
"""Equal values whose mean is not representable leave a deviation of this relative size: no variance."""


def simple_returns(equity: npt.ArrayLike) -> FloatArray:
    """Return ``equity[i + 1] / equity[i] - 1``.

    Parameters
    ----------
    equity : array_like of shape (n + 1,), account currency
        Element 0 is the starting balance.  Finite and positive.

    Returns
    -------
    ndarray of shape (n,), float64, fractions

    Raises
    ------
    MetricInputError
        If `equity` is empty, non-finite or non-positive.
    """
    values = _equity(equity)
    return values[1:] / values[:-1] - 1.0


def sharpe_ratio(returns: npt.ArrayLike, *, periods_per_year: float) -> float:
    """Return mean over sample standard deviation of the returns, times the square root of periods per year.

    Parameters
    ----------
    returns : array_like of shape (n,)
        Per-period returns in excess of the risk-free rate.  Periods without a position count, as 0.
    periods_per_year : float
        Positive; 1 gives the per-period ratio.

    Returns
    -------
    float
        NaN if there are fewer than two periods or the returns do not vary.

    Raises
    ------
    MetricInputError
        If `returns` is not a finite vector or `periods_per_year` is not positive.
    """
    values = finite_vector(returns, "returns")
    scale = _annual_scale(periods_per_year)
    deviation = _deviation(values)
    return _ratio(float(values.mean()) * scale, deviation) if values.size else _NAN


def sharpe_ratios(returns: npt.ArrayLike, *, periods_per_year: float) -> FloatArray:
    """Return the `sharpe_ratio` of many series at once.

    Parameters
    ----------
    returns : array_like of shape (n_series, n_periods)
        One series per row.
    periods_per_year : float
        Positive.

    Returns
    -------
    ndarray of shape (n_series,), float64
        NaN where `sharpe_ratio` is.

    Raises
    ------
    MetricInputError
        If `returns` is not a finite matrix or `periods_per_year` is not positive.
    """
    values = finite_matrix(returns, "returns")
    scale = _annual_scale(periods_per_year)
    result = np.full(values.shape[0], _NAN)
    if values.shape[1] < 2:
        return result
    deviation = values.std(axis=1, ddof=1)
    varies = deviation > _NO_VARIANCE * np.abs(values).max(axis=1)
    result[varies] = values[varies].mean(axis=1) * scale / deviation[varies]
    return result


def exact_sum(values: npt.ArrayLike) -> float:
    """Return `math.fsum`: the sum as if nothing were rounded on the way.

    Zeros, most profits per period, change no sum and are passed over.
    """
    numbers = np.asarray(values, dtype=np.float64)
    return math.fsum(numbers[numbers != 0].tolist())


def sortino_ratio(returns: npt.ArrayLike, *, periods_per_year: float, target: float = 0.0) -> float:
    """Return mean excess over `target`, over the root mean square shortfall, annualised.

    The shortfall is taken over *all* periods (Sortino and Price, 1994), not over the losing ones alone.

    Parameters
    ----------
    returns : array_like of shape (n,)
        Per-period returns.
    periods_per_year : float
        Positive.
    target : float
        Minimum acceptable return per period.

    Returns
    -------
    float
        NaN if there are fewer than two periods or none falls short of `target`.

    Raises
    ------
    MetricInputError
        If `returns` is not a finite vector or `periods_per_year` is not positive.
    """
    values = finite_vector(returns, "returns") - target
    scale = _annual_scale(periods_per_year)
    if values.size < 2:
        return _NAN
    shortfall = math.sqrt(float(np.mean(np.minimum(values, 0.0) ** 2)))
    return _ratio(float(values.mean()) * scale, shortfall)


def annual_volatility(returns: npt.ArrayLike, *, periods_per_year: float) -> float:
    """Return the sample standard deviation times the square root of periods per year.

    NaN for fewer than two periods.  Raises `MetricInputError` as `sharpe_ratio` does.
    """
    values = finite_vector(returns, "returns")
    scale = _annual_scale(periods_per_year)
    return float(values.std(ddof=1)) * scale if values.size >= 2 else _NAN


def skewness(returns: npt.ArrayLike) -> float:
    """Return the third standardised population moment, 0 for a symmetric series.

    NaN for fewer than two periods or returns that do not vary.  `MetricInputError` if not a finite vector.
    """
    return _standardised_moment(finite_vector(returns, "returns"), 3)


def kurtosis(returns: npt.ArrayLike) -> float:
    """Return the fourth standardised population moment, 3 for a normal series (*not* excess kurtosis).

    NaN for fewer than two periods or returns that do not vary.  `MetricInputError` if not a finite vector.
    """
    return _standardised_moment(finite_vector(returns, "returns"), 4)


def drawdown_series(equity: npt.ArrayLike) -> FloatArray:
    """Return the loss since the highest equity so far, as a fraction of that peak.

    Parameters
    ----------
    equity : array_like of shape (n + 1,), account currency
        Element 0 is the starting balance and counts as a peak.  Finite and positive.

    Returns
    -------
    ndarray of shape (n + 1,), float64
        In (-1, 0].

    Raises
    ------
    MetricInputError
        If `equity` is empty, non-finite or non-positive.
    """
    values = _equity(equity)
    peaks = np.maximum.accumulate(values)
    return (values - peaks) / peaks


def max_drawdown(equity: npt.ArrayLike) -> float:
    """Return the deepest peak-to-trough loss as a fraction of the peak.

    Parameters
    ----------
    equity : array_like of shape (n + 1,), account currency
        Element 0 is the starting balance.  Finite and positive.

    Returns
    -------
    float
        In (-1, 0]; 0 if equity never falls.

    Raises
    ------
    MetricInputError
        If `equity` is empty, non-finite or non-positive.
    """
    return float(drawdown_series(equity).min())


def max_drawdown_amount(pnl: npt.ArrayLike) -> float:
    """Return the deepest peak-to-trough loss of a path of profits, in their own unit.

    Parameters
    ----------
    pnl : array_like of shape (n,), account currency
        Profit per period or per trade.  The start counts as a peak.

    Returns
    -------
    float
        At least 0; 0 for an empty path.  Unlike `max_drawdown` it exists for an account that went below zero.

    Raises
    ------
    MetricInputError
        If `pnl` is not a finite vector.
    """
    path = np.concatenate(([0.0], np.cumsum(finite_vector(pnl, "pnl"))))
    return float(np.max(np.maximum.accumulate(path) - path))


def longest_drawdown(equity: npt.ArrayLike) -> int:
    """Return the largest number of consecutive points below an earlier peak.

    Parameters
    ----------
    equity : array_like of shape (n + 1,), account currency
        Element 0 is the starting balance.  Finite and positive.

    Returns
    -------
    int
        Periods under water; a drawdown not recovered from counts up to the end.

    Raises
    ------
    MetricInputError
        If `equity` is empty, non-finite or non-positive.
    """
    return _longest_run(drawdown_series(equity) < 0.0)


def cagr(equity: npt.ArrayLike, *, years: float) -> float:
    """Return the compound annual growth rate ``(equity[-1] / equity[0]) ** (1 / years) - 1``.

    Parameters
    ----------
    equity : array_like of shape (n + 1,), account currency
        Finite and positive.
    years : float
        Length of the span, positive.  Below one year the figure extrapolates: show it with the span.

    Returns
    -------
    float
        A fraction; NaN where it exceeds what a float holds.

    Raises
    ------
    MetricInputError
        If `equity` is empty, non-finite or non-positive, or `years` is not positive.
    """
    values = _equity(equity)
    require(math.isfinite(years) and years > 0, "years > 0", f"years={years}", "Pass the span in years.")
    exponent = math.log(float(values[-1] / values[0])) / years
    return math.expm1(exponent) if exponent < 700 else _NAN


def calmar_ratio(equity: npt.ArrayLike, *, years: float) -> float:
    """Return `cagr` over the size of `max_drawdown`; NaN if equity never falls.

    Raises `MetricInputError` as `cagr` does.
    """
    return _ratio(cagr(equity, years=years), -max_drawdown(equity))


def profit_factor(trade_pnl: npt.ArrayLike) -> float:
    """Return gross profit over gross loss.

    Parameters
    ----------
    trade_pnl : array_like of shape (n_trades,), account currency
        Profit of each trade after commission.

    Returns
    -------
    float
        At least 0; NaN if no trade lost (so also without trades).

    Raises
    ------
    MetricInputError
        If `trade_pnl` is not a finite vector.
    """
    values = finite_vector(trade_pnl, "trade_pnl")
    return _ratio(float(values[values > 0].sum()), -float(values[values < 0].sum()))


def win_rate(trade_pnl: npt.ArrayLike) -> float:
    """Return the share of trades with a profit above zero; NaN without trades.

    Raises `MetricInputError` if `trade_pnl` is not a finite vector.
    """
    values = finite_vector(trade_pnl, "trade_pnl")
    return float(np.mean(values > 0)) if values.size else _NAN


def expectancy(trade_pnl: npt.ArrayLike) -> float:
    """Return the mean profit per trade in account currency; NaN without trades.

    Raises `MetricInputError` if `trade_pnl` is not a finite vector.
    """
    values = finite_vector(trade_pnl, "trade_pnl")
    return float(values.mean()) if values.size else _NAN


def payoff_ratio(trade_pnl: npt.ArrayLike) -> float:
    """Return the mean winning trade over the size of the mean losing trade; NaN without both.

    Raises `MetricInputError` if `trade_pnl` is not a finite vector.
    """
    values = finite_vector(trade_pnl, "trade_pnl")
    wins, losses = values[values > 0], values[values < 0]
    return _ratio(float(wins.mean()), -float(losses.mean())) if wins.size and losses.size else _NAN


def longest_losing_streak(trade_pnl: npt.ArrayLike) -> int:
    """Return the largest number of consecutive trades with a profit below zero.

    Raises `MetricInputError` if `trade_pnl` is not a finite vector.
    """
    return _longest_run(finite_vector(trade_pnl, "trade_pnl") < 0)


def recovery_factor(pnl: npt.ArrayLike) -> float:
    """Return total profit over `max_drawdown_amount`; NaN if the path never falls.

    Raises `MetricInputError` if `pnl` is not a finite vector.
    """
    values = finite_vector(pnl, "pnl")
    return _ratio(float(values.sum()), max_drawdown_amount(values))


def exposure(in_market: npt.ArrayLike) -> float:
    """Return the share of bars on which a position was open; NaN without bars.

    Parameters
    ----------
    in_market : array_like of shape (n_bars,), bool or number
        Position per bar; anything but 0 counts as in the market.

    Raises
    ------
    MetricInputError
        If `in_market` is not a finite vector.
    """
    values = finite_vector(in_market, "in_market")
    return float(np.mean(values != 0)) if values.size else _NAN


def _equity(equity: npt.ArrayLike) -> FloatArray:
    values = finite_vector(equity, "equity")
    if values.size == 0:
        raise MetricInputError("`equity` must hold at least the starting balance, but is empty.")
    if (values <= 0).any():
        first = int(np.argmax(values <= 0))
        msg = (
            f"`equity > 0` must hold throughout, but element {first} is {values[first]}. "
            "A lost account has no drawdown fraction or growth rate; use `max_drawdown_amount`."
        )
        raise MetricInputError(msg)
    return values


def _annual_scale(periods_per_year: float) -> float:
    require(
        math.isfinite(periods_per_year) and periods_per_year > 0,
        "periods_per_year > 0",
        f"periods_per_year={periods_per_year}",
        "Pass how many of these periods make a year, or 1 for the per-period figure.",
    )
    return math.sqrt(periods_per_year)


def _deviation(values: FloatArray) -> float:
    """Return the sample standard deviation; 0 where the values are equal up to rounding or fewer than two."""
    if values.size < 2:
        return 0.0
    deviation = float(values.std(ddof=1))
    return deviation if deviation > _NO_VARIANCE * float(np.abs(values).max()) else 0.0


def _ratio(numerator: float, denominator: float) -> float:
    if denominator <= 0:
        return _NAN
    result = numerator / denominator
    return result if math.isfinite(result) else _NAN


def _standardised_moment(values: FloatArray, order: int) -> float:
    if _deviation(values) == 0:
        return _NAN
    standardised = (values - values.mean()) / values.std()
    return float(np.mean(standardised**order))


def _longest_run(flags: npt.NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
