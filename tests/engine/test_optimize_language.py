"""A whole run of strategies that add entries, leave in parts and are held back: swept, ranked and proved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.market.instrument import instrument
from aiopt.optimize.configuration import AnalysisConfig, OptimizeConfig
from aiopt.optimize.pine_config import PineConfig
from aiopt.optimize.pipeline import run_pipeline
from aiopt.pine.importing.importing import import_script
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.strategy.spec import StrategySpec
from aiopt.ticks.sample import generate_ticks

pytestmark = pytest.mark.slow

ADDING = """\
name: adding
params: {length: 8, stop: 9.0}
indicators:
  average: {kind: ema, args: {length: length}}
entry_long: close > average and close > close[1]
entry_short: close < average and close < close[1]
exit_long: falling(close, 3)
exit_short: rising(close, 3)
stop_loss: {unit: pips, value: stop}
take_profit: {unit: percent, value: 0.12, rounding: away}
pyramiding: 3
search:
  dimensions:
    length: {type: int, low: 5, high: 20}
    stop: {type: float, low: 5.0, high: 15.0, step: 0.5}
"""
IN_PARTS = """\
name: in_parts
params: {length: 8, first: 4.0, pause: 2}
indicators:
  average: {kind: ema, args: {length: length}}
entry_long: crossover(close, average)
entry_short: crossunder(close, average)
stop_loss: {unit: pips, value: 8}
take_profit: {unit: pips, value: 20}
targets:
  - {share: 50, unit: pips, value: first}
  - {share: 25, unit: pips, value: 12}
limits: {pause_bars: pause, trades_per_day: 8, daily_loss: {percent: 2.0}}
search:
  dimensions:
    length: {type: int, low: 5, high: 20}
    first: {type: float, low: 2.0, high: 6.0, step: 0.5}
    pause: {type: int, low: 1, high: 6}
"""


@pytest.fixture(scope="module")
def run_dir(pine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    generate_ticks(folder / "ticks", start="2024-03-04", days=6, ticks_per_day=3_000)
    for name, text in (("adding", ADDING), ("in_parts", IN_PARTS)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    config = OptimizeConfig(
        ticks=str(folder / "ticks"),
        analysis=AnalysisConfig(enabled=False),
        timeframes=("5m",),
        strategies=(str(folder / "adding.yaml"), str(folder / "in_parts.yaml")),
        trials=2,
        walk_forward=WalkForwardConfig(train_segments=2, folds=3, holdout_segments=1),
        ranking=RankingConfig(top=4, min_oos_trades=2, min_train_trades=1, bootstrap_resamples=100),
        robustness=RobustnessConfig(enabled=False),
        pine=PineConfig(verify="on"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOPT_PINE_ENGINE_DIR", str(pine.engine.module.parents[3]))
        result = run_pipeline(config, folder / "runs", log=lambda line: None)
    assert result.broken_scripts == []
    return Path(result.run_dir)


def specs_of(run_dir: Path) -> dict[str, StrategySpec]:
    found = {path.stem: path for path in (run_dir / "pine").glob("*.json")}
    specs = {}
    for name, path in found.items():
        text = path.read_text(encoding="utf-8")
        if "entry_long" in json.loads(text):
            specs[name] = StrategySpec.from_json(text)
    return specs


def test_both_strategies_are_ranked_and_their_scripts_proved(run_dir: Path) -> None:
    proved = json.loads((run_dir / "verification.json").read_text(encoding="utf-8"))["entries"]
    specs = specs_of(run_dir)
    assert specs.keys() == proved.keys()
    assert {spec.family or spec.name.rpartition("_")[0] for spec in specs.values()} == {"adding", "in_parts"}
    for name, one in proved.items():
        assert one["difference"] is None, one
        assert one["trades"] > 20, name
        header = (run_dir / "pine" / f"{name}.pine").read_text(encoding="utf-8")
        assert "closed trades equal the" in header


def test_scripts_of_the_run_give_their_specs_back(run_dir: Path) -> None:
    for name, spec in specs_of(run_dir).items():
        text = (run_dir / "pine" / f"{name}.pine").read_text(encoding="utf-8")
        found = import_script(text, instrument=instrument("EURUSD"))
        assert found.spec == spec
        assert found.is_rewritten
        assert set(found.dimensions) == set(spec.params)
