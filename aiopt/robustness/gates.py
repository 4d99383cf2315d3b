"""The gates: which figure each asks for, and whether it passes.  Owns where a figure is found."""

from __future__ import annotations

from collections.abc import Sequence

from aiopt.robustness.robustness_config import Gate
from aiopt.robustness.robustness_file import FoldRank, GateResult, Neighbourhood, Part, Scenario


def figures_of(
    scenarios: Sequence[Scenario],
    months: Sequence[Part],
    neighbourhood: Neighbourhood | None,
    ranks: Sequence[FoldRank],
) -> dict[str, float | None]:
    """Return every figure that a gate may ask for, by name; None where it is not known."""
    found: dict[str, float | None] = {}
    for one in scenarios:
        found[f"{one.name}.net_pnl"] = None if one.net_pnl is None else one.net_pnl.q50
        found[f"{one.name}.net_pnl_q05"] = None if one.net_pnl is None else one.net_pnl.q05
        found[f"{one.name}.sharpe"] = None if one.sharpe is None else one.sharpe.q50
        found[f"{one.name}.share_profitable"] = one.share_profitable
    found["months.share_profitable"] = (
        sum(month.net_pnl > 0 for month in months) / len(months) if len(months) > 1 else None
    )
    found["stability.test_rank"] = sum(one.test for one in ranks) / len(ranks) if ranks else None
    if neighbourhood is None:
        return found
    moves = [one.fold_move for one in neighbourhood.parameters if one.fold_move is not None]
    return found | {
        "neighbourhood.share_profitable": neighbourhood.train.share_profitable,
        "neighbourhood.median_ratio": neighbourhood.train.median_ratio,
        "neighbourhood.test_share_profitable": neighbourhood.test.share_profitable,
        "stability.parameter_move": sum(moves) / len(moves) if moves else None,
    }


def gate_results(gates: Sequence[Gate], figures: dict[str, float | None]) -> list[GateResult]:
    """Return the outcome of each gate."""
    return [
        GateResult(
            figure=gate.figure,
            value=figures.get(gate.figure),
            rule=gate.rule,
            required=gate.required,
            passed=gate.passes(figures.get(gate.figure)),
        )
        for gate in gates
    ]
