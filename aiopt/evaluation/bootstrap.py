"""Resampling: intervals that respect dependence in time, and drawdowns under another order of trades.

Owns the intervals and the Monte Carlo of trade order; every function is seeded.  Knows nothing of what was
selected from how many: that is what `aiopt.evaluation.multiple_testing` and `deflated` are for.

Intervals are studentised (bootstrap-t): in every resample the estimate's distance from the observed one is
divided by the resample's own standard error, so the interval follows the skewness of the profits.  Source:
Ledoit and Wolf, "Robust performance hypothesis testing with the Sharpe ratio", Journal of Empirical Finance
15(5), 2008.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aiopt.compiled import compiled
from aiopt.evaluation.arrays import FloatArray, finite_vector, require
from aiopt.evaluation.block_bootstrap import mean_errors, ratio_influence, resample_ratios
from aiopt.evaluation.metrics import max_drawdown_amount

_CHUNK = 4_000_000
"""Resampled elements held at once."""

_NAN = float("nan")


@dataclass(frozen=True)
class Interval:
    """A confidence interval; NaN on both sides where it is not defined."""

    low: float
    high: float


@dataclass(frozen=True)
class BootstrapResult:
    """Result of `bootstrap_returns`.

    Attributes
    ----------
    sharpe : Interval
        Of the annualised Sharpe ratio.
    mean : Interval
        Of the mean per period, in the unit of the returns.
    p_value : float
        Share of resamples, centred to mean 0, whose t statistic is at least the observed one: one-sided, for
        the hypothesis that the mean is not above 0.
    block_length : float
        Expected block length used, in periods.
    """

    sharpe: Interval
    mean: Interval
    p_value: float
    block_length: float


@dataclass(frozen=True)
class PairedDifference:
    """Result of `paired_difference`: how much more the first of two strategies earned.

    Attributes
    ----------
    total : float
        Sum of the differences, account currency.
    interval : Interval
        Of that sum, by the block bootstrap of the differences.
    correlation : float
        Of the two series of profits; NaN where one does not vary.
    periods : int
        Periods compared.
    block_length : float
        Expected block length used, in periods.
    """

    total: float
    interval: Interval
    correlation: float
    periods: int
    block_length: float

    @property
    def decided(self) -> bool:
        """Whether the interval leaves 0 out: the difference is more than these periods give by chance."""
        return self.interval.low > 0 or self.interval.high < 0


def paired_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    seed: int,
    n_resamples: int = 2000,
    confidence: float = 0.95,
) -> PairedDifference:
    """Return by how much one strategy's profit exceeds another's over the same periods, with an interval.

    The difference is taken period by period before it is resampled, so what both owe to the same market
    cancels out.

    Parameters
    ----------
    first, second : array_like of shape (n,), account currency
        Profit per period, over the same periods.
    seed : int
        Same seed, same interval.
    n_resamples : int
        At least 100.
    confidence : float
        In (0, 1).

    Returns
    -------
    PairedDifference
        The interval is NaN where there are fewer than two periods or the difference does not vary.

    Raises
    ------
    MetricInputError
        If the series differ in length or an argument is out of range.
    """
    one, other = finite_vector(first, "first"), finite_vector(second, "second")
    sizes = f"{one.size} and {other.size}"
    require(one.size == other.size, "len(first) == len(second)", sizes, "Pass profits of the same periods.")
    difference = one - other
    # The ratio's scale does not matter here: only the mean is used.
    found = bootstrap_returns(
        difference, periods_per_year=1.0, seed=seed, n_resamples=n_resamples, confidence=confidence
    )
    n = difference.size
    varies = n > 1 and np.ptp(one) > 0 and np.ptp(other) > 0
    return PairedDifference(
        total=math.fsum(difference),
        interval=Interval(found.mean.low * n, found.mean.high * n),
        correlation=float(np.corrcoef(one, other)[0, 1]) if varies else _NAN,
        periods=n,
        block_length=found.block_length,
    )


def default_block_length(n_periods: int) -> float:
    """Return the cube root of the number of periods, at least 1: the usual rate for a mean."""
    return max(1.0, float(n_periods) ** (1 / 3))


def bootstrap_returns(
    returns: npt.ArrayLike,
    *,
    periods_per_year: float,
    seed: int,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    block_length: float | None = None,
) -> BootstrapResult:
    """Return studentised intervals of the Sharpe ratio and the mean by the stationary block bootstrap.

    Parameters
    ----------
    returns : array_like of shape (n,)
        Profit or return per period.
    periods_per_year : float
        Positive; scales the Sharpe ratio.
    seed : int
        Same seed, same intervals.
    n_resamples : int
        At least 100.
    confidence : float
        In (0, 1).
    block_length : float, optional
        Expected length of a block in periods, at least 1; by default `default_block_length`.

    Returns
    -------
    BootstrapResult
        NaN intervals for fewer than two periods or returns that do not vary; resamples that do not vary have
        no Sharpe ratio and are left out, and if more than one in twenty is, so is the interval.

    Raises
    ------
    MetricInputError
        If an argument is out of range.
    """
    values = finite_vector(returns, "returns")
    _check(n_resamples, confidence, seed)
    require(periods_per_year > 0, "periods_per_year > 0", f"{periods_per_year}", "Pass periods per year.")
    length = default_block_length(values.size) if block_length is None else block_length
    require(length >= 1, "block_length >= 1", f"block_length={length}", "A block has at least one period.")
    if values.size < 2 or not np.ptp(values) > 0:
        return BootstrapResult(Interval(_NAN, _NAN), Interval(_NAN, _NAN), _NAN, length)
    found = resample_ratios(values, n_resamples=n_resamples, block_length=length, seed=seed)
    annual = math.sqrt(periods_per_year)
    ratio = float(values.mean() / values.std(ddof=1))
    influence = ratio_influence(values)
    errors = mean_errors(np.column_stack([values, influence]), block_length=length)
    varies = np.isfinite(found.ratios)
    mean = float(values.mean())
    moved = _t_statistics(found.means - mean, found.mean_errors)
    turned = _t_statistics(found.ratios[varies] - ratio, found.ratio_errors[varies])
    sharpe = _studentised(ratio, float(errors[1]), turned, confidence)
    if varies.mean() < 0.95:
        sharpe = Interval(_NAN, _NAN)
    # The observed statistic is one of its own resamples: a p-value is never 0.
    exceeding = int((moved >= mean / errors[0]).sum()) if errors[0] > 0 else n_resamples
    return BootstrapResult(
        sharpe=Interval(sharpe.low * annual, sharpe.high * annual),
        mean=_studentised(mean, float(errors[0]), moved, confidence),
        p_value=(exceeding + 1) / (n_resamples + 1),
        block_length=length,
    )


@dataclass(frozen=True)
class DrawdownDistribution:
    """Result of `shuffled_drawdowns`: the deepest fall if the same trades had come in another order.

    Attributes
    ----------
    median, p95, worst : float
        Account currency, at least 0: median, 95th percentile and largest of the shuffles.
    share_deeper : float
        Share of shuffles with a deeper fall than the one that happened.
    """

    median: float
    p95: float
    worst: float
    share_deeper: float


def shuffled_drawdowns(pnl: npt.ArrayLike, *, seed: int, n_shuffles: int = 1000) -> DrawdownDistribution:
    """Return the distribution of the maximum drawdown over random orders of the trades.

    Parameters
    ----------
    pnl : array_like of shape (n_trades,), account currency
        Profit of each trade, or of each period.
    seed : int
        Same seed, same distribution.
    n_shuffles : int
        At least 100.

    Returns
    -------
    DrawdownDistribution
        NaN throughout if there are no trades.

    Raises
    ------
    MetricInputError
        If `pnl` is not a finite vector or `n_shuffles` is out of range.
    """
    values = finite_vector(pnl, "pnl")
    _check(n_shuffles, 0.95, seed)
    if values.size == 0:
        return DrawdownDistribution(_NAN, _NAN, _NAN, _NAN)
    rng = np.random.default_rng(seed)
    deepest = np.concatenate(
        [_deepest(values, rng.random((rows, values.size))) for rows in _chunks(n_shuffles, values.size)]
    )
    own = max_drawdown_amount(values)
    return DrawdownDistribution(
        median=float(np.median(deepest)),
        p95=float(np.percentile(deepest, 95)),
        worst=float(deepest.max()),
        share_deeper=float(np.mean(deepest > own + 1e-9 * abs(own))),
    )


def _t_statistics(distances: FloatArray, errors: FloatArray) -> FloatArray:
    """Return distances over errors; without an error, infinite in the direction of the distance."""
    bare = np.where(distances > 0, np.inf, np.where(distances < 0, -np.inf, 0.0))
    return np.divide(distances, errors, out=bare, where=errors > 0)


@compiled
def _deepest(values: FloatArray, draws: FloatArray) -> FloatArray:
    """Return the deepest fall of one random order per row of `draws`, uniform in [0, 1): Fisher and Yates."""
    found = np.empty(len(draws))
    order = values.copy()
    for row in range(len(draws)):
        equity, peak, deepest = 0.0, 0.0, 0.0
        for place in range(order.size - 1, -1, -1):
            other = int(draws[row, place] * (place + 1))
            profit = order[other]
            order[other] = order[place]
            order[place] = profit
            equity += profit
            peak = max(peak, equity)
            deepest = max(deepest, peak - equity)
        found[row] = deepest
    return found


def _studentised(value: float, error: float, statistics: FloatArray, confidence: float) -> Interval:
    """Return the bootstrap-t interval; NaN where the resamples leave a side open."""
    if not statistics.size or not error > 0:
        return Interval(_NAN, _NAN)
    tail = (1 - confidence) / 2
    low = value - error * float(np.quantile(statistics, 1 - tail, method="higher"))
    high = value - error * float(np.quantile(statistics, tail, method="lower"))
    bounded = math.isfinite(low) and math.isfinite(high)
    return Interval(low, high) if bounded else Interval(_NAN, _NAN)


def _chunks(total: int, width: int) -> Iterator[int]:
    step = max(1, _CHUNK // width)
    for start in range(0, total, step):
        yield min(step, total - start)


def _check(n_resamples: int, confidence: float, seed: int) -> None:
    require(n_resamples >= 100, "n_resamples >= 100", f"{n_resamples}", "Fewer give no usable interval.")
    require(0 < confidence < 1, "0 < confidence < 1", f"confidence={confidence}", "Use e.g. 0.95.")
    require(seed >= 0, "seed >= 0", f"seed={seed}", "Use a non-negative integer.")
