"""Search spaces: one contract, every method."""

from __future__ import annotations

import pickle

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.errors import SearchSpaceError
from aiopt.strategy.dimensions import Choice, FloatRange, IntRange
from aiopt.strategy.families import FAMILIES
from aiopt.strategy.space import METHODS, SearchSpace, load_search_space
from aiopt.strategy.spec import IndicatorSpec, StrategySpec


def cross_spec():
    return StrategySpec(
        name="cross",
        params={"fast": 3, "slow": 9, "band": 0.5},
        indicators={
            "quick": IndicatorSpec(kind="ema", args={"length": "fast"}),
            "calm": IndicatorSpec(kind="ema", args={"length": "slow"}),
        },
        entry_long="quick > calm + band",
    )


def finite_space(constraints=("fast < slow",)):
    dimensions = {"fast": IntRange(2, 6), "slow": IntRange(3, 9, 2), "band": FloatRange(0.1, 0.3, 0.1)}
    return SearchSpace(cross_spec(), dimensions, constraints)


def valid_points():
    return {
        (fast, slow, band)
        for fast in range(2, 7)
        for slow in (3, 5, 7, 9)
        for band in (0.1, 0.2, 0.3)
        if fast < slow
    }


class TestContract:
    """What every method promises."""

    @pytest.fixture(params=METHODS)
    def method(self, request):
        return request.param

    def test_points_are_valid_and_distinct(self, method):
        points = finite_space().sample(30, seed=1, method=method)
        keys = [tuple(point.values()) for point in points]
        assert len(keys) == len(set(keys)) == 30
        assert set(keys) <= valid_points()
        assert all(list(point) == ["fast", "slow", "band"] for point in points)

    def test_values_have_the_types_of_the_parameters(self, method):
        for point in finite_space().sample(10, seed=1, method=method):
            assert [type(value) for value in point.values()] == [int, int, float]

    def test_same_seed_same_points(self, method):
        assert finite_space().sample(20, 5, method) == finite_space().sample(20, 5, method)

    def test_other_seed_other_points(self, method):
        assert finite_space().sample(20, 5, method) != finite_space().sample(20, 6, method)

    def test_smaller_sample_is_the_beginning_of_the_larger(self, method):
        larger = finite_space().sample(45, 5, method)
        for n in (1, 7, 44):
            assert finite_space().sample(n, 5, method) == larger[:n]

    def test_more_than_there_are_gives_the_whole_space(self, method):
        points = finite_space().sample(10_000, seed=2, method=method)
        assert {tuple(point.values()) for point in points} == valid_points()
        assert len(points) == finite_space().size() == len(valid_points())

    def test_no_valid_point(self, method):
        with pytest.raises(SearchSpaceError, match=r"no valid point.*`slow < fast - 5`\. Widen a dimension"):
            finite_space(["slow < fast - 5"]).sample(3, seed=1, method=method)

    @pytest.mark.parametrize("n", [0, -1, 1_000_001])
    def test_number_out_of_range(self, method, n):
        with pytest.raises(SearchSpaceError, match=rf"`1 <= n <= 1000000` must hold, but got n={n}"):
            finite_space().sample(n, seed=1, method=method)

    def test_negative_seed(self, method):
        with pytest.raises(SearchSpaceError, match=r"`seed >= 0` must hold, but got seed=-1"):
            finite_space().sample(1, seed=-1, method=method)

    def test_single_point(self, method):
        space = SearchSpace(cross_spec(), {"fast": Choice((4,))})
        assert space.sample(5, seed=1, method=method) == [{"fast": 4}]

    def test_a_needle_in_a_haystack_is_found(self, method):
        dimensions = {"fast": IntRange(1, 1000), "slow": IntRange(1, 1000)}
        space = SearchSpace(cross_spec(), dimensions, ("fast + slow >= 2000",))
        assert space.sample(3, seed=1, method=method) == [{"fast": 1000, "slow": 1000}]

    @pytest.mark.parametrize("name", FAMILIES)
    def test_families(self, method, name):
        space = FAMILIES[name]
        if method == "grid" and space.raw_size > 2_000_000:
            with pytest.raises(SearchSpaceError, match="a grid may have at most 2000000 combinations"):
                space.sample(3, seed=1, method=method)
            return
        points = space.sample(40, seed=1, method=method)
        assert len({tuple(point.items()) for point in points}) == 40
        assert all(space.contains(point) for point in points)
        assert len({space.spec.with_params(point).spec_hash for point in points}) == 40


