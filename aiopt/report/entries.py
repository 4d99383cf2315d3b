"""The report's view of the ranked entries: ranking, record of trades, trials and script side by side.

Owns the selection and wording of an entry's facts.  The figures are those of ``ranking.json``; nothing here
is judged anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from aiopt.evaluation.folds import WalkForwardPlan
from aiopt.evaluation.rollover import held_over, held_over_text
from aiopt.market.instrument import Instrument
from aiopt.ranking import ranking_file as ranked
from aiopt.ranking.figures import account_events
from aiopt.report.breakdown import by_hour, by_weekday, heat_map
from aiopt.report.document import (
    Check,
    Curve,
    Entry,
    Estimate,
    Fact,
    Fold,
    HeatMap,
    Rejected,
    ScorePart,
    Stretch,
    Window,
)
from aiopt.report.strategy_rules import rules
from aiopt.report.svg import short
from aiopt.report.sweep import Trials
from aiopt.runs import EntryRecord
from aiopt.trades import Trade
from aiopt.utc import DAY_NS

_PART_NAMES = {
    "deflated_sharpe": "Deflated Sharpe",
    "profit_factor": "Profit factor",
    "drawdown": "Drawdown",
    "consistency": "Consistency",
    "cost_stress": "Cost stress",
}
_PART_FIGURES = {
    "deflated_sharpe": "probability {}",
    "profit_factor": "factor {}",
    "drawdown": "profit {} × drawdown",
    "consistency": "{} of folds",
    "cost_stress": "{} left",
}


@dataclass(frozen=True)
class AccountView:
    """The account of a run, and what it traded.

    Attributes
    ----------
    initial_balance : float
        Where the walk-forward path starts.
    currency : str
        Account currency.
    pair : Instrument or None
        What was traded; None where the run does not say.
    swap_charged : bool
        Whether nights cost something in the backtest.
    """

    initial_balance: float
    currency: str
    pair: Instrument | None
    swap_charged: bool


def entry_view(
    entry: ranked.Entry,
    ranking: ranked.Ranking,
    *,
    record: EntryRecord | None,
    trials: Trials | None,
    pine: str | None,
    account: AccountView,
) -> Entry:
    """Return what the report shows of one ranked entry.

    Parameters
    ----------
    entry : ranked.Entry
        From the ranking.
    ranking : ranked.Ranking
        The whole ranking: plan, number of trials.
    record : EntryRecord or None
        Trades and equity of the emitted parameters; None if they were not written yet.
    trials : Trials or None
        For the parameter map.
    pine : str or None
        The emitted script.
    account : AccountView
        Of the run.
    """
    trades = [] if record is None else record.trades
    return Entry(
        rank=entry.rank,
        name=entry.name,
        family=entry.family,
        timeframe=entry.timeframe,
        instrument=entry.instrument,
        trial_id=entry.trial_id,
        params=entry.params,
        score=entry.score,
        parts=[_part(component) for component in entry.components],
        windows=_windows(entry),
        deflated_sharpe=entry.evidence.deflated_sharpe,
        p_value_family_wise=entry.evidence.p_value_family_wise,
        pbo=entry.evidence.pbo,
        survives=entry.survives,
        grade=entry.verdict,
        verdict=verdict_sentence(entry),
        checks=[_check(check) for check in entry.checks],
        evidence=_evidence(entry, ranking, account.currency),
        stress=_stress(entry, account.currency),
        rollover=_rollover(trades, account.pair, swap_charged=account.swap_charged, account=account.currency),
        stop_fills="" if record is None else record.stop_fills,
        folds=[_fold(fold) for fold in entry.folds],
        walk_forward=_walk_forward(entry, ranking.plan, account.initial_balance),
        emitted=None if record is None else Curve(ts_ns=record.equity_ts_ns, equity=record.equity),
        trades=trades,
        heat_map=None if trials is None else _heat_map(entry, trials),
        by_hour=by_hour(trades),
        by_weekday=by_weekday(trades),
        pine=pine,
        spec_hash=entry.spec_hash,
        rules=rules(entry.spec),
    )


def rejected_view(rejection: ranked.Rejection) -> Rejected:
    """Return what the report shows of a candidate that was left out."""
    return Rejected(
        name=rejection.name,
        family=rejection.family,
        timeframe=rejection.timeframe,
        instrument=rejection.instrument,
        reason=rejection.reason,
        trades=rejection.trades,
        score=rejection.score,
        p_value_family_wise=rejection.p_value_family_wise,
    )


def stretches(plan: WalkForwardPlan) -> list[Stretch]:
    """Return the parts of the time axis: what only trains, each fold's test segment, the holdout."""
    first_ns, _ = plan.span_ns(plan.folds[0].test)
    found = [Stretch(kind="train", label="Train only", start_ns=plan.start_ns, stop_ns=first_ns)]
    found += [
        Stretch(
            kind="oos",
            label=f"Fold {fold.index + 1}",
            start_ns=start_ns,
            stop_ns=stop_ns,
        )
        for fold in plan.folds
        for start_ns, stop_ns in (plan.span_ns(fold.test),)
    ]
    if plan.holdout:
        found.append(
            Stretch(kind="holdout", label="Holdout", start_ns=plan.holdout_start_ns, stop_ns=plan.stop_ns)
        )
    return found


