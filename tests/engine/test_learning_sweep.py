"""Sweeps whose sampler learns: the same trials in any order and after a kill, and no look at the future."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from aiopt.bars.schema import BarSet
from aiopt.config import canonical_json, content_hash
from aiopt.errors import ConfigError, RunExistsError
from aiopt.evaluation.folds import WalkForwardConfig
from aiopt.market.instrument import instrument
from aiopt.optimize.configuration import OptimizeConfig, load_strategies
from aiopt.optimize.pipeline import run_pipeline
from aiopt.optimize.rerunning import differences, find_trial, rerun_trial
from aiopt.optimize.warm_start import read_warm_start
from aiopt.ranking.groups import make_groups
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.measures import measure_group
from aiopt.ranking.ranking_config import RankingConfig
from aiopt.ranking.selection import choose_lanes
from aiopt.ranking.trials import read_trials
from aiopt.robustness.robustness_config import RobustnessConfig
from aiopt.runs import SEARCH, TRIALS, load_run
from aiopt.search.record import RunSearches
from aiopt.search.settings import SearchBudget, SearchConfig
from aiopt.sweep.learning import LearningSweep
from aiopt.sweep.local import SweepOutcome, run_sweep_locally
from aiopt.sweep.planning import FixedSweep, plan_sweep
from aiopt.sweep.points import judged_by, plan_context
from aiopt.sweep.trial import TrialContext, TrialPoint
from aiopt.testing.bars import random_walk_bars

CONFIG = OptimizeConfig(
    name="learning",
    timeframes=("5m",),
    strategies=("rsi_reversion", "ema_cross_atr"),
    sampler="tpe",
    trials=12,
    search=SearchConfig(population=4),
    walk_forward=WalkForwardConfig(train_segments=2, folds=2, holdout_segments=1),
    ranking=RankingConfig(top=1, min_oos_trades=2, min_train_trades=1, bootstrap_resamples=100),
    robustness=RobustnessConfig(draws=4, neighbours=8),
)
SEARCHES = 3


def bars_of(changed_from_ns: int | None = None) -> dict[str, BarSet]:
    bid = dataclasses.replace(random_walk_bars(1_500, timeframe="5m", seed=4), price="bid")
    if changed_from_ns is not None:
        # Every price from then on is another one; the times, and so the segments, are the same.
        late = bid.ts_open_ns >= changed_from_ns
        other = random_walk_bars(1_500, timeframe="5m", seed=99)
        mixed = {
            name: np.where(late, getattr(other, name), getattr(bid, name))
            for name in ("open", "high", "low", "close")
        }
        bid = dataclasses.replace(bid, **mixed)
    sides = {name: np.round(getattr(bid, name) + 0.00006, 5) for name in ("open", "high", "low", "close")}
    ask = dataclasses.replace(bid, price="ask", **sides)
    return {"5m": BarSet(instrument("EURUSD"), bid.timeframe, bid, ask, False, bid.data_hash)}


@dataclasses.dataclass
class Sweep:
    """A sweep in this process, with its rows."""

    points: list[TrialPoint]
    board: Leaderboard
    context: TrialContext
    records: list[RunSearches]

    def digest(self) -> str:
        return content_hash(self.board.rows())


def sweep(
    config: OptimizeConfig = CONFIG,
    *,
    bars: dict[str, BarSet] | None = None,
    journal: Path | None = None,
    shuffle: int | None = None,
    killed_after: int | None = None,
    recorded: RunSearches | None = None,
) -> Sweep:
    bars = bars or bars_of()
    context = plan_context(bars, config)
    board = Leaderboard(journal, judged_by(bars, config), context.plan)
    planned = plan_sweep(load_strategies(config), config, context.plan)
    records: list[RunSearches] = []

    def run(points: Sequence[TrialPoint]) -> SweepOutcome:
        given = list(points)
        if shuffle is not None:
            random.Random(shuffle).shuffle(given)
        if killed_after is not None and len(board) + len({p.trial_id for p in given}) > killed_after:
            known = set(board.trial_ids())
            left = [point for point in given if point.trial_id not in known]
            run_sweep_locally(left[: max(1, killed_after - len(known))], bars, context, board)
            raise KeyboardInterrupt
        return run_sweep_locally(given, bars, context, board)

    points, _ = planned.run(board, run, keep=records.append, recorded=recorded)
    return Sweep(points, board, context, records)


@pytest.fixture(scope="module")
def whole() -> Sweep:
    return sweep()


def test_every_point_of_every_search_is_a_trial(whole: Sweep) -> None:
    rows = whole.board.rows()
    assert len(rows) == len(whole.points) == 2 * SEARCHES * 12
    planned = plan_sweep(load_strategies(CONFIG), CONFIG, whole.context.plan)
    assert isinstance(planned, LearningSweep)
    assert planned.trials == len(rows)
    assert {row.search for row in rows} == {0, 1, 2}
    assert {row.generation for row in rows} == {0, 1, 2}
    assert {"ema_cross_atr@5m-f1-00000", "ema_cross_atr@5m-refit-00011"} <= {row.trial_id for row in rows}
    assert whole.board.ranking().statistics.trials == len(rows)


@pytest.mark.parametrize("order", [1, 2])
def test_the_order_of_evaluation_changes_no_row(whole: Sweep, order: int) -> None:
    assert sweep(shuffle=order).digest() == whole.digest()


def test_killed_and_resumed_gives_the_same_rows(whole: Sweep, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    for killed_after in (5, 40):
        with pytest.raises(KeyboardInterrupt):
            sweep(journal=journal, killed_after=killed_after)
    again = sweep(journal=journal)
    assert again.digest() == whole.digest()
    assert again.records[-1] == whole.records[-1]


@pytest.mark.parametrize("sampler", ["tpe", "evolution", "nsga2"])
def test_a_search_does_not_move_with_prices_after_its_train_window(sampler: str) -> None:
    config = msgspec.structs.replace(CONFIG, sampler=sampler)
    first = sweep(config)
    plan = first.context.plan
    for fold in plan.folds:
        changed_from = plan.boundaries_ns[fold.train[-1] + 1]
        other = sweep(config, bars=bars_of(changed_from))
        assert other.context.plan == plan
        for number in range(SEARCHES):
            proposed = [
                [(p.trial_id, p.params) for p in one.points if p.search == number] for one in (first, other)
            ]
            if number <= fold.index:
                assert proposed[0] == proposed[1]
            else:
                assert proposed[0] != proposed[1], "the change is not seen at all"
        chosen = [choices(one, fold.index) for one in (first, other)]
        assert chosen[0] == chosen[1]


def choices(one: Sweep, fold: int) -> list[list[str]]:
    found = []
    for group in make_groups(one.board.rows()):
        lanes, _ = choose_lanes(
            group, measure_group(group, one.context.plan), one.context.plan, lanes=3, min_trades=1
        )
        found.append([group.heads[lane.choices[fold]].spec_hash for lane in lanes])
    return found


def test_a_fold_chooses_among_the_points_of_its_own_search(whole: Sweep) -> None:
    for group in make_groups(whole.board.rows()):
        plan = whole.context.plan
        lanes, _ = choose_lanes(group, measure_group(group, plan), plan, lanes=3, min_trades=1)
        assert lanes
        for lane in lanes:
            for number, index in enumerate((*lane.choices, lane.refit)):
                own = {
                    point.spec.spec_hash
                    for point in whole.points
                    if point.search == number and f"{point.family}@5m" == group.name
                }
                assert group.heads[index].spec_hash in own


def test_what_random_choice_gave_is_said_of_points_that_nothing_led_to(whole: Sweep) -> None:
    for group in make_groups(whole.board.rows()):
        drawn = group.drawn_blind()
        assert 0 < len(drawn) <= SEARCHES * 4 < group.size
        assert group.tried == SEARCHES * 12
        first = {p.spec.spec_hash for p in whole.points if p.generation == 0}
        assert {group.heads[index].spec_hash for index in drawn} <= first


def test_the_record_holds_in_sample_figures_of_the_train_window(whole: Sweep) -> None:
    record = whole.records[-1]
    assert (record.finished, record.generations, record.elapsed_s) == (True, 3, msgspec.UNSET)
    assert [one.search for one in record.searches] == [0, 1, 2] * 2
    for one in record.searches:
        assert one.found.trials == 12
        assert one.found.stopped == "all trials were made"
        best = [value[0] for value in one.found.best if value is not None]
        assert best == sorted(best)
        assert one.found.front[0].values == (best[-1],)


def test_several_objectives_and_a_strategy_without_a_space(tmp_path: Path) -> None:
    plain = tmp_path / "plain.yaml"
    plain.write_text(load_strategies(CONFIG)[0].spec.to_yaml().replace("rsi_reversion", "plain"))
    config = msgspec.structs.replace(
        CONFIG,
        strategies=("rsi_reversion", str(plain)),
        sampler="nsga2",
        search=SearchConfig(population=4, objectives=("return", "drawdown")),
    )
    found = sweep(config)
    assert [p.trial_id for p in found.points if p.search == -1] == ["plain@5m-00000"]
    assert found.records[-1].objectives == ("return", "drawdown")
    group = next(one for one in make_groups(found.board.rows()) if one.family == "plain")
    assert group.may_choose(0).all()
    assert group.may_choose(2).all()
    found.board.write_trials(tmp_path / "t.parquet")
    assert content_hash(read_trials(tmp_path / "t.parquet")) == found.digest()


def test_a_budget_of_time_is_repeated_by_its_record(tmp_path: Path) -> None:
    config = msgspec.structs.replace(
        CONFIG, search=SearchConfig(population=4, budget=SearchBudget(minutes=1e-6))
    )
    first = sweep(config)
    record = first.records[-1]
    assert (record.generations, len(first.points)) == (1, 2 * SEARCHES * 4)
    assert {one.found.stopped for one in record.searches} == {"the budget of time"}
    # With time for more the recorded number counts.
    longer = msgspec.structs.replace(
        CONFIG, search=SearchConfig(population=4, budget=SearchBudget(minutes=1000.0))
    )
    assert sweep(longer, recorded=record).digest() == first.digest()


def test_another_version_of_a_sampler_is_noticed(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    sweep(journal=journal).board.close()
    other = msgspec.structs.replace(CONFIG, sampler="evolution")
    with pytest.raises(RunExistsError, match="begun with another version of the sampler"):
        sweep(other, journal=journal)


def test_a_run_its_trials_again_and_a_warm_start(tmp_path: Path) -> None:
    data = {"sample": {"start": "2024-03-01", "days": 4, "seed": 7}}
    config = msgspec.convert({**msgspec.to_builtins(CONFIG), **data}, OptimizeConfig)
    config = msgspec.structs.replace(config, strategies=("rsi_reversion",))
    said: list[str] = []
    run = load_run(run_pipeline(config, tmp_path / "runs", log=said.append).run_dir)
    assert any("tpe searches anew for each of 2 folds and the refit" in line for line in said)
    record = msgspec.json.decode((run.path / SEARCH).read_bytes(), type=RunSearches)
    assert [one.search for one in record.searches] == [0, 1, 2]
    rows = read_trials(run.path / TRIALS)
    assert len(rows) == SEARCHES * 12
    row, plan = find_trial(run, rows[-1].trial_id)
    assert not differences(row, rerun_trial(run, row, plan))

    warm = msgspec.structs.replace(config, search=SearchConfig(population=4, warm_start=str(run.path)))
    found = read_warm_start(warm, load_strategies(warm))
    (points,) = found.points.values()
    assert 0 < len(points) <= 2
    with pytest.raises(ConfigError, match="must end before the first test segment"):
        run_pipeline(warm, tmp_path / "runs", log=lambda text: None)
    later = msgspec.structs.replace(warm, sample=msgspec.structs.replace(warm.sample, start="2024-03-11"))
    again = load_run(run_pipeline(later, tmp_path / "runs", log=said.append).run_dir)
    begun = [row for row in read_trials(again.path / TRIALS) if row.trial_id.endswith("-00000")]
    assert {row.params_json for row in begun} == {canonical_json(points[0]).decode()}


def test_a_sampler_that_does_not_learn_has_its_points_beforehand() -> None:
    config = msgspec.structs.replace(CONFIG, sampler="sobol", search=SearchConfig())
    context = plan_context(bars_of(), config)
    planned = plan_sweep(load_strategies(config), config, context.plan)
    assert isinstance(planned, FixedSweep)
    assert planned.trials == len(planned.first_points()) == 24