@settings(max_examples=40, deadline=None)
@given(data=st.data(), method=st.sampled_from(METHODS), seed=st.integers(0, 2**32))
def test_small_spaces_against_brute_force(data, method, seed):
    low = data.draw(st.integers(1, 5))
    fast = IntRange(low, low + data.draw(st.integers(0, 6)), data.draw(st.integers(1, 3)))
    slow = Choice(tuple(data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=5, unique=True))))
    space = SearchSpace(cross_spec(), {"fast": fast, "slow": slow}, ("fast < slow",))
    expected = {(a, b) for a in range(fast.low, fast.high + 1, fast.step) for b in slow.values if a < b}
    assert space.size() == len(expected)
    if not expected:
        with pytest.raises(SearchSpaceError, match="no valid point"):
            space.sample(1, seed, method)
        return
    n = data.draw(st.integers(1, 40))
    points = [tuple(point.values()) for point in space.sample(n, seed, method)]
    assert len(points) == len(set(points)) == min(n, len(expected))
    assert set(points) <= expected


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_continuous_dimensions(method):
    space = SearchSpace(cross_spec(), {"band": FloatRange(0.25, 0.75)}, ("band != 0.5",))
    values = [point["band"] for point in space.sample(300, 3, method)]
    assert space.size() is None
    assert space.raw_size is None
    assert len(set(values)) == 300
    assert all(0.25 <= value <= 0.75 for value in values)
    assert all(value == float(f"{value:.6g}") for value in values)
    assert min(values) < 0.26
    assert max(values) > 0.74


def test_sobol_covers_evenly():
    space = SearchSpace(cross_spec(), {"band": FloatRange(0.0, 1.0)})
    values = [point["band"] for point in space.sample(64, 3, "sobol")]
    assert sorted(int(value * 64) for value in values) == list(range(64))


def test_continuous_space_without_a_valid_point():
    space = SearchSpace(cross_spec(), {"band": FloatRange(0.25, 0.75)}, ("band > 1",))
    with pytest.raises(SearchSpaceError, match=r"no valid point.*`band > 1`"):
        space.sample(1, 0)


def test_too_few_points_in_a_continuous_space():
    space = SearchSpace(cross_spec(), {"band": FloatRange(0.25, 0.25)})
    with pytest.raises(SearchSpaceError, match="asked for 5 valid points, but after 1 points"):
        space.sample(5, 0)


def test_grid_needs_steps():
    space = SearchSpace(cross_spec(), {"band": FloatRange(0.25, 0.75)})
    with pytest.raises(SearchSpaceError, match="a grid needs a step for every dimension, but band has none"):
        space.sample(5, 0, "grid")


def test_unknown_method():
    with pytest.raises(
        SearchSpaceError, match=r"there is no method 'sobel'. Use sobol, random, grid. Did you"
    ):
        finite_space().sample(5, 0, "sobel")


def test_float_steps_are_decimal():
    assert [FloatRange(0.1, 0.5, 0.1).at(i) for i in range(5)] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert FloatRange(0.1, 0.5, 0.1).count == 5
    assert FloatRange(1.0, 2.0, 0.3).count == 4
    assert IntRange(2, 9, 3).count == 3


def test_constraints_see_parameters_that_are_not_swept():
    space = SearchSpace(cross_spec(), {"fast": IntRange(1, 20)}, ("fast < slow",))
    assert space.size() == 8  # slow stays 9


def test_constraint_text_is_canonical():
    assert finite_space(["(fast)<slow"]).constraints == ("fast < slow",)


def test_size_counts_constrained_dimensions_only():
    assert FAMILIES["macd_adx_trend"].size() < FAMILIES["macd_adx_trend"].raw_size
    assert FAMILIES["stochastic_sma"].size() == FAMILIES["stochastic_sma"].raw_size