def verdict_sentence(entry: ranked.Entry) -> str:
    """Return the verdict with the checks that decided it."""
    failed = [check.name for check in entry.checks if check.passed is False]
    unknown = [check.name for check in entry.checks if check.passed is None]
    text = entry.verdict[:1].upper() + entry.verdict[1:]
    if failed:
        text += f". Fails: {', '.join(_lower(name) for name in failed)}"
    if unknown:
        text += f". Not answerable on this data: {', '.join(_lower(name) for name in unknown)}"
    if not failed and not unknown:
        text += f": passes all {len(entry.checks)} checks"
    return text + "."


def _lower(name: str) -> str:
    """Return a name as it stands inside a sentence; abbreviations such as PBO stay."""
    first = name.replace("_", " ")
    return first if first[:2].isupper() else first[:1].lower() + first[1:]


def _part(component: ranked.Component) -> ScorePart:
    name = _PART_NAMES.get(component.name, component.name.replace("_", " "))
    figure = _PART_FIGURES.get(component.name, "{}")
    raw = "" if component.raw is None else figure.format(short(component.raw))
    return ScorePart(name=name, value=component.value, weight=component.weight, raw=raw)


def _check(check: ranked.Check) -> Check:
    name = check.name.replace("_", " ")
    return Check(
        name=name[:1].upper() + name[1:], passed=check.passed, value=_finite(check.value), rule=check.rule
    )


def _windows(entry: ranked.Entry) -> list[Window]:
    figures = {
        "in_sample": entry.in_sample,
        "out_of_sample": entry.out_of_sample,
        "holdout": entry.holdout,
    }
    return [
        Window(
            kind=kind,
            sharpe=Estimate(value=one.sharpe, low=one.sharpe_low, high=one.sharpe_high),
            net_pnl=one.net_pnl,
            profit_factor=one.profit_factor,
            win_rate=one.win_rate,
            max_drawdown=one.max_drawdown,
            trades=one.trades,
        )
        for kind, one in figures.items()
        if one is not None
    ]


def _evidence(entry: ranked.Entry, ranking: ranked.Ranking, currency: str) -> list[Fact]:
    known = entry.evidence
    out = entry.out_of_sample
    days = ranking.plan.period_ns / DAY_NS
    found = _probabilities(known)
    found += [
        Fact(
            name=f"Account, {kind}",
            value="lost" if one.ruined else "margin reached",
            note=events.strip(" ()"),
        )
        for kind, one in (
            ("in-sample", entry.in_sample),
            ("out of sample", entry.out_of_sample),
            ("holdout", entry.holdout),
        )
        if one is not None and (events := account_events(one))
    ]
    if known.selection_percentile is not None:
        share = f"{100 * known.selection_percentile:.0f}%"
        found.append(
            Fact(name="Better than", value=share, note="of the group's trials; a blind choice gives 50%")
        )
    if known.min_track_record_periods is not None:
        needed, had = known.min_track_record_periods * days, out.periods * days
        found.append(
            Fact(
                name="Record needed", value=f"{needed:,.0f} days", note=f"out of sample there are {had:,.0f}"
            )
        )
    if known.drawdown_p95 is not None:
        note = f"in one of 20 random orders; it was {out.max_drawdown_amount:,.2f}"
        found.append(Fact(name="Drawdown by luck", value=f"{known.drawdown_p95:,.2f} {currency}", note=note))
    return found


