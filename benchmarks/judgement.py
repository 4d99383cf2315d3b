"""How often a sweep says yes wrongly, and how often it says yes when it should.

**Noise.** Each sweep has bars of its own: a random walk of 24 steps inside every 5-minute bar, volatility
that drifts and follows the hour of the day, weekends left out, so that no rule has an edge before costs.
The ready families, with Sobol points, run through the screen (`aiopt.screen`), and `rank_trials` chooses
in folds, compares and judges as in any run; once without costs (no spread, commission or slippage) and
once with a spread of 0.8 pips and the default commission. Counted are sweeps with at least one entry that
survives.

**Power.** Rows of trials are drawn, not traded: daily profits with fat tails (Student's t, 4 degrees of
freedom), half of the days without any, trials of a group correlated 0.6. All trials of one of the groups
have the true Sharpe ratio stated, after costs; all others earn nothing. The same `rank_trials` judges
them. Years are those of the whole data; with the default walk-forward four of eight segments are out of
sample.

`AIOPT_BENCH_JUDGEMENT_PROCESSES` sets the processes, `AIOPT_BENCH_JUDGEMENT_SWEEPS` the noise sweeps per
kind of costs, `AIOPT_BENCH_JUDGEMENT_POWER` the sweeps per cell of the power table.
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.backtest_config import BacktestConfig
from aiopt.backtest.pricing import add_spread
from aiopt.bars.schema import BarArrays, BarSet
from aiopt.evaluation.folds import WalkForwardConfig, WalkForwardPlan
from aiopt.evaluation.power import detectable_by_comparison, detectable_sharpe
from aiopt.market.instrument import instrument
from aiopt.ranking.rank import rank_trials
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import NO_EVIDENCE, Entry, Ranking
from aiopt.ranking.trials import TrialRow
from aiopt.strategy.families import FAMILIES
from aiopt.sweep.points import Strategy, plan_context, plan_points
from aiopt.sweep.screening import TrialScreen
from aiopt.sweep.sweep_config import SweepConfig
from aiopt.testing.bars import random_walk_bars
from aiopt.testing.sweeps import trial
from aiopt.utc import DAY_NS
from benchmarks._harness import Figure

SWEEPS = int(os.environ.get("AIOPT_BENCH_JUDGEMENT_SWEEPS", "500"))
POWER_SWEEPS = int(os.environ.get("AIOPT_BENCH_JUDGEMENT_POWER", "100"))
PROCESSES = int(os.environ.get("AIOPT_BENCH_JUDGEMENT_PROCESSES", "2"))
AT_ONCE = 10
"""Sweeps of one task."""
POINTS = 8
WEEKS = 6
BARS = WEEKS * 5 * 288
STEPS = 24
COSTS = {
    "without_costs": (BacktestConfig(commission_per_million=0.0, stop_slippage_ticks=0.0), 0.0),
    "with_costs": (BacktestConfig(), 0.8),
}
SHARPES = (1.0, 2.0, 3.0)
YEARS = (1, 5, 10)
GROUPS, TRIALS_PER_GROUP = 5, 10
JUDGED = RankingConfig(bootstrap_resamples=199)
"""Few resamples, enough for a level of 5%; p-values are as right, a little less sharp."""
RANKING = JUDGED.with_pip(1e-4)


def run() -> list[Figure]:
    """Measure and return the figures."""
    noise = [(costs, part) for costs in COSTS for part in _parts(SWEEPS)]
    cells = [(years, sharpe) for years in YEARS for sharpe in SHARPES]
    power = [(*cell, part) for cell in cells for part in _parts(POWER_SWEEPS)]
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imports are as dear as many sweeps
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        said = {costs: Counter[str]() for costs in COSTS}
        for (costs, _), found in zip(noise, pool.map(_noise_sweeps, *zip(*noise, strict=True)), strict=True):
            said[costs] = said[costs] + found
        seen = {cell: Counter[str]() for cell in cells}
        for (years, sharpe, _), found in zip(
            power, pool.map(_power_sweeps, *zip(*power, strict=True)), strict=True
        ):
            seen[years, sharpe] = seen[years, sharpe] + found
    figures = [Figure(name="noise_sweeps", value=SWEEPS, unit="sweeps")]
    for costs in COSTS:
        figures += _noise(costs, said[costs])
    figures.append(Figure(name="power_sweeps", value=POWER_SWEEPS, unit="sweeps"))
    for years, sharpe in cells:
        figures += _power(years, sharpe, seen[years, sharpe])
    return figures


def _parts(total: int) -> list[range]:
    return [range(start, min(start + AT_ONCE, total)) for start in range(0, total, AT_ONCE)]


def _noise_sweeps(costs: str, numbers: range) -> Counter[str]:
    """Return in how many of some sweeps, in which there is nothing to find, something was said."""
    backtest, spread_pips = COSTS[costs]
    config = SweepConfig(timeframes=("5m",), trials=POINTS, backtest=backtest, ranking=JUDGED)
    points = plan_points([Strategy(space.spec, space) for space in FAMILIES.values()], config)
    found: Counter[str] = Counter()
    for number in numbers:
        bars = fair_bars(number, spread_pips)
        context = plan_context({"5m": bars}, config)
        screen = TrialScreen(bars, backtest)
        rows = [screen.row(point, context) for point in points]
        ranking = rank_trials(rows, context.plan, RANKING)
        found["trades"] += sum(sum(row.segment_trades) for row in rows)
        found["candidates"] += ranking.statistics.candidates
        found["ranked"] += bool(ranking.entries)
        found.update(_said(ranking))
    print(f"noise {costs}, sweeps {numbers}: {dict(found)}", file=sys.stderr, flush=True)
    return found


def _noise(costs: str, found: Counter[str]) -> list[Figure]:
    if found["trades"] < 200 * SWEEPS or found["ranked"] < 0.9 * SWEEPS:
        raise AssertionError(f"noise must be traded and ranked, but of {SWEEPS} sweeps {dict(found)}")
    figures = [
        Figure(name=f"{costs}_{name}", value=found[name] / SWEEPS, unit="share of sweeps", target=target)
        for name, target in (
            ("survives", 0.05),
            ("survives_deflated", 0.05),
            ("weak_or_survives", None),
            ("some_candidate_beyond_luck", None),
            ("reality_check_below_5_percent", None),
            ("spa_below_5_percent", None),
        )
    ]
    figures += [
        Figure(name=f"{costs}_candidates", value=found["candidates"] / SWEEPS, unit="per sweep"),
        Figure(name=f"{costs}_trades", value=found["trades"] / SWEEPS, unit="per sweep"),
    ]
    return figures


def _power_sweeps(years: int, sharpe: float, numbers: range) -> Counter[str]:
    """Return in how many of some sweeps the edge was found, and in how many something else was."""
    plan = daily_plan(years)
    found: Counter[str] = Counter()
    for number in numbers:
        ranking = rank_trials(list(rows_with_an_edge(number, plan, sharpe)), plan, RANKING)
        entries = [entry for entry in ranking.entries if entry.family == "edge"]
        found["ranked"] += bool(entries)
        found["beyond_luck"] += any(_passes(entry, "beyond luck") for entry in entries)
        found["beyond_luck_deflated"] += any(_deflated(entry) for entry in entries)
        found["survives"] += any(entry.survives for entry in entries)
        found["survives_deflated"] += any(_survives_deflated(entry) for entry in entries)
        found["others_survive"] += any(e.survives for e in ranking.entries if e.family != "edge")
    told = f"power {years} years, Sharpe ratio {sharpe:g}, sweeps {numbers}: {dict(found)}"
    print(told, file=sys.stderr, flush=True)
    return found


def _power(years: int, sharpe: float, found: Counter[str]) -> list[Figure]:
    if found["ranked"] < 0.3 * POWER_SWEEPS:
        raise AssertionError(f"the edge must be ranked, but of {POWER_SWEEPS} sweeps {dict(found)}")
    name = f"years_{years}_sharpe_{sharpe:g}"
    return [
        Figure(name=f"{name}_{what}", value=found[what] / POWER_SWEEPS, unit="share of sweeps")
        for what in (
            "beyond_luck",
            "survives",
            "beyond_luck_deflated",
            "survives_deflated",
            "others_survive",
        )
    ] + (_needed(daily_plan(years), years) if sharpe == SHARPES[0] else [])


def _needed(plan: WalkForwardPlan, years: int) -> list[Figure]:
    n_periods, year = plan.periods_of(plan.test).size, plan.periods_per_year
    compared = detectable_by_comparison(
        n_periods=n_periods, periods_per_year=year, n_paths=GROUPS * RANKING.lanes
    )
    strict = detectable_sharpe(n_periods=n_periods, periods_per_year=year, n_trials=GROUPS * TRIALS_PER_GROUP)
    return [
        Figure(name=f"years_{years}_stated_before", value=compared, unit="Sharpe ratio"),
        Figure(name=f"years_{years}_stated_before_deflated", value=strict, unit="Sharpe ratio"),
    ]


def _said(ranking: Ranking) -> dict[str, int]:
    luck = ranking.statistics.luck
    if luck is None:
        raise AssertionError("the candidates must have been tested together, but the ranking has no test")
    p_values = [entry.evidence.p_value_family_wise for entry in ranking.entries]
    p_values += [rejection.p_value_family_wise for rejection in ranking.rejected]

    def small(value: float | None) -> bool:
        return value is not None and value <= 0.05

    return {
        "survives": any(entry.survives for entry in ranking.entries),
        "survives_deflated": any(_survives_deflated(entry) for entry in ranking.entries),
        "weak_or_survives": any(entry.verdict != NO_EVIDENCE for entry in ranking.entries),
        "some_candidate_beyond_luck": any(map(small, p_values)),
        "reality_check_below_5_percent": small(luck.reality_check_p_value),
        "spa_below_5_percent": small(luck.spa_p_value),
    }


def _passes(entry: Entry, name: str) -> bool:
    return any(check.passed is True for check in entry.checks if check.name == name)


def _deflated(entry: Entry) -> bool:
    value = entry.evidence.deflated_sharpe
    return value is not None and value >= RANKING.confidence


def _survives_deflated(entry: Entry) -> bool:
    others = (check.passed is not False for check in entry.checks if check.name != "beyond luck")
    return _deflated(entry) and all(others)


def fair_bars(seed: int, spread_pips: float) -> BarSet:
    """Return 5-minute bars whose open, high, low and close are those of one random walk without drift."""
    clock = random_walk_bars(BARS, seed=seed, timeframe="5m")  # its times alone: a market week
    rng = np.random.default_rng(seed)
    hour = clock.ts_open_ns // (DAY_NS // 24) % 24
    drift = np.clip(np.cumsum(rng.normal(0.0, 0.03, BARS)), -0.7, 0.7)
    scale = 1.3 * np.exp(drift) * (1.0 + 0.6 * np.sin((hour - 4) / 24 * 2 * np.pi))
    steps = np.rint(rng.normal(size=(BARS, STEPS)) * scale[:, None] * 2).astype(np.int64)
    path = 120_000 + np.cumsum(steps.ravel()).reshape(BARS, STEPS)
    opened = np.concatenate(([120_000], path[:-1, -1]))
    bid = BarArrays(
        instrument="EURUSD",
        timeframe=clock.timeframe,
        price="bid",
        ts_open_ns=clock.ts_open_ns,
        open=_price(opened),
        high=_price(np.maximum(opened, path.max(axis=1))),
        low=_price(np.minimum(opened, path.min(axis=1))),
        close=_price(path[:, -1]),
        volume=np.ones(BARS),
        data_hash=f"fair {seed}",
    )
    bars = BarSet(instrument("EURUSD"), bid.timeframe, bid, bid, True, bid.data_hash)
    return add_spread(bars, spread_pips)


def _price(ticks: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.round(ticks / 100_000, 5)


def daily_plan(years: int) -> WalkForwardPlan:
    """Return the default walk-forward over some years of days."""
    config = WalkForwardConfig()
    days = round(365.25 * years)
    edges = [i * days // config.segments for i in range(config.segments + 1)]
    return WalkForwardPlan(config=config, boundaries_ns=tuple(e * DAY_NS for e in edges), period_ns=DAY_NS)


def rows_with_an_edge(seed: int, plan: WalkForwardPlan, sharpe: float) -> Iterator[TrialRow]:
    """Yield trials of which those of the family `edge` have an annualised true Sharpe ratio."""
    rng = np.random.default_rng([seed, int(sharpe), plan.development_periods])
    n = plan.development_periods + plan.holdout_periods
    # Student's t with 4 degrees of freedom has variance 2; half of the days are 0.
    drift = sharpe / math.sqrt(plan.periods_per_year)
    for group in range(GROUPS):
        family = "edge" if group == 0 else f"noise{group}"
        common = rng.standard_t(4, n) * (rng.random(n) < 0.5)
        for number in range(TRIALS_PER_GROUP):
            own = rng.standard_t(4, n) * (rng.random(n) < 0.5)
            profits = math.sqrt(0.6) * common + math.sqrt(0.4) * own
            row = trial(
                number,
                100.0 * (profits + (drift if group == 0 else 0.0)),
                group=f"{family}@5m",
                plan=plan,
                trades=max(20, n // 16),
                params={"length": 7 * number},
            )
            yield msgspec.structs.replace(row, spec_hash=f"{family}-{number}")
