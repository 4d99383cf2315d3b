"""How likely a Sharpe ratio is skill, given its length, its tails and how many were tried.

Owns the probabilistic and the deflated Sharpe ratio and what belongs to them.  Knows nothing of strategies.
All Sharpe ratios here are **per period**, not annualised; `kurtosis` is 3 for a normal series.

Sources: Bailey and López de Prado, "The Sharpe Ratio Efficient Frontier", Journal of Risk 15(2), 2012; "The
Deflated Sharpe Ratio", Journal of Portfolio Management 40(5), 2014, doi:10.3905/jpm.2014.40.5.094.
"""

from __future__ import annotations

import math

from scipy.special import ndtr, ndtri

from aiopt.errors import MetricInputError
from aiopt.evaluation.arrays import require

EULER_MASCHERONI = 0.5772156649015329

_NAN = float("nan")


def probabilistic_sharpe_ratio(
    sharpe: float, *, n_periods: int, skewness: float, kurtosis: float, benchmark: float = 0.0
) -> float:
    """Return the probability that the true Sharpe ratio exceeds a benchmark.

    ``Φ((SR − SR*) √(T − 1) / √(1 − γ3 SR + (γ4 − 1)/4 SR²))``.  The normal approximation ignores serial
    correlation and needs more than a handful of periods with trades.

    Parameters
    ----------
    sharpe, benchmark : float
        Per period.
    n_periods : int
        Length of the series, at least 2.
    skewness, kurtosis : float
        Of the returns; kurtosis 3 is normal.

    Returns
    -------
    float
        In [0, 1]; NaN if `sharpe`, `skewness` or `kurtosis` is NaN, or the estimate has no variance.

    Raises
    ------
    MetricInputError
        If `n_periods` is below 2.
    """
    require(n_periods >= 2, "n_periods >= 2", f"n_periods={n_periods}", "Pass a longer series.")
    variance = _unit_variance(sharpe, skewness, kurtosis)
    if not variance > 0 or math.isnan(benchmark):
        return _NAN
    return float(ndtr((sharpe - benchmark) * math.sqrt((n_periods - 1) / variance)))


def cautious_sharpe_probability(
    sharpe: float, *, n_periods: int, skewness: float, kurtosis: float, benchmark: float = 0.0
) -> float:
    """Return the smaller of `probabilistic_sharpe_ratio` and the same with unit variance.

    The published formula estimates the variance at the observed ratio, so a lucky outlier, which lifts the
    ratio and the skewness together, shrinks its own error.  On 240 fat-tailed periods without an edge
    (Student's t with 4 degrees of freedom, half of the periods 0) it finds a "1 in 1000" result three times
    as often as it should; this one, which credits no favourable skewness, as often as it should.

    Parameters, NaN and errors as in `probabilistic_sharpe_ratio`.
    """
    published = probabilistic_sharpe_ratio(
        sharpe, n_periods=n_periods, skewness=skewness, kurtosis=kurtosis, benchmark=benchmark
    )
    plain = float(ndtr((sharpe - benchmark) * math.sqrt(n_periods - 1)))
    return _NAN if math.isnan(published) else min(published, plain)


def expected_maximum_sharpe(sharpe_variance: float, n_trials: int) -> float:
    """Return the Sharpe ratio the best of `n_trials` trials without skill is expected to show.

    ``√V ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e)))`` with γ the Euler-Mascheroni constant.

    Parameters
    ----------
    sharpe_variance : float
        Variance of the trials' per-period Sharpe ratios, at least 0.
    n_trials : int
        Trials made, at least 1; independent ones, or all for a strict figure.

    Returns
    -------
    float
        Per period; 0 for one trial.

    Raises
    ------
    MetricInputError
        If an argument is out of range.
    """
    require(
        math.isfinite(sharpe_variance) and sharpe_variance >= 0,
        "0 <= sharpe_variance < inf",
        f"sharpe_variance={sharpe_variance}",
        "Pass the variance of the trials' Sharpe ratios.",
    )
    require(n_trials >= 1, "n_trials >= 1", f"n_trials={n_trials}", "Count every trial made.")
    if n_trials == 1:
        return 0.0
    far, farther = ndtri(1 - 1 / n_trials), ndtri(1 - 1 / (n_trials * math.e))
    return math.sqrt(sharpe_variance) * float((1 - EULER_MASCHERONI) * far + EULER_MASCHERONI * farther)


def deflated_sharpe_ratio(
    sharpe: float,
    *,
    n_periods: int,
    skewness: float,
    kurtosis: float,
    sharpe_variance: float,
    n_trials: int,
) -> float:
    """Return the probability that the true Sharpe ratio exceeds what `n_trials` trials give by luck.

    `probabilistic_sharpe_ratio` against `expected_maximum_sharpe`; parameters, NaN and errors as there.

    Examples
    --------
    The worked example of Bailey and López de Prado (2014): five years of daily returns with an annual Sharpe
    ratio of 2.5, the best of 100 trials whose annual ratios have variance 1/2.

    >>> dsr = deflated_sharpe_ratio(2.5 / 250**0.5, n_periods=1250, skewness=-3, kurtosis=10,
    ...                             sharpe_variance=0.5 / 250, n_trials=100)
    >>> round(dsr, 4)
    0.9004
    """
    benchmark = expected_maximum_sharpe(sharpe_variance, n_trials)
    return probabilistic_sharpe_ratio(
        sharpe, n_periods=n_periods, skewness=skewness, kurtosis=kurtosis, benchmark=benchmark
    )


def minimum_track_record_length(
    sharpe: float, *, skewness: float, kurtosis: float, confidence: float, benchmark: float = 0.0
) -> float:
    """Return how many periods a record with these figures needs to exceed a benchmark at a confidence level.

    Parameters
    ----------
    sharpe, benchmark : float
        Per period.
    skewness, kurtosis : float
        Of the returns; kurtosis 3 is normal.
    confidence : float
        In (0.5, 1), e.g. 0.95.

    Returns
    -------
    float
        Periods; NaN if `sharpe` does not exceed `benchmark` (no length is enough) or a figure is NaN.

    Raises
    ------
    MetricInputError
        If `confidence` is out of range.
    """
    require(0.5 < confidence < 1, "0.5 < confidence < 1", f"confidence={confidence}", "Use e.g. 0.95.")
    variance = _unit_variance(sharpe, skewness, kurtosis)
    if not (variance > 0 and sharpe > benchmark):
        return _NAN
    return 1 + variance * float(ndtri(confidence) / (sharpe - benchmark)) ** 2


def _unit_variance(sharpe: float, skewness: float, kurtosis: float) -> float:
    """Return the variance of the Sharpe estimate times ``T - 1``; NaN in, NaN out."""
    variance = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if variance < -1e-9:
        msg = (
            f"`kurtosis >= skewness ** 2 + 1` holds for every series, but got skewness={skewness}, "
            f"kurtosis={kurtosis}. Pass the kurtosis that is 3 for a normal series, not the excess."
        )
        raise MetricInputError(msg)
    return variance
