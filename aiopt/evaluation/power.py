"""What a sweep could find at all, known before it starts.

Owns the smallest true Sharpe ratio that each of the two tests against luck would recognise, from the length
of the out-of-sample path and the number of paths or trials alone.  Knows no result.
"""

from __future__ import annotations

import math

from scipy.special import ndtri

from aiopt.evaluation.arrays import require
from aiopt.evaluation.deflated import expected_maximum_sharpe
from aiopt.evaluation.multiple_testing import NO_EARLIER, EarlierTests

POWER = 0.8
"""How often what is stated would be found."""

PLAUSIBLE_SHARPE = 3.0
"""Annualised; hardly a strategy keeps more for years after costs.  A judgement, used for a warning alone."""


def detectable_by_comparison(
    *,
    n_periods: int,
    periods_per_year: float,
    n_paths: int,
    confidence: float = 0.95,
    power: float = 0.8,
    earlier: EarlierTests = NO_EARLIER,
) -> float:
    """Return the smallest true Sharpe ratio that the max-T test of all candidates finds with a given power.

    One of `n_paths` paths has the edge.  The best of so many independent paths without one stays below
    ``c = Φ⁻¹(confidence^(1 / n_paths))`` with the given confidence, in standard errors of the mean, and the
    path with the edge passes it with the given power if its true ratio is ``(c + Φ⁻¹(power)) / √years``.
    Independent is the worst case: of paths that move together the best is less high.  Holds for profits
    that are not far from normal; fat tails need more, and so does a choice that changes from fold to fold.

    Parameters
    ----------
    n_periods : int
        Length of the out-of-sample path, at least 2.
    periods_per_year : float
        Positive.
    n_paths : int
        Candidates that will be compared out of sample, at least 1.
    confidence, power : float
        In (0, 1).
    earlier : EarlierTests
        What was tested on the same data before: as in `aiopt.evaluation.multiple_testing.compare_paths` each
        family counts for `n_paths` more paths, and each single for one.

    Returns
    -------
    float
        Annualised.

    Raises
    ------
    MetricInputError
        If an argument is out of range.
    """
    _check(n_periods, periods_per_year, confidence, power)
    require(n_paths >= 1, "n_paths >= 1", f"n_paths={n_paths}", "Count every candidate compared.")
    critical = ndtri(confidence ** (1 / paths_counted(n_paths, earlier)))
    return float((critical + ndtri(power)) / math.sqrt(n_periods / periods_per_year))


def paths_counted(n_paths: int, earlier: EarlierTests) -> int:
    """Return how many independent paths the best is looked for among, those of earlier tests too.

    Examples
    --------
    >>> paths_counted(10, EarlierTests(families=2, singles=3))
    33
    """
    return n_paths * (1 + earlier.families) + earlier.singles


def detectable_sharpe(
    *,
    n_periods: int,
    periods_per_year: float,
    n_trials: int,
    confidence: float = 0.95,
    power: float = 0.8,
) -> float:
    """Return the smallest true Sharpe ratio whose deflated Sharpe ratio passes with a given power.

    A trial without skill has a variance of ``1 / (T - 1)`` of its Sharpe ratio per period, and an observed
    ratio passes from ``SR0 + Φ⁻¹(confidence) / √(T - 1)`` on, with ``SR0`` the `expected_maximum_sharpe` of
    that variance.  The true ratio must lie ``Φ⁻¹(power) / √(T - 1)`` above that.  Holds as
    `detectable_by_comparison` does.

    Parameters
    ----------
    n_periods : int
        Length of the out-of-sample path, at least 2.
    periods_per_year : float
        Positive.
    n_trials : int
        Trials that count, at least 1.
    confidence, power : float
        In (0, 1).

    Returns
    -------
    float
        Annualised.

    Raises
    ------
    MetricInputError
        If an argument is out of range.
    """
    _check(n_periods, periods_per_year, confidence, power)
    deviation = 1 / math.sqrt(n_periods - 1)
    luck = expected_maximum_sharpe(deviation**2, n_trials)
    return float((luck + (ndtri(confidence) + ndtri(power)) * deviation) * math.sqrt(periods_per_year))


def power_lines(
    *,
    n_periods: int,
    periods_per_year: float,
    n_trials: int,
    n_paths: int,
    confidence: float,
    deflated: bool = False,
    earlier: EarlierTests = NO_EARLIER,
) -> list[str]:
    """Return what a sweep could find, as sentences: two, or three where hardly a strategy is that good.

    Parameters as in `detectable_by_comparison` and `detectable_sharpe`; `deflated` says which of the two the
    verdict asks.  Earlier tests count in both: `n_trials` has their trials already.  Nothing is said of fewer
    than two periods.
    """
    if n_periods < 2:
        return []
    compared = detectable_by_comparison(
        n_periods=n_periods,
        periods_per_year=periods_per_year,
        n_paths=n_paths,
        confidence=confidence,
        power=POWER,
        earlier=earlier,
    )
    strict = detectable_sharpe(
        n_periods=n_periods,
        periods_per_year=periods_per_year,
        n_trials=n_trials,
        confidence=confidence,
        power=POWER,
    )
    years = f"{n_periods / periods_per_year:.2g} years out of sample"
    candidates = f"{n_paths:,} candidate{'' if n_paths == 1 else 's'}"
    if before := paths_counted(n_paths, earlier) - n_paths:
        candidates += f" and {before:,} of earlier tests"
    trials = f"{n_trials:,} trial{'' if n_trials == 1 else 's'}"
    if deflated:
        least, head = strict, f"{trials} counted, {years}"
        second = f"every trial counts as a try; the test of {candidates}, beside it, asks for {compared:.1f}"
    else:
        least, head = compared, f"{candidates} compared, {years}"
        second = (
            "candidates that move together need less; the deflated Sharpe ratio, beside it, would ask for "
            f"{strict:.1f} ({trials})"
        )
    lines = [
        f"{head}: a true Sharpe ratio of {least:.1f} would pass the check against luck {POWER:.0%} of the "
        "time, a smaller one less often",
        second,
    ]
    if least > PLAUSIBLE_SHARPE:
        lines.append(
            f"WARNING: hardly a strategy keeps a Sharpe ratio above {PLAUSIBLE_SHARPE:g}, so a real edge "
            "will probably look like luck here. Give a longer span, or "
            + ("try fewer points." if deflated else "fewer families, timeframes or lanes.")
        )
    return lines


def _check(n_periods: int, periods_per_year: float, confidence: float, power: float) -> None:
    require(n_periods >= 2, "n_periods >= 2", f"n_periods={n_periods}", "Use a longer span.")
    require(periods_per_year > 0, "periods_per_year > 0", f"{periods_per_year}", "Pass periods per year.")
    for name, value in (("confidence", confidence), ("power", power)):
        require(0 < value < 1, f"0 < {name} < 1", f"{name}={value}", "Use e.g. 0.95 and 0.8.")
