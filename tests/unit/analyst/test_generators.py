"""Two generators of planted truth: what is hidden is in the bars, and neither leans to a side."""

from __future__ import annotations

import numpy as np
import pytest

from aiopt.analyst.generators import (
    GENERATORS,
    generator_of,
    kinds_in_turn,
    noisy_bars,
    warped_bars,
)
from aiopt.analyst.planted import N_BARS, planted_case
from aiopt.analyst.processes import NEUTRAL_PROCESSES, PROCESS_KINDS, process_case
from aiopt.errors import ConfigError
from aiopt.patterns import PATTERN_KINDS


@pytest.mark.parametrize("name", GENERATORS)
def test_equal_seeds_give_equal_bars_that_keep_the_rules_of_bars(name: str) -> None:
    generator = GENERATORS[name]
    hashes = set()
    for kind in generator.kinds:
        case, again = generator.case(kind, seed=4), generator.case(kind, seed=4)
        bars = case.bars
        assert bars.data_hash == again.bars.data_hash
        assert (case.kind, case.generator, len(bars)) == (kind, name, N_BARS)
        assert (bars.low <= np.minimum(bars.open, bars.close)).all()
        assert (bars.high >= np.maximum(bars.open, bars.close)).all()
        assert bars.low.min() > 0
        assert 0 <= case.first_bar <= case.last_bar < N_BARS
        hashes |= {bars.data_hash, generator.case(kind, seed=5).bars.data_hash}
    assert len(hashes) == 2 * len(generator.kinds)


def drift_t(kind: str, seed: int, noise: float) -> float:
    """Return the mean change of the last regime's closes in standard errors."""
    case = process_case(kind, seed=seed, noise=noise)
    changes = np.diff(np.log(case.bars.close[case.first_bar :]))
    return float(changes.mean() / changes.std() * np.sqrt(changes.size))


def test_the_hidden_drift_is_in_the_bars_and_noise_hides_it() -> None:
    for kind, sign in (("drift_up", 1), ("drift_down", -1), ("wandering", 0), ("reverting", 0)):
        easy = np.array([drift_t(kind, seed, 0.5) for seed in range(40)])
        hard = np.array([drift_t(kind, seed, 2.0) for seed in range(40)])
        if sign:
            assert (np.sign(easy) == sign).mean() >= 0.95
            assert abs(hard.mean()) < abs(easy.mean()) / 2
        else:
            assert abs(easy.mean()) < 0.5


def test_a_reverting_price_stays_nearer_than_a_wandering_one_and_a_jump_is_large() -> None:
    def spread(kind: str) -> float:
        found = []
        for seed in range(30):
            case = process_case(kind, seed=seed)
            close = np.log(case.bars.close[case.first_bar :])
            found.append(close.std() / np.diff(close).std())
        return float(np.mean(found))

    assert spread("reverting") < 0.6 * spread("wandering")
    for seed in range(20):
        case = process_case("jump_up", seed=seed, noise=0.5)
        opening = case.bars.close[case.first_bar] - case.bars.open[case.first_bar]
        usual = np.abs(np.diff(case.bars.close[case.first_bar :])).mean()
        assert opening > 3 * usual


def test_volatility_is_that_of_the_last_regime() -> None:
    ratios: dict[str | None, list[float]] = {}
    for seed in range(120):
        case = process_case("wandering", seed=seed)
        changes = np.diff(np.log(case.bars.close))
        before, last = changes[: case.first_bar - 1], changes[case.first_bar :]
        ratios.setdefault(case.volatility, []).append(float(last.std() / before.std()))
    assert np.median(ratios["low"]) < 0.65 < np.median(ratios["normal"]) < 1.3 < np.median(ratios["high"])


def test_truth_is_even_between_the_sides() -> None:
    for generator in GENERATORS.values():
        biases = [generator.case(kind, seed=i).bias for i, kind in enumerate(kinds_in_turn(generator, 30))]
        assert [biases.count(side) for side in ("long", "short", "neutral")] == [10, 10, 10]
    assert {process_case(kind, seed=1).trend for kind in NEUTRAL_PROCESSES} == {"sideways"}


def test_kinds_can_be_held_out() -> None:
    templates = generator_of("templates")
    kept = tuple(kind for kind in templates.kinds if "top" not in kind)
    assert set(kinds_in_turn(templates, 200, kinds=kept)) == set(kept)
    assert set(kinds_in_turn(templates, 9, kinds=("hammer", "none"))) == {"hammer", "none"}


def test_kinds_know_their_mirror_images() -> None:
    templates, processes = GENERATORS["templates"], GENERATORS["processes"]
    for kind in templates.kinds:
        if kind != "none":
            assert templates.mirror(kind) == PATTERN_KINDS[kind].mirror
    assert [processes.mirror(kind) for kind in ("drift_up", "jump_down", "reverting")] == [
        "drift_down",
        "jump_up",
        "reverting",
    ]


def test_noise_and_warps_change_prices_and_keep_bars_whole() -> None:
    bars = planted_case("double_top", seed=3).bars
    for changed in (warped_bars(bars, seed=1), noisy_bars(bars, seed=1)):
        assert changed.data_hash != bars.data_hash
        assert (changed.low <= np.minimum(changed.open, changed.close)).all()
        assert (changed.high >= np.maximum(changed.open, changed.close)).all()
    warped = warped_bars(bars, seed=1)
    np.testing.assert_allclose(warped.close - warped.open, bars.close - bars.open, atol=2.1e-5)
    assert np.abs(warped.close - bars.close).max() < 0.11 * (bars.high.max() - bars.low.min())
    assert warped_bars(bars, seed=1, strength=0.0).data_hash == bars.data_hash


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: generator_of("template"), r"one of templates, processes.*Did you mean 'templates'"),
        (lambda: process_case("drift", seed=1), r"The kind must be one of a process, but got 'drift'"),
        (lambda: process_case("drift_up", seed=1, noise=0), r"`0 < noise <= 10` must hold"),
        (lambda: kinds_in_turn(GENERATORS["processes"], 3, kinds=()), r"must have a kind left"),
        (
            lambda: kinds_in_turn(GENERATORS["processes"], 3, kinds=("hammer",)),
            r"one of the generator 'processes', but got 'hammer'",
        ),
        (lambda: warped_bars(planted_case("none", seed=1).bars, seed=1, strength=2), r"0 <= strength <= 1"),
        (lambda: noisy_bars(planted_case("none", seed=1).bars, seed=1, strength=-1), r"0 <= strength <= 10"),
    ],
)
def test_bad_input_is_refused(call: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()  # type: ignore[operator]


def test_every_kind_of_process_is_in_a_group() -> None:
    assert set(GENERATORS["processes"].kinds) == set(PROCESS_KINDS)
