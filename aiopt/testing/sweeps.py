"""Trial rows with profits drawn from a seeded generator, with or without an edge.

Owns made-up sweeps for tests of rankings; knows nothing of engines.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np

from aiopt.evaluation.folds import WalkForwardConfig, WalkForwardPlan
from aiopt.ranking.trials import TrialRow
from aiopt.utc import HOUR_NS

PLAN = WalkForwardPlan(
    config=WalkForwardConfig(train_segments=3, folds=4, holdout_segments=1),
    boundaries_ns=tuple(i * 60 * HOUR_NS for i in range(9)),
)


def trial(
    number: int,
    pnl: np.ndarray,
    *,
    group: str = "alpha@5m",
    plan: WalkForwardPlan = PLAN,
    trades: int = 20,
    params: dict[str, Any] | None = None,
) -> TrialRow:
    """Return a row whose profits over the whole span are `pnl`; its trades win and lose what the hours do."""
    family, *market, timeframe = group.split("@")
    cut = plan.development_periods
    columns: dict[str, Any] = {}
    for span, segments in (("segment", plan.development), ("holdout", plan.holdout)):
        parts = [pnl[plan.periods_of((i,))] for i in segments]
        columns |= {
            f"{span}_trades": [trades] * len(parts),
            f"{span}_wins": [min(trades, int((p > 0).sum())) for p in parts],
            f"{span}_gross_profit": [float(p[p > 0].sum()) for p in parts],
            f"{span}_gross_loss": [float(-p[p < 0].sum()) for p in parts],
            f"{span}_commission": [0.01 * trades] * len(parts),
            f"{span}_units": [100.0 * trades] * len(parts),
            f"{span}_nights": [trades // 4] * len(parts),
            f"{span}_refused": [0] * len(parts),
            f"{span}_capped": [0] * len(parts),
            f"{span}_ruined": [0] * len(parts),
        }
    return TrialRow(
        trial_id=f"{group}-{number:05d}",
        group=group,
        family=family,
        timeframe=timeframe,
        instrument=market[0] if market else msgspec.UNSET,
        params_json=json.dumps({"length": number, "other": number * 37 % 101} if params is None else params),
        spec_json=json.dumps({"name": family, "number": number}),
        spec_hash=f"{family}-{number}",
        config_hash="c",
        data_hash="d",
        seed=1,
        status="ok",
        n_bars=1000,
        pnl=pnl[:cut].tolist(),
        holdout_pnl=pnl[cut:].tolist(),
        **columns,
    )


def failed(number: int, *, group: str = "alpha@5m") -> TrialRow:
    """Return the row of a trial that failed."""
    family, *market, timeframe = group.split("@")
    return TrialRow(
        trial_id=f"{group}-{number:05d}",
        group=group,
        family=family,
        timeframe=timeframe,
        instrument=market[0] if market else msgspec.UNSET,
        params_json="{}",
        spec_json="{}",
        spec_hash=f"{family}-{number}",
        config_hash="c",
        data_hash="d",
        seed=1,
        status="failed",
        error="BacktestError: the margin call came",
    )


def noise_sweep(
    seed: int,
    *,
    groups: tuple[str, ...] = ("alpha@1m", "beta@5m"),
    trials: int = 12,
    cost: float = 0.0,
    plan: WalkForwardPlan = PLAN,
) -> list[TrialRow]:
    """Return trials without skill, their profits fat-tailed and often zero as those of real trials."""
    rng = np.random.default_rng(seed)
    n = plan.development_periods + plan.holdout_periods
    return [
        trial(i, rng.standard_t(4, n) * (rng.random(n) < 0.5) - cost, group=group, plan=plan)
        for group in groups
        for i in range(trials)
    ]


def with_pnl(row: TrialRow, pnl: list[float]) -> TrialRow:
    """Return the row with other development profits."""
    return msgspec.structs.replace(row, pnl=pnl)
