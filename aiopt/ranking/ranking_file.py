"""What a ranking says: the content of ``ranking.json``.

Owns the records only.  Money is in the account's currency, Sharpe and Sortino ratios are annualised unless
their name says otherwise, times are UTC nanoseconds.  None means "not defined on this data", never zero.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aiopt.errors import InputError
from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.ranking.earlier import EarlierOpenings, EarlierTrials
from aiopt.ranking.luck_record import LuckTest
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.series import Symbol

SURVIVES = "survives"
WEAK = "weak"
NO_EVIDENCE = "no evidence of an edge"


FORMAT = 2
"""Of ``ranking.json``.  2 counts what margin refused, cut and ruined, per segment."""

FORMAT_1_NOTE = (
    "This ranking has format 1, of an earlier version: a trial with a refused entry or a lost account "
    "anywhere had failed as a whole, so none is counted here; stops filled at their trigger, nights cost "
    "nothing, and the cost stress took 0.0001 for a pip, whatever the pair. Repeat the run, and this "
    "version judges it."
)
"""The rule by which format 1 is read: counts it lacks are 0, because such trials were not ranked."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the records."""


class Figures(Record, frozen=True, kw_only=True):
    """Figures of one stretch of profits.

    Attributes
    ----------
    net_pnl : float
        Change of equity.
    sharpe, sortino : float or None
        Of the profit per period, annualised.
    sharpe_low, sharpe_high : float or None
        Block-bootstrap interval of `sharpe`; knows nothing of selection.  Out of sample and holdout only.
    profit_factor, win_rate, expectancy : float or None
        Over closed trades, after commission.
    max_drawdown : float or None
        Fraction of the peak in (-1, 0], on the account that starts with the initial balance.
    max_drawdown_amount : float
        At least 0.
    trades, wins : int
        Closed trades, and those with a profit.
    gross_profit, gross_loss, commission : float
        At least 0.
    units : float
        Sum of the trades' sizes, units of base currency.
    periods : int
        Length of the stretch in periods, closed hours included.
    refused, capped : int
        Entries the margin refused, and entries whose size by risk it cut.
    ruined : int
        Segments whose account was lost.
    """

    net_pnl: float
    sharpe: float | None
    sortino: float | None
    profit_factor: float | None
    win_rate: float | None
    expectancy: float | None
    max_drawdown: float | None
    max_drawdown_amount: float
    trades: int
    wins: int
    gross_profit: float
    gross_loss: float
    commission: float
    units: float
    periods: int
    sharpe_low: float | None = None
    sharpe_high: float | None = None
    refused: int = 0
    capped: int = 0
    ruined: int = 0


class Component(Record, frozen=True, kw_only=True):
    """One part of the score: `value` in [0, 1] times `weight`; `raw` is the figure `value` was made from."""

    name: str
    value: float
    weight: float
    raw: float | None


class FoldResult(Record, frozen=True, kw_only=True):
    """One walk-forward step of an entry: the trial chosen on `train`, and what it did on `test`.

    Attributes
    ----------
    index : int
        0-based.
    train_start_ns, train_stop_ns, test_start_ns, test_stop_ns : int
        Half-open stretches.
    trial_id : str
        The trial chosen.
    params : dict
        Its parameters.
    in_sample_sharpe, out_of_sample_sharpe : float or None
        On the train window and the test segment.
    in_sample_trades, trades : int
        On the train window and the test segment.
    net_pnl : float
        On the test segment.
    """

    index: int
    train_start_ns: int
    train_stop_ns: int
    test_start_ns: int
    test_stop_ns: int
    trial_id: str
    params: dict[str, Any]
    in_sample_sharpe: float | None
    in_sample_trades: int
    out_of_sample_sharpe: float | None
    net_pnl: float
    trades: int


