"""What may be said of an entry.  Owns the checks and the words; computes no statistic.

An entry *survives* only if every check that the data can answer is passed.  It is *weak* if its
out-of-sample profit is more than the best of all candidates shows by luck, yet a check fails.  Everything
else is *no evidence of an edge*, however high it ranks: a table always has a first place, also on noise.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopt.ranking.earlier import earlier_text
from aiopt.ranking.ranking_config import DEFLATED, RankingConfig
from aiopt.ranking.ranking_file import (
    NO_EVIDENCE,
    SURVIVES,
    WEAK,
    Check,
    Entry,
    Evidence,
    Figures,
    Ranking,
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
    low = out_of_sample.sharpe_low
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
        _beyond_luck(evidence, config),
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


def _beyond_luck(evidence: Evidence, config: RankingConfig) -> Check:
    """Return the check that asks whether luck explains the path; without an answer it is not passed."""
    if config.evidence == DEFLATED:
        dsr = evidence.deflated_sharpe
        return Check(
            name="beyond luck",
            passed=dsr is not None and dsr >= config.confidence,
            value=dsr,
            rule=(
                f"deflated Sharpe ratio at least {config.confidence:.0%}, "
                f"{evidence.trials_counted:,} trials counted"
            ),
        )
    return Check(
        name="beyond luck",
        passed=_more_than_luck(evidence, config),
        value=evidence.p_value_family_wise,
        rule=(
            f"the best of all {evidence.candidates} candidates compared shows as much without an edge in at "
            f"most {1 - config.confidence:.0%} of the cases (max-T p-value)"
        ),
    )


def _more_than_luck(evidence: Evidence, config: RankingConfig) -> bool:
    p_value = evidence.p_value_family_wise
    # 1 - 0.95 is a little more than 0.05, and 1 - 0.9 a little less than 0.1.
    return p_value is not None and p_value <= 1 - config.confidence + 1e-12


def judge(checks: Sequence[Check], evidence: Evidence, config: RankingConfig) -> str:
    """Return the verdict of an entry."""
    if all(check.passed is not False for check in checks):
        return SURVIVES
    return WEAK if _more_than_luck(evidence, config) else NO_EVIDENCE


def headline(entries: Sequence[Entry], statistics: Statistics) -> str:
    """Return the one sentence a reader in a hurry takes away."""
    tried = f"{statistics.trials:,} trial{'' if statistics.trials == 1 else 's'}"
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
    needed = _needed(entries, statistics)
    return f"Of {tried}, nothing beats chance: no entry shows evidence of an edge{needed}."


def luck_line(ranking: Ranking) -> str:
    """Return in one line what the test of all candidates together says; empty where there is none."""
    luck = ranking.statistics.luck
    if luck is None:
        return ""
    if luck.note:
        return f"Luck: not tested, {luck.note}."
    found = [entry.evidence.p_value_family_wise for entry in ranking.entries]
    found += [rejection.p_value_family_wise for rejection in ranking.rejected]
    known = [value for value in found if value is not None]
    if not known:
        return ""
    beside = [
        f"{name} {value:.3f}"
        for name, value in (("Reality Check", luck.reality_check_p_value), ("SPA", luck.spa_p_value))
        if value is not None
    ]
    others = f" ({', '.join(beside)})" if beside else ""
    return (
        f"Luck: the best of {luck.candidates} candidates has a max-T p-value of {min(known):.3f}{others}; "
        f"{1 - ranking.config.confidence:.2g} and less is evidence."
    )


def _needed(entries: Sequence[Entry], statistics: Statistics) -> str:
    """Return what would have been needed, as the end of a sentence; empty where it is not known."""
    luck = statistics.luck
    if luck is None or luck.needed_sharpe is None:
        return ""
    shown = [entry.out_of_sample.sharpe for entry in entries if entry.out_of_sample.sharpe is not None]
    best = f", and the best shows {max(shown):.1f}" if shown else ""
    return f" (luck alone explains Sharpe ratios up to about {luck.needed_sharpe:.1f} here{best})"