@pytest.mark.parametrize(
    ("dimensions", "constraints", "message"),
    [
        ({}, (), "there is no dimension"),
        ({"fst": IntRange(1, 2)}, (), "there is no 'fst'. Did you mean 'fast'"),
        ({"fast": FloatRange(1.0, 2.0, 1.0)}, (), "fast is a whole number, but its dimension has fractions"),
        ({"fast": Choice((1, 2.5))}, (), "fast is a whole number, but its dimension has fractions"),
        (
            {"fast": IntRange(0, 5)},
            (),
            "dimension fast reaches 0, which the strategy does not allow.*length=0",
        ),
        ({"fast": IntRange(1, 9000)}, (), "dimension fast reaches 9000, which the strategy does not allow"),
        (
            {"fast": IntRange(1, 5)},
            ("fast < slwo",),
            "names 'slwo', which is no parameter. Did you mean 'slow'",
        ),
        ({"fast": IntRange(1, 5)}, ("fast < close",), "may use parameters and numbers only, but has 'close'"),
        ({"fast": IntRange(1, 5)}, ("quick.x < 1",), "parameters and numbers only, but has 'quick.x'"),
        ({"fast": IntRange(1, 5)}, ("rising(fast, 2)",), "parameters and numbers only"),
        ({"fast": IntRange(1, 5)}, ("fast[1] < 3",), "parameters and numbers only"),
        ({"fast": IntRange(1, 5)}, ("fast <",), "it cannot be read"),
        ({"fast": IntRange(1, 5)}, ("fast",), "is a number, not true or false"),
    ],
)
def test_rules(dimensions, constraints, message):
    with pytest.raises(SearchSpaceError, match=message):
        SearchSpace(cross_spec(), dimensions, constraints)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: IntRange(5, 4), r"`low <= high` must hold, both finite, but got low=5, high=4"),
        (lambda: IntRange(1, 4, 0), r"`step > 0` must hold, but got step=0"),
        (lambda: FloatRange(0.0, float("nan")), r"`low <= high` must hold, both finite"),
        (lambda: FloatRange(0.0, float("inf")), r"`low <= high` must hold, both finite"),
        (lambda: FloatRange(0.0, 1.0, -0.5), r"`step > 0` must hold, but got step=-0.5"),
        (lambda: Choice(()), "needs at least one value, each once"),
        (lambda: Choice((1, 1)), "needs at least one value, each once"),
    ],
)
def test_dimension_rules(build, message):
    with pytest.raises(SearchSpaceError, match=message):
        build()


def test_space_pickles():
    space = finite_space()
    space.sample(3, 1)
    assert pickle.loads(pickle.dumps(space)).sample(5, 1) == space.sample(5, 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_file_round_trip(name, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(FAMILIES[name].to_yaml())
    space = load_search_space(path)
    assert space.spec == FAMILIES[name].spec
    assert space.dimensions == FAMILIES[name].dimensions
    assert space.constraints == FAMILIES[name].constraints
    assert space.sample(20, 3) == FAMILIES[name].sample(20, 3)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("", "the key 'search' is missing"),
        ("search: {dimensions: {}}", "there is no dimension"),
        ("search: {dimension: {}}", "Unknown key 'dimension'.*Did you mean 'dimensions'"),
        ("search: {dimensions: {n: {type: int, low: 1}}}", "missing required field `high`"),
        ("search: {dimensions: {n: {type: integer, low: 1}}}", "Invalid value 'integer'"),
        ("search: {dimensions: {n: {type: int, low: 9, high: 3}}}", "`low <= high` must hold"),
        ("search: {dimensions: {n: {type: int, low: 1.5, high: 3}}}", "Expected `int`, got `float`"),
    ],
)
def test_bad_search_in_a_file(tmp_path, search, message):
    path = tmp_path / "bad.yaml"
    path.write_text(f"name: s\nparams: {{n: 3}}\nentry_long: rising(close, n)\n{search}\n")
    with pytest.raises(SearchSpaceError, match=message):
        load_search_space(path)


