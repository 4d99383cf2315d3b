"""What may be said of an entry.  Owns the checks and the words; computes no statistic.

An entry *survives* only if every check that the data can answer is passed.  It is *weak* if its
out-of-sample profit is more than the number of candidates explains, yet a check fails.  Everything else is
*no evidence of an edge*, however high it ranks: a table always has a first place, also on noise.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopt.ranking.earlier import earlier_text
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import (
    NO_EVIDENCE,
    SURVIVES,
    WEAK,
    Check,
    Entry,
    Evidence,
    Figures,
    Statistics,
)


def make_checks(
    out_of_sample: Figures,
    evidence: Evidence,
    stressed_pnl: float,
    holdout: Figures | None,
    config: RankingConfig,
) -> list[Check]:
    """Return the checks of an entry, in the order in which they are shown."""
    level = f"{config.confidence:.0%}"
    dsr, low = evidence.deflated_sharpe, out_of_sample.sharpe_low
    repeats: bool | None = None
    if evidence.pbo is not None and evidence.probability_of_loss is not None:
        # Where all trials of a group are about equally good, PBO is 0.5 and choosing cannot go wrong.
        repeats = evidence.pbo < 0.5 or evidence.probability_of_loss <= 1 - config.confidence
    return [
        Check(
            name="out-of-sample profit",
            passed=out_of_sample.net_pnl > 0,
            value=out_of_sample.net_pnl,
            rule="the walk-forward path earns money after costs",
        ),
        Check(
            name="beyond luck",
            passed=dsr is not None and dsr >= config.confidence,
            value=dsr,
            rule=f"deflated Sharpe ratio at least {level}, {evidence.trials_counted} trials counted",
        ),
        Check(
            name="interval above zero",
            passed=low is not None and low > 0,
            value=low,
            rule=f"the lower end of the {level} block-bootstrap interval of the Sharpe ratio is above 0",
        ),
        Check(
            name="choice repeats",
            passed=repeats,
            value=evidence.pbo,
            rule=(
                "choosing in-sample does better than the median trial out of sample (PBO below 0.5), or the "
                f"chosen trial loses in at most {1 - config.confidence:.0%} of the splits"
            ),
        ),
        Check(
            name="survives higher costs",
            passed=stressed_pnl > 0,
            value=stressed_pnl,
            rule=(
                f"profit with a spread {config.stress.extra_spread_pips:g} pips wider and "
                f"{config.stress.commission_factor:g} times the commission"
            ),
        ),
        Check(
            name="holdout profit",
            passed=None if holdout is None else holdout.net_pnl > 0,
            value=None if holdout is None else holdout.net_pnl,
            rule="the emitted parameters earn money on the holdout, which nothing had read",
        ),
    ]


def judge(checks: Sequence[Check], evidence: Evidence, config: RankingConfig) -> str:
    """Return the verdict of an entry."""
    if all(check.passed is not False for check in checks):
        return SURVIVES
    adjusted = evidence.p_value_adjusted
    return WEAK if adjusted is not None and adjusted <= 1 - config.confidence else NO_EVIDENCE


def headline(entries: Sequence[Entry], statistics: Statistics) -> str:
    """Return the one sentence a reader in a hurry takes away."""
    tried = f"{statistics.trials} trial{'' if statistics.trials == 1 else 's'}"
    if statistics.earlier_trials:
        tried += f" ({earlier_text(statistics.earlier_trials)})"
    if not entries:
        return f"Of {tried}, none could be ranked; the reasons are listed."
    passing = [entry.name for entry in entries if entry.survives]
    if passing:
        return f"Of {tried}, {len(passing)} of {len(entries)} entries pass every check: {', '.join(passing)}."
    weak = sum(entry.verdict == WEAK for entry in entries)
    if weak:
        return f"Of {tried}, no entry passes every check; {weak} of {len(entries)} show weak evidence."
    return f"Of {tried}, nothing beats chance: no entry shows evidence of an edge."
