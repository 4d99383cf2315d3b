"""Nested paths: a search per split, which sees its train segments alone, counts in the ledger and repeats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

import aiopt.optimize.nested_paths as nested_module
from aiopt.bars.schema import BarSet
from aiopt.cli.paths import command
from aiopt.config import canonical_json
from aiopt.errors import InputError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.ledger import open_ledger
from aiopt.ledger.overview import overview
from aiopt.optimize.configuration import OptimizeConfig
from aiopt.optimize.nested_paths import NestedPaths, _Made, train_segments
from aiopt.optimize.pipeline import run_pipeline
from aiopt.optimize.rerunning import bars_of_trial
from aiopt.paths.settings import combine
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.runs import RunFolder, load_run
from aiopt.search.settings import SearchConfig
from aiopt.ticks.sample import generate_ticks

CONFIG = OptimizeConfig(
    name="nested",
    timeframes=("5m",),
    strategies=("rsi_reversion",),
    sampler="tpe",
    trials=8,
    search=SearchConfig(population=4),
    walk_forward=WalkForwardConfig(train_segments=2, folds=2, holdout_segments=1),
    ranking=RankingConfig(top=1, min_oos_trades=2, min_train_trades=1, bootstrap_resamples=100),
    robustness=RobustnessConfig(enabled=False),
)


@pytest.fixture(scope="module")
def ticks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nested") / "ticks"
    generate_ticks(folder, start="2024-03-04", days=5, ticks_per_day=4_000)
    return folder


@pytest.fixture(scope="module")
def run(ticks: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    config = msgspec.structs.replace(CONFIG, ticks=str(ticks))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOPT_LEDGER_DIR", str(tmp_path_factory.mktemp("ledger")))
        done = run_pipeline(config, tmp_path_factory.mktemp("runs"), log=lambda line: None)
    return load_run(Path(done.run_dir))


def test_the_same_run_gives_the_same_paths_and_the_ledger_counts_each_backtest_once(run: RunFolder) -> None:
    told: list[tuple[float, float]] = []
    nested = NestedPaths(run)
    found = nested.measure(lambda done, total: told.append((done, total)))
    assert (found.splits, found.paths, nested.searches) == (6, 3, 6)
    assert nested.budget == 6 * 8
    assert "6 searches by tpe" in nested.statement()
    assert told[-1] == (found.nested.trials, 48)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    (group,) = found.groups
    assert group.reason == ""
    assert len(group.lanes[0].sharpe) == found.paths
    assert group.lanes[0].trials_chosen > 1
    (row,) = overview(open_ledger()).authors
    assert (row.name, row.kind) == (f"nested-{run.run_id}", "sweep")
    assert 0 < row.trials <= found.nested.trials == 48
    before = open_ledger().path.read_bytes()
    assert canonical_json(NestedPaths(run).measure()) == canonical_json(found)
    assert open_ledger().path.read_bytes() == before


def test_the_walk_forward_beside_the_paths_is_that_of_the_run(run: RunFolder) -> None:
    (group,) = NestedPaths(run).measure().groups
    (entry,) = run.ranking.entries
    lane = next(one for one in group.lanes if one.lane == entry.lane)
    assert lane.walk_forward_sharpe == pytest.approx(entry.out_of_sample.sharpe, rel=1e-9)


def test_prices_of_what_a_split_tests_change_nothing_its_search_proposes(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = run.ranking.plan
    combination = combine(plan)
    last = len(combination.groups) - 1
    begin_ns = plan.boundaries_ns[combination.segments[last][0]]

    def proposed() -> list[set[str]]:
        nested, made = NestedPaths(run), _Made()
        ((name, first),) = nested._groups.items()
        bars = nested_module.bars_of_trial(run, first, None)
        for _ in nested._searched(name, first, bars, made):
            pass
        return made.by_split

    def other(*arguments: object) -> BarSet:
        bars = bars_of_trial(*arguments)  # type: ignore[arg-type]
        after = bars.bid.ts_open_ns >= begin_ns
        assert after.sum() > 50
        return replace(bars, bid=mirrored(bars.bid, after), ask=mirrored(bars.ask, after), stops=None)

    def plain(*arguments: object) -> BarSet:
        return replace(bars_of_trial(*arguments), stops=None)  # type: ignore[arg-type]

    monkeypatch.setattr(nested_module, "bars_of_trial", plain)
    before = proposed()
    monkeypatch.setattr(nested_module, "bars_of_trial", other)
    after = proposed()
    tested = [last in split.test for split in combination.splits]
    same = [one == two for one, two in zip(before, after, strict=True)]
    assert all(equal for equal, out in zip(same, tested, strict=True) if out)
    assert not all(equal for equal, out in zip(same, tested, strict=True) if not out)


def mirrored(side, after):
    """Return bars whose prices from some bar on go the other way."""
    at = int(np.flatnonzero(after)[0])
    pivot = 2 * side.open[at]
    turned = {"open": side.open, "high": side.low, "low": side.high, "close": side.close}
    return replace(
        side,
        **{
            name: np.round(np.where(after, pivot - values, getattr(side, name)), 6)
            for name, values in turned.items()
        },
    )


def test_no_window_has_a_segment_that_is_tested_or_cut_by_a_purge(run: RunFolder) -> None:
    plan = run.ranking.plan
    combination = combine(plan)
    for split in combination.splits:
        segments = train_segments(plan, combination, split)
        tested = {segment for group in split.test for segment in combination.segments[group]}
        assert segments
        assert not tested & set(segments)
        assert set(segments) <= set(plan.development)


def test_the_command_states_the_budget_first_and_the_report_says_that_paths_are_nested(
    run: RunFolder,
) -> None:
    page = run.path / "report.html"
    assert "aiopt paths RUN --nested" in page.read_text()
    result = CliRunner().invoke(command, [str(run.path), "--nested"], catch_exceptions=False)
    assert "paths: 6 splits: 6 searches by tpe" in result.stderr
    assert "at most 48 backtests through the screen, all counted in the ledger" in result.stderr
    said = "The paths are nested: tpe searched anew 6 times"
    assert said in " ".join(result.stdout.split())
    assert said in page.read_text()
    assert "The walk-forward matrix is not nested" in page.read_text()
    kept = (run.path / "nested_paths.json").read_bytes()
    again = CliRunner().invoke(command, [str(run.path), "--json"], catch_exceptions=False)
    assert msgspec.json.decode(again.stdout)["nested"]["sampler"] == "tpe"
    assert (run.path / "nested_paths.json").read_bytes() == kept
    refused = CliRunner().invoke(command, [str(run.path), "--nested", "--segments", "6"])
    assert "Leave --segments out" in refused.output


def test_a_run_whose_sampler_does_not_learn_has_nothing_to_nest(run: RunFolder, tmp_path: Path) -> None:
    plain = load_run(run.path)
    plain.__dict__["config"] = {**plain.config, "sampler": "sobol"}
    with pytest.raises(InputError, match=r"sobol does not.*Leave --nested out"):
        NestedPaths(plain)
