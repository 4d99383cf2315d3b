"""A ``robustness.json`` for tests: made-up figures in the real records, without a backtest.

Owns the numbers.  What real ones look like is `aiopt.robustness`' matter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aiopt.config import canonical_json
from aiopt.files import atomic_write_bytes
from aiopt.ranking.ranking_file import Entry, Ranking
from aiopt.robustness.distribution import LEVELS, quantiles
from aiopt.robustness.gates import figures_of, gate_results
from aiopt.robustness.robustness_config import SCENARIOS, RobustnessConfig
from aiopt.robustness.robustness_file import (
    EntryRobustness,
    FoldRank,
    Map,
    Neighbourhood,
    Neighbours,
    ParameterMove,
    Part,
    Robustness,
    Scenario,
)
from aiopt.runs import RANKING, ROBUSTNESS, read_json

_ONCE = {"commission_2": 0.4, "commission_3": -0.2, "delay": 0.7}
"""Profit of the scenarios that are run once, over that without stress."""


def write_robustness(run_dir: Path, *, skill: float = 1.0, years: int = 1) -> Robustness:
    """Write ``robustness.json`` into a made-up run and return its content.

    Parameters
    ----------
    run_dir : Path
        With ``ranking.json``.
    skill : float
        Mean profit under stress, in standard deviations of it: 1 passes most gates, -2 fails them.
    years : int
        Years of the monthly table.
    """
    ranking = read_json(run_dir / RANKING, Ranking)
    config = RobustnessConfig()
    entries = [_entry(entry, skill, years, config) for entry in ranking.entries]
    found = Robustness(
        entries=entries,
        config=config,
        trials=sum(one.trials for one in entries),
        paths=sum(scenario.draws for one in entries for scenario in one.scenarios),
        confirmed=len(SCENARIOS) - 1,
        in_engine=0,
    )
    atomic_write_bytes(run_dir / ROBUSTNESS, canonical_json(found))
    return found


def _entry(entry: Entry, skill: float, years: int, config: RobustnessConfig) -> EntryRobustness:
    random = np.random.default_rng(entry.rank)
    scenarios = [_scenario(name, skill, config.draws, random) for name in SCENARIOS]
    months = [
        Part(label=f"{year}-{month:02d}", net_pnl=round(float(pnl), 2), trades=40, periods=720)
        for year in range(2024, 2024 + years)
        for month, pnl in enumerate(random.normal(60 * skill, 900.0, 12), start=1)
    ]
    near = _neighbourhood(entry, skill, random)
    ranks = [FoldRank(fold=fold.index + 1, train=0.98, test=0.5) for fold in entry.folds]
    out = entry.out_of_sample
    times = entry.out_of_sample_ts_ns[:: max(1, len(entry.out_of_sample_ts_ns) // 40)][:40]
    return EntryRobustness(
        rank=entry.rank,
        name=entry.name,
        trial_id=entry.trial_id,
        net_pnl=out.net_pnl,
        sharpe=out.sharpe,
        max_drawdown_amount=out.max_drawdown_amount,
        trades=out.trades,
        scenarios=scenarios,
        fan_ts_ns=times,
        fan=np.linspace(0.0, 100 * skill, len(times)).tolist(),
        months=months,
        sessions=_parts(("Tokyo", "London", "London and New York", "New York", "other hours"), random),
        trends=_parts(("up", "sideways", "down"), random),
        volatilities=_parts(("low", "normal", "high"), random),
        neighbourhood=near,
        ranks=ranks,
        gates=gate_results(config.gates, figures_of(scenarios, months, near, ranks)),
        trials=150,
    )


def _scenario(name: str, skill: float, draws: int, random: np.random.Generator) -> Scenario:
    if name == "markets":
        return Scenario(name=name, text="does not apply: the run has no other market", draws=0)
    profits = (
        np.array([100 * skill * _ONCE[name]]) if name in _ONCE else random.normal(100 * skill, 60.0, draws)
    )
    times = np.sqrt(np.linspace(0.0, 1.0, 40))
    curves = [times * np.quantile(profits, level) for level in LEVELS]
    return Scenario(
        name=name,
        text="made up",
        draws=profits.size,
        net_pnl=quantiles(profits),
        sharpe=quantiles(profits / 40),
        max_drawdown_amount=quantiles(np.abs(profits)),
        share_profitable=float((profits > 0).mean()),
        fan=[] if name in _ONCE else [curve.round(2).tolist() for curve in curves],
    )


def _parts(labels: tuple[str, ...], random: np.random.Generator) -> list[Part]:
    return [
        Part(label=label, net_pnl=round(float(pnl), 2), trades=int(random.integers(0, 500)), periods=100)
        for label, pnl in zip(labels, random.normal(0.0, 50.0, len(labels)), strict=True)
    ]


def _neighbourhood(entry: Entry, skill: float, random: np.random.Generator) -> Neighbourhood:
    numbers = [name for name, value in entry.params.items() if not isinstance(value, str)]
    ratios = random.normal(skill, 1.0, 60)
    near = Neighbours(
        own_sharpe=1.4,
        sharpe=quantiles(ratios),
        worst_sharpe=float(ratios.min()),
        share_profitable=float((ratios > 0).mean()),
        median_ratio=float(np.median(ratios)) / 1.4,
    )
    moves = [
        ParameterMove(
            name=name,
            value=float(entry.params[name]),
            low=0.0,
            high=2 * float(entry.params[name]) + 1,
            importance=1.0 / place,
            fold_move=0.1 * place % 1,
        )
        for place, name in enumerate(numbers, start=1)
    ]
    axis = [float(value) for value in range(6)]
    cells = [[round(float(value), 2) for value in random.normal(skill, 1.0, 6)] for _ in axis]
    chart = Map(
        x_name=moves[0].name,
        y_name=moves[1].name,
        x_values=axis,
        y_values=axis,
        sharpe=[[None, *row[1:]] for row in cells],
        chosen=(2, 3),
    )
    kind = "plateau" if float(np.median(ratios)) >= 0.7 else "spike"
    return Neighbourhood(points=60, train=near, test=near, parameters=moves, map=chart, shape=kind)
