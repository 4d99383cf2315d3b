"""A run says yes to an edge that was planted, to the family it was planted for, and nothing without one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from aiopt.optimize.configuration import AnalysisConfig, OptimizeConfig
from aiopt.optimize.pipeline import run_pipeline
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.ranking_file import SURVIVES
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.runs import load_run
from aiopt.ticks.planted_edge import REFERENCE
from aiopt.ticks.sample import generate_ticks


def verdicts(folder: Path, edge: float | msgspec.UnsetType) -> dict[str, list[str]]:
    """Return the verdicts of a small run on generated ticks, by family."""
    generate_ticks(folder / "ticks", start="2023-01-02", days=154, ticks_per_day=1500, seed=11, edge=edge)
    config = OptimizeConfig(
        name="planted",
        ticks=str(folder / "ticks"),
        timeframes=("5m",),
        strategies=(REFERENCE, "bollinger_breakout", "stochastic_sma"),
        trials=6,
        ranking=RankingConfig(top=3, lanes=2, bootstrap_resamples=200),
        robustness=RobustnessConfig(enabled=False),
        analysis=AnalysisConfig(enabled=False),
    )
    run = load_run(Path(run_pipeline(config, folder / "runs", log=lambda _: None).run_dir))
    assert run.ranking is not None
    found: dict[str, list[str]] = {}
    for entry in run.ranking.entries:
        found.setdefault(entry.family, []).append(entry.verdict)
    return found


def test_an_edge_that_is_there_is_found_and_none_where_there_is_none(tmp_path: Path) -> None:
    planted = verdicts(tmp_path / "planted", 9.0)
    assert SURVIVES in planted.pop(REFERENCE)
    assert SURVIVES not in [verdict for found in planted.values() for verdict in found]
    plain = verdicts(tmp_path / "plain", msgspec.UNSET)
    assert SURVIVES not in [verdict for found in plain.values() for verdict in found]