class Evidence(Record, frozen=True, kw_only=True):
    """How likely the out-of-sample result is luck.

    Attributes
    ----------
    deflated_sharpe : float or None
        Probability that the true Sharpe ratio exceeds what the best of `trials_counted` trials without skill
        shows.  The variance of such trials' ratios is taken from theory, ``1 / (T - 1)``; favourable skewness
        is not credited (`aiopt.evaluation.deflated.cautious_sharpe_probability`).
    deflated_sharpe_cross_section : float or None
        The published formula, with the variance observed across all trials, which differences in costs widen.
    trials_counted : int
        All trials of the sweep, and those of others on the same data that the ledger knows.
    expected_maximum_sharpe : float
        What `deflated_sharpe` was measured against, annualised.
    probabilistic_sharpe : float or None
        Probability that the true ratio exceeds 0, had this been the only candidate; as cautious.
    p_value, p_value_adjusted : float or None
        ``1 - probabilistic_sharpe``, and adjusted for the number of candidates (Šidák).
    candidates : int
        Candidates that were compared out of sample.
    bootstrap_p_value : float or None
        One-sided, block bootstrap of the mean; unadjusted.
    mean_pnl_low, mean_pnl_high : float or None
        Block-bootstrap interval of the profit per period.
    pbo, probability_of_loss : float or None
        Of choosing inside the group: see `aiopt.evaluation.pbo`.
    selection_percentile : float or None
        Share of the group's trials with a lower out-of-sample Sharpe ratio; choosing blindly gives 0.5.
    min_track_record_periods : float or None
        Periods needed for `probabilistic_sharpe` to reach the confidence level.
    drawdown_p95 : float or None
        95th percentile of the deepest fall over random orders of the periods, quote currency.
    holdout_p_value, holdout_p_value_adjusted : float or None
        As above for the holdout of the emitted parameters, adjusted for the number of entries shown.
    p_value_family_wise : float or None
        Chance that the best of all candidates compared shows as much without an edge: max-T with step-down,
        see `aiopt.evaluation.multiple_testing`.  None also in files of versions without the test.
    t_statistic : float or None
        Mean over standard error of the path, which `p_value_family_wise` judges.
    """

    deflated_sharpe: float | None
    deflated_sharpe_cross_section: float | None
    trials_counted: int
    expected_maximum_sharpe: float
    probabilistic_sharpe: float | None
    p_value: float | None
    p_value_adjusted: float | None
    candidates: int
    bootstrap_p_value: float | None
    mean_pnl_low: float | None
    mean_pnl_high: float | None
    pbo: float | None
    probability_of_loss: float | None
    selection_percentile: float | None
    min_track_record_periods: float | None
    drawdown_p95: float | None
    holdout_p_value: float | None
    holdout_p_value_adjusted: float | None
    p_value_family_wise: float | None = None
    t_statistic: float | None = None


class Check(Record, frozen=True, kw_only=True):
    """One question a verdict rests on; `passed` is None where the data cannot answer it."""

    name: str
    passed: bool | None
    value: float | None
    rule: str


class Stress(Record, frozen=True, kw_only=True):
    """Out-of-sample profit under higher costs."""

    extra_spread_pips: float
    commission_factor: float
    net_pnl: float


class Entry(Record, frozen=True, kw_only=True):
    """One ranked entry.

    Attributes
    ----------
    rank : int
        1 is best.
    name : str
        Unique and safe as a file name, e.g. ``01_ema_cross_atr_5m``.
    lane : int
        1: follows the best trial of every train window, 2: the second best, …
    trial_id, params, spec, spec_hash :
        The emitted strategy: the lane's choice on the last train window before the holdout.
    score : float
        In [0, 1]; the sum of ``weight * value`` over `components`.
    in_sample : Figures
        The emitted parameters on the window they were chosen on.
    out_of_sample : Figures
        The walk-forward path: what each fold chose, on its test segment.
    holdout : Figures or None
        The emitted parameters on the holdout; None if there is none.  No part of score or rank.
    out_of_sample_ts_ns, out_of_sample_pnl : list
        Opening time of each period, and its profit.
    holdout_ts_ns, holdout_pnl : list
        The same for the holdout.
    break_even_extra_spread_pips : float or None
        How much wider the spread may be until the out-of-sample profit is gone.
    verdict : str
        `SURVIVES`, `WEAK` or `NO_EVIDENCE`.
    instrument : str or unset
        What is traded, in a run of several markets.
    """

    rank: int
    name: str
    group: str
    family: str
    timeframe: str
    lane: int
    trial_id: str
    params: dict[str, Any]
    spec: dict[str, Any]
    spec_hash: str
    score: float
    components: list[Component]
    in_sample: Figures
    out_of_sample: Figures
    holdout: Figures | None
    folds: list[FoldResult]
    out_of_sample_ts_ns: list[int]
    out_of_sample_pnl: list[float]
    holdout_ts_ns: list[int]
    holdout_pnl: list[float]
    stress: list[Stress]
    break_even_extra_spread_pips: float | None
    evidence: Evidence
    checks: list[Check]
    verdict: str
    survives: bool
    instrument: Symbol = msgspec.UNSET


class Rejection(Record, frozen=True, kw_only=True):
    """A candidate that is not among the entries, and why.

    Attributes
    ----------
    name : str
        ``GROUP#LANE``, or the group where it has no candidate at all.
    lane : int or None
        1-based; None for a whole group.
    trial_id : str or None
        The trial it would have emitted.
    trades : int or None
        Trades out of sample.
    score : float or None
        None if it has none.
    instrument : str or unset
        What is traded, in a run of several markets.
    p_value_family_wise : float or None
        As in `Evidence`; None where nothing is claimed of the candidate: too few trades, or no lane at all.
    """

    name: str
    group: str
    family: str
    timeframe: str
    lane: int | None
    trial_id: str | None
    reason: str
    trades: int | None
    score: float | None
    instrument: Symbol = msgspec.UNSET
    p_value_family_wise: float | None = None


