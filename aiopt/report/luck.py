"""The test of all candidates together against luck, in plain words.  Owns the wording; computes nothing."""

from __future__ import annotations

from aiopt.ranking.luck_record import LuckTest
from aiopt.ranking.ranking_config import DEFLATED, RankingConfig
from aiopt.report.document import Fact


def luck_facts(luck: LuckTest | None, config: RankingConfig) -> list[Fact]:
    """Return what was compared, how, and what the best of all would have needed; empty without a test."""
    if luck is None:
        return []
    by = "deflated Sharpe ratio" if config.evidence == DEFLATED else "max-T p-value of each candidate"
    facts = [
        Fact(name="Beyond luck is judged by", value=by, note="the setting ranking.evidence"),
        Fact(name="Candidates compared", value=f"{luck.candidates:,}", note=_left_out(luck)),
    ]
    if luck.tests > 1 or luck.backtests:
        facts.append(
            Fact(
                name="Tests on this data",
                value=f"{luck.tests:,}" + (f" and {luck.backtests:,} of one path" if luck.backtests else ""),
                note="earlier runs, sweeps and backtests count; p-values are adjusted for them (Šidák)",
            )
        )
    if luck.note:
        return [*facts, Fact(name="Not tested", value=luck.note)]
    if luck.needed_sharpe is not None and luck.critical_t is not None:
        facts.append(
            Fact(
                name="Needed Sharpe ratio",
                value=f"about {luck.needed_sharpe:.1f}",
                note=(
                    f"out of sample, annualised: the best of as many candidates without an edge stays below "
                    f"it in {config.confidence:.0%} of the cases (t = {luck.critical_t:.2f})"
                ),
            )
        )
    for name, value, what in (
        ("Reality Check", luck.reality_check_p_value, "White: the best profit, one p-value for all"),
        ("SPA", luck.spa_p_value, "Hansen: the best t statistic, plain losers count less"),
    ):
        if value is not None:
            facts.append(Fact(name=f"{name} p-value", value=f"{value:.3f}", note=what))
    facts.append(
        Fact(
            name="Resampled",
            value=f"{luck.resamples:,} times",
            note=(
                f"{luck.units:,} stretches of {luck.unit} in which a candidate earned or lost, in blocks of "
                f"{luck.block_length_units:.1f} on average, the same for all; seed {luck.seed}"
            ),
        )
    )
    return facts


def _left_out(luck: LuckTest) -> str:
    parts = [
        f"{count:,} {what}"
        for count, what in (
            (luck.thin, "with too few trades for a p-value of their own"),
            (luck.flat, "whose profit does not vary"),
        )
        if count
    ]
    return f"of them {' and '.join(parts)}" if parts else "every lane of every group, near-duplicates too"
