"""Searches: one contract, every sampler that learns."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys

import pytest

from aiopt.errors import ConfigError, SearchSpaceError
from aiopt.search.objectives import OBJECTIVES, check_objectives, upwards, values_of
from aiopt.search.pareto import front
from aiopt.search.proposer import check_space
from aiopt.search.search import Search, Seen, seen
from aiopt.search.settings import LEARNING, SearchBudget, SearchConfig, check_sampler
from aiopt.strategy.dimensions import Choice, FloatRange, IntRange
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.space import SearchSpace
from aiopt.strategy.spec import IndicatorSpec, StrategySpec

SPACE = FAMILIES["macd_adx_trend"]


@dataclasses.dataclass(frozen=True)
class Figures:
    """Figures of a window as a search reads them."""

    trades: int = 50
    sharpe: float = 0.0
    net_return: float = 0.0
    drawdown: float = 0.0
    turnover: float = 0.0
    gross_profit: float = 1.0
    gross_loss: float = 1.0


def bowl(point, space=SPACE):
    """Return how good a point is: best at 0.3 of every range."""
    return -sum((space.dimensions[name].position(value) - 0.3) ** 2 for name, value in point.items())


def run(sampler, *, seed=1, trials=60, population=12, space=SPACE, value=bowl, **settings):
    search = Search(space, sampler, SearchConfig(population=population, **settings), seed=seed, trials=trials)
    while points := search.ask():
        search.tell([Seen((value(point),)) for point in points])
    return search


def mixed_space(**changes):
    spec = StrategySpec(
        name="mixed",
        params={"length": 20, "use": 0, "least": 20.0, "width": 2.0},
        indicators={
            "average": IndicatorSpec(kind="ema", args={"length": "length"}),
            "dmi": IndicatorSpec(kind="dmi", args={"length": 14, "smoothing": 14}),
        },
        entry_long="close > average * width and (use < 1 or dmi.adx > least)",
    )
    dimensions = {
        "length": IntRange(2, 200, log=True),
        "average.kind": Choice(("ema", "sma", "rma")),
        "use": Choice((0, 1)),
        "least": FloatRange(15.0, 35.0, when={"use": 1}),
        "width": FloatRange(0.5, 4.0, 0.25),
    }
    return SearchSpace(spec, dimensions | changes, ("length > 3 * width",))


class TestContract:
    """What every sampler promises."""

    @pytest.fixture(params=LEARNING)
    def sampler(self, request):
        return request.param

    def test_points_are_valid_distinct_and_as_many_as_asked_for(self, sampler):
        search = run(sampler)
        assert len(search.points) == len({tuple(point.values()) for point in search.points}) == 60
        assert all(SPACE.holds(point) for point in search.points)
        assert (search.generations, search.stopped) == (5, "all trials were made")

    def test_same_seed_same_points(self, sampler):
        assert run(sampler, trials=36).points == run(sampler, trials=36).points

    def test_other_seed_other_points(self, sampler):
        assert run(sampler, trials=24).points != run(sampler, trials=24, seed=2).points

    def test_it_learns(self, sampler):
        best = max(bowl(point) for point in run(sampler, trials=96).points)
        assert best > max(bowl(point) for point in SPACE.sample(96, 1))

    def test_it_learns_from_nothing_but_what_it_is_told(self, sampler):
        first = run(sampler, trials=24).points
        other = run(sampler, trials=24, value=lambda point: -bowl(point)).points
        assert first[:12] == other[:12] == SPACE.sample(12, 1)
        assert first[12:] != other[12:]

    def test_points_that_cannot_be_chosen_do_not_stop_it(self, sampler):
        search = Search(SPACE, sampler, SearchConfig(population=8), seed=1, trials=32)
        while points := search.ask():
            search.tell([Seen(None, 1.0) for _ in points])
        assert len(search.points) == 32
        assert search.record([""] * 32).front == ()

    def test_a_small_space_is_tried_whole(self, sampler):
        space = SearchSpace(
            SPACE.spec, {"fast_length": IntRange(6, 12, 2), "signal_length": IntRange(5, 9, 2)}
        )
        search = run(sampler, space=space, trials=500, value=lambda point: bowl(point, space))
        assert {tuple(point.values()) for point in search.points} == {
            (fast, signal) for fast in (6, 8, 10, 12) for signal in (5, 7, 9)
        }
        assert search.stopped == "every point of the space was tried"

    def test_a_plateau_ends_it(self, sampler):
        search = run(sampler, value=lambda point: 1.0, budget=SearchBudget(plateau=2))
        assert (search.generations, search.stopped) == (3, "no improvement over 2 generations")

    def test_it_begins_with_points_it_is_given(self, sampler):
        first = SPACE.sample(3, seed=99)
        search = Search(SPACE, sampler, SearchConfig(population=8), seed=1, trials=8, first=first)
        assert search.ask()[:3] == first

    def test_conditional_and_named_dimensions(self, sampler):
        space = mixed_space()
        if sampler == "cmaes":
            with pytest.raises(
                SearchSpaceError, match=r"average\.kind, use is a choice.*Use another sampler \(tpe"
            ):
                check_space(space, sampler)
            return
        check_space(space, sampler)
        search = run(sampler, space=space, trials=48, value=lambda point: float(point["length"]))
        assert len(search.points) == 48
        assert all(space.holds(point) for point in search.points)
        assert {point["least"] for point in search.points if point["use"] == 0} == {20.0}
        assert len({point["average.kind"] for point in search.points}) == 3


def test_several_objectives_give_a_front():
    settings = SearchConfig(population=12, objectives=("return", "drawdown"))
    for sampler in ("tpe", "nsga2", "nsga3"):
        search = Search(SPACE, sampler, settings, seed=1, trials=48)
        while points := search.ask():
            search.tell([Seen((bowl(p), float(p["fast_length"]))) for p in points])
        record = search.record([f"t{i}" for i in range(48)])
        values = [one.values for one in record.front]
        everything = [(bowl(p), float(p["fast_length"])) for p in search.points]
        assert values
        for value in values:  # more return, less drawdown
            beaten = [o for o in everything if o[0] >= value[0] and o[1] <= value[1] and o != value]
            assert not beaten
        assert record.best[-1] == (max(v[0] for v in everything), min(v[1] for v in everything))


def test_the_hash_seed_of_the_process_decides_nothing():
    code = (
        "from tests.unit.search.test_search import run, mixed_space, LEARNING\n"
        "print([run(s, space=mixed_space(), trials=30, value=lambda p: float(p['length'])).points "
        "for s in LEARNING if s != 'cmaes'], run('cmaes', trials=30).points)"
    )
    outputs = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1


@pytest.mark.parametrize(
    ("space", "match"),
    [
        (mixed_space(), "average.kind, use is a choice, which has no direction"),
        (
            SearchSpace(
                SPACE.spec,
                {"fast_length": IntRange(6, 30), "slow_length": IntRange(31, 78, when={"fast_length": 6})},
            ),
            "slow_length has a `when`",
        ),
        (SearchSpace(SPACE.spec, {"fast_length": IntRange(6, 30)}), "only one dimension to vary"),
    ],
)
def test_what_cma_es_cannot_treat(space, match):
    with pytest.raises(SearchSpaceError, match=match):
        check_space(space, "cmaes")


def test_a_constraint_that_empties_the_space_is_refused():
    space = SearchSpace(SPACE.spec, SPACE.dimensions, ("fast_length > slow_length + 100",))
    with pytest.raises(SearchSpaceError, match="no valid point"):
        check_space(space, "tpe")


class TestSettings:
    def test_unknown_sampler(self):
        with pytest.raises(ConfigError, match=r"no sampler 'genetic'\. Use sobol, random, grid, tpe, cmaes"):
            check_sampler("genetic", SearchConfig())

    def test_settings_of_a_sampler_that_does_not_learn(self):
        with pytest.raises(ConfigError, match="`search` is for samplers that learn, and sobol does not"):
            check_sampler("sobol", SearchConfig(population=8))

    @pytest.mark.parametrize("sampler", ["cmaes", "evolution"])
    def test_several_objectives_need_a_sampler_for_them(self, sampler):
        with pytest.raises(ConfigError, match=r"pursues one objective.*or use tpe, nsga2, nsga3"):
            check_sampler(sampler, SearchConfig(objectives=("return", "drawdown")))

    def test_unknown_objective_lists_them(self):
        with pytest.raises(ConfigError, match=r"'sharp'\. Use one or several of sharpe, return.*'sharpe'"):
            check_objectives(["sharp"])

    @pytest.mark.parametrize(("names", "match"), [([], "is empty"), (["return", "return"], "one twice")])
    def test_objectives(self, names, match):
        with pytest.raises(ConfigError, match=match):
            check_objectives(names)

    @pytest.mark.parametrize("budget", [{"minutes": 0.0}, {"minutes": math.inf}, {"plateau": 0}])
    def test_a_budget_of_nothing(self, budget):
        with pytest.raises(SearchSpaceError, match=r"`search\.budget\.(minutes > 0|plateau >= 1)` must hold"):
            SearchBudget(**budget)

    @pytest.mark.parametrize("population", [1, 10_001])
    def test_population(self, population):
        with pytest.raises(ConfigError, match=f"must hold, but got {population}"):
            SearchConfig(population=population)


class TestWhatIsSeen:
    def test_a_failed_trial(self):
        assert seen(None, ["sharpe"], 10) == Seen(None, 1.0)

    def test_too_few_trades(self):
        assert seen(Figures(trades=4), ["sharpe"], 10) == Seen(None, 0.6)

    def test_no_sharpe_ratio(self):
        assert seen(Figures(sharpe=math.nan), ["return"], 10) == Seen(None)

    def test_objectives(self):
        figures = Figures(sharpe=1.5, net_return=0.1, drawdown=0.2, turnover=30.0, gross_profit=3.0)
        assert values_of(figures, list(OBJECTIVES)) == (1.5, 0.1, 0.2, 30.0, 3.0)
        assert upwards((1.0, 2.0), ["return", "drawdown"]) == (1.0, -2.0)
        assert values_of(Figures(gross_loss=0.0), ["profit_factor"]) == (100.0,)
        assert math.isnan(values_of(Figures(gross_profit=0.0, gross_loss=0.0), ["profit_factor"])[0])


def test_front_keeps_one_of_equals():
    assert front([(1.0, 1.0), (1.0, 1.0), (0.0, 2.0), (0.5, 0.5)]) == [0, 2]