def _probabilities(known: ranked.Evidence) -> list[Fact]:
    facts = [
        _probability(
            "p-value, max-T",
            known.p_value_family_wise,
            f"chance that the best of {known.candidates} candidates shows as much without an edge",
        ),
        _probability(
            "Deflated Sharpe ratio",
            known.deflated_sharpe,
            f"against {known.expected_maximum_sharpe:.2f}, the best to expect from "
            f"{known.trials_counted:,} trials without skill",
        ),
        _probability(
            "… with the spread of all trials",
            known.deflated_sharpe_cross_section,
            "variance of the trials' ratios as observed",
        ),
        _probability(
            "Probabilistic Sharpe ratio", known.probabilistic_sharpe, "had it been the only candidate"
        ),
        _probability(
            "p-value, Šidák",
            known.p_value_adjusted,
            f"the {known.candidates} candidates as if independent",
        ),
        _probability("p-value, block bootstrap", known.bootstrap_p_value, "of the mean profit, not adjusted"),
        _probability("PBO", known.pbo, "of choosing in this group; a blind choice gives 0.5"),
        _probability("Probability of loss", known.probability_of_loss, "of choosing in this group"),
        _probability("Holdout p-value, adjusted", known.holdout_p_value_adjusted, "for the entries shown"),
    ]
    return [fact for fact in facts if fact is not None]


def _probability(name: str, value: float | None, note: str) -> Fact | None:
    return None if value is None else Fact(name=name, value=f"{value:.3f}", note=note)


def _stress(entry: ranked.Entry, currency: str) -> list[Fact]:
    facts = [
        Fact(
            name=_costs(one),
            value=f"{one.net_pnl:+,.2f} {currency}".replace("-", "−"),
        )
        for one in entry.stress
    ]
    if entry.break_even_extra_spread_pips is not None:
        value = f"{entry.break_even_extra_spread_pips:+.2f} pips".replace("-", "−")
        facts.append(Fact(name="Nothing left at", value=value))
    return facts


def _rollover(trades: Sequence[Trade], pair: Instrument | None, *, swap_charged: bool, account: str) -> str:
    """Return the sentence on nights; empty where they were not counted."""
    counted = [(trade.nights, trade.size) for trade in trades if trade.nights is not None]
    if pair is None or not counted or len(counted) != len(trades):
        return ""
    return held_over_text(
        held_over(counted, pip_size=pair.pip_size),
        currency=pair.quote,
        charged=math.fsum(trade.swap for trade in trades) if swap_charged else None,
        account_currency=account,
    )


def _costs(stress: ranked.Stress) -> str:
    changes = []
    if stress.extra_spread_pips:
        changes.append(f"spread +{stress.extra_spread_pips:g} pips")
    if stress.commission_factor != 1:
        changes.append(f"commission × {stress.commission_factor:g}")
    text = ", ".join(changes)
    return text[:1].upper() + text[1:] if text else "As backtested"


def _fold(fold: ranked.FoldResult) -> Fold:
    return Fold(
        number=fold.index + 1,
        train_start_ns=fold.train_start_ns,
        train_stop_ns=fold.train_stop_ns,
        test_start_ns=fold.test_start_ns,
        test_stop_ns=fold.test_stop_ns,
        trial_id=fold.trial_id,
        params=fold.params,
        in_sample_sharpe=fold.in_sample_sharpe,
        out_of_sample_sharpe=fold.out_of_sample_sharpe,
        pnl=fold.net_pnl,
        trades=fold.trades,
    )


def _walk_forward(entry: ranked.Entry, plan: WalkForwardPlan, initial_balance: float) -> Curve | None:
    """Return the equity along the out-of-sample path and on into the holdout, a point per period's end."""
    times: Sequence[int] = [*entry.out_of_sample_ts_ns, *entry.holdout_ts_ns]
    profits = [*entry.out_of_sample_pnl, *entry.holdout_pnl]
    if not times:
        return None
    equity = list(accumulate(profits, initial=initial_balance))
    return Curve(
        ts_ns=[times[0], *(ns + plan.period_ns for ns in times)], equity=[round(value, 2) for value in equity]
    )


def _heat_map(entry: ranked.Entry, trials: Trials) -> HeatMap | None:
    member = [place for place, row in enumerate(trials.rows) if row.group == entry.group and row.ok]
    ratios = trials.inside[member].tolist()
    points = [trials.params[place] for place in member]
    return heat_map(points, ratios, entry.params, metric="Sharpe ratio")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