class GroupStatistics(Record, frozen=True, kw_only=True):
    """The trials of one group; fields as in `Statistics`."""

    group: str
    family: str
    timeframe: str
    trials: int
    failed: int
    candidates: int
    share_profitable: float | None
    median_pnl: float | None
    median_sharpe: float | None
    best_sharpe: float | None
    rank_correlation: float | None
    pbo: float | None
    probability_of_loss: float | None
    instrument: Symbol = msgspec.UNSET


class Statistics(Record, frozen=True, kw_only=True):
    """The sweep as a whole: the baseline against which an entry has to be seen.

    Out-of-sample figures are over the test segments of all folds.  Doing nothing earns 0.

    Attributes
    ----------
    trials, succeeded, failed : int
        All count as tried.
    candidates : int
        Lanes compared out of sample.
    effective_trials : float or None
        Independent trials the correlated ones are worth; information only.
    sharpe_variance_theory, sharpe_variance_cross_section : float or None
        Variance of per-period out-of-sample Sharpe ratios: of trials without skill, and across trials.
    expected_maximum_sharpe : float
        Annualised Sharpe ratio that the best of all trials shows out of sample without skill.
    share_profitable : float or None
        Share of the succeeded trials that earned money out of sample.
    median_pnl, median_sharpe : float or None
        The median trial out of sample: what choosing at random gives.
    best_sharpe : float or None
        The best trial out of sample, known only in hindsight.
    rank_correlation : float or None
        Spearman, in-sample against out-of-sample Sharpe ratio, mean over folds; each fold's train window and
        test segment are disjoint.
    pbo, probability_of_loss : float or None
        Of choosing among all trials of all groups.
    pbo_purge_periods : int
        Periods purged from an in-sample block where it meets an out-of-sample one: the longest holding, at
        most a quarter of a block.
    refused_trials, capped_trials, ruined_trials : int
        Trials whose entries the margin refused, whose sizes it cut, or who lost their account, in some
        development segment.
    earlier_trials : EarlierTrials or unset
        Trials of others on the same data, which count too; unset where there are none.
    luck : LuckTest or None
        The test of all candidates together; None in files of versions without it.
    """

    trials: int
    succeeded: int
    failed: int
    candidates: int
    effective_trials: float | None
    sharpe_variance_theory: float
    sharpe_variance_cross_section: float | None
    expected_maximum_sharpe: float
    share_profitable: float | None
    median_pnl: float | None
    median_sharpe: float | None
    best_sharpe: float | None
    rank_correlation: float | None
    pbo: float | None
    probability_of_loss: float | None
    periods_per_year: float
    groups: list[GroupStatistics]
    refused_trials: int = 0
    capped_trials: int = 0
    ruined_trials: int = 0
    earlier_trials: EarlierTrials | msgspec.UnsetType = msgspec.UNSET
    luck: LuckTest | None = None
    pbo_purge_periods: int = 0


class Ranking(Record, frozen=True, kw_only=True):
    """The result of ranking all trials of a run.

    Attributes
    ----------
    entries : list of Entry
        Best first, at most ``config.top``.
    rejected : list of Rejection
        Every other candidate with its reason, sorted by name.
    headline : str
        One sentence; says plainly when nothing beats chance.
    score_formula : str
        The score in words, with the weights used.
    holdout_openings : tuple of EarlierOpenings or unset
        Who had seen the holdout of the entries' markets before; unset where nobody had.
    """

    headline: str
    entries: list[Entry]
    rejected: list[Rejection]
    statistics: Statistics
    plan: WalkForwardPlan
    config: RankingConfig
    score_formula: str
    format: int = FORMAT
    holdout_openings: tuple[EarlierOpenings, ...] | msgspec.UnsetType = msgspec.UNSET


def read_ranking(document: dict[str, Any]) -> tuple[Ranking, str]:
    """Return the ranking of a ``ranking.json`` of any format this version knows, and what to know of it.

    Parameters
    ----------
    document : dict
        The decoded file.

    Returns
    -------
    Ranking
        Of format 1: what that format did not hold is what its rule says, see `FORMAT_1_NOTE`.
    str
        One sentence on an older format for whoever reads the figures; empty for the present one.

    Raises
    ------
    InputError
        If the format is another.
    msgspec.ValidationError
        If a field is missing or of another type.
    """
    number = document.get("format")
    if number not in (1, FORMAT):
        msg = (
            f"This ranking has format {number!r}; this version of aiopt reads 1 and {FORMAT}. "
            "Read it with the version that state.json names, or repeat the run with --force."
        )
        raise InputError(msg)
    return msgspec.convert(document, Ranking), "" if number == FORMAT else FORMAT_1_NOTE
