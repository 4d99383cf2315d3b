"""What ``ranking.json`` keeps of the test of all candidates against luck.  Owns the record only."""

from __future__ import annotations

import msgspec


class LuckTest(msgspec.Struct, frozen=True, kw_only=True):
    """How the candidates were tested together against luck, see `aiopt.evaluation.multiple_testing`.

    Attributes
    ----------
    candidates : int
        Out-of-sample paths compared: every lane, those rejected and near-duplicates too.
    flat : int
        Of them, how many do not vary (no trade, or the same profit always): they add nothing.
    thin : int
        Of them, how many have too few trades to be ranked: compared, without a p-value of their own.
    unit : str
        Length of the stretches resampled, e.g. ``"1d"``.
    units : int
        Stretches in which some candidate earned or lost.
    block_length_units : float
        Expected length of a block, in units.
    resamples, seed : int
        Of the bootstrap.
    tests : int
        This one and one for every earlier run and sweep on the same data.
    backtests : int
        Earlier single backtests on it: tests of one path.  P-values of candidates are adjusted for both.
    critical_t : float or None
        The t statistic that the best of all candidates needs at the level of confidence; None where nothing
        could be tested.
    needed_sharpe : float or None
        About the annualised out-of-sample Sharpe ratio that is.
    reality_check_p_value, spa_p_value : float or None
        White's and Hansen's, of the best candidate; not adjusted for earlier tests.
    note : str
        Why nothing could be tested; empty otherwise.
    """

    candidates: int
    flat: int
    thin: int
    unit: str
    units: int
    block_length_units: float
    resamples: int
    seed: int
    critical_t: float | None
    needed_sharpe: float | None
    reality_check_p_value: float | None
    spa_p_value: float | None
    note: str = ""
    tests: int = 1
    backtests: int = 0