class TestConditionalAndNamedDimensions:
    """Dimensions that count under a condition, and those whose values are names."""

    @staticmethod
    def space(**changes):
        spec = StrategySpec(
            name="cross",
            params={"fast": 3, "slow": 9, "use": 0, "least": 20.0},
            indicators={
                "quick": IndicatorSpec(kind="ema", args={"length": "fast"}),
                "calm": IndicatorSpec(kind="ema", args={"length": "slow"}),
                "dmi": IndicatorSpec(kind="dmi", args={"length": 14, "smoothing": 14}),
            },
            entry_long="quick > calm and (use < 1 or dmi.adx > least)",
        )
        dimensions = {
            "fast": IntRange(2, 4),
            "quick.kind": Choice(("ema", "sma")),
            "use": Choice((0, 1)),
            "least": FloatRange(15.0, 25.0, 5.0, when={"use": 1}),
            "calm.source": Choice(("close", "hl2"), when={"quick.kind": ("sma",), "use": 1}),
        }
        return SearchSpace(spec, dimensions | changes, ("fast < 4 or use > 0",))

    @staticmethod
    def brute_force():
        found = set()
        for fast in (2, 3, 4):
            for kind in ("ema", "sma"):
                if fast < 4:
                    found.add((fast, kind, 0, 20.0, "close"))
                for least in (15.0, 20.0, 25.0):
                    for source in ("close", "hl2") if kind == "sma" else ("close",):
                        found.add((fast, kind, 1, least, source))
        return found

    @pytest.mark.parametrize("method", METHODS)
    def test_points_that_differ_where_nothing_counts_are_one_point(self, method):
        points = self.space().sample(10_000, seed=1, method=method)
        assert {tuple(point.values()) for point in points} == self.brute_force()
        assert len(points) == self.space().size() == len(self.brute_force())
        assert all(self.space().holds(point) for point in points)

    def test_names_become_parts_of_the_strategy(self):
        space = self.space()
        spec = space.spec.with_params({"quick.kind": "sma", "calm.source": "hl2", "fast": 4})
        assert (spec.indicators["quick"].kind, spec.indicators["calm"].source) == ("sma", "hl2")
        assert spec.params["fast"] == 4
        assert space.spec.with_params({"quick.kind": "ema"}) == space.spec

    def test_every_point_is_a_strategy_of_its_own(self):
        space = self.space()
        points = space.sample(10_000, seed=1)
        assert len({space.spec.with_params(point).spec_hash for point in points}) == len(points)

    def test_yaml_round_trip(self, tmp_path):
        path = tmp_path / "cross.yaml"
        path.write_text(self.space().to_yaml())
        assert load_search_space(path) == self.space()

    def test_defaults_say_nothing(self):
        assert IntRange(1, 9, log=False, when={}) == IntRange(1, 9)
        assert msgspec.to_builtins(IntRange(1, 9)) == {"type": "int", "low": 1, "high": 9, "step": 1}

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"least": FloatRange(1.0, 2.0, when={"usee": 1})}, r"no 'usee'\. Did you mean 'use'"),
            (
                {"least": FloatRange(1.0, 2.0, when={"use": 2})},
                r"asks for use \[2\], which its dimension never",
            ),
            ({"use": Choice((0, 1), when={"least": 20.0})}, "goes round in a circle"),
            ({"quick.kind": Choice(("ema", "smma"))}, "reaches smma, which the strategy does not allow"),
            ({"quick.kind": Choice((1, 2))}, "quick.kind is a name"),
            ({"fast": Choice(("a", "b"))}, "fast is a number, but"),
            ({"dmi.source": Choice(("close", "hl2"))}, "there is no 'dmi.source'"),
        ],
    )
    def test_refused(self, changes, match):
        with pytest.raises(SearchSpaceError, match=match):
            self.space(**changes)

    def test_a_choice_mixes_nothing(self):
        with pytest.raises(SearchSpaceError, match="between numbers or between names"):
            Choice((1, "ema"))


class TestLogarithmicDimensions:
    @pytest.mark.parametrize("one", [IntRange(1, 1024, log=True), FloatRange(1.0, 1024.0, log=True)])
    def test_each_doubling_is_as_likely(self, one):
        values = [one.value((i + 0.5) / 1000) for i in range(1000)]
        assert values == sorted(values)
        assert (values[0], values[-1]) == (pytest.approx(1, abs=0.01), pytest.approx(1024, abs=4))
        assert 480 < sum(value <= 32 for value in values) < 560

    @pytest.mark.parametrize(
        "one", [IntRange(3, 300, log=True), IntRange(2, 20, 3), FloatRange(0.1, 9.0, 0.1)]
    )
    def test_a_position_gives_its_value_back(self, one):
        values = [one.at(index) for index in range(one.count)]
        assert [one.value(one.position(value)) for value in values] == values

    @pytest.mark.parametrize(
        "make",
        [
            lambda: IntRange(0, 9, log=True),
            lambda: IntRange(1, 9, 2, log=True),
            lambda: FloatRange(0.0, 1.0, log=True),
            lambda: FloatRange(1.0, 2.0, 0.5, log=True),
        ],
    )
    def test_refused(self, make):
        with pytest.raises(SearchSpaceError, match="`log` needs"):
            make()
