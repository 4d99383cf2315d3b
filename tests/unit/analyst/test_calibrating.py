"""Calibration: truth planted in confidences is found, and nothing is promised on too few answers."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from aiopt.analyst.calibrating import Calibrator, fit_calibrator, fit_isotonic, fit_temperature
from aiopt.analyst.scoring import calibration
from aiopt.errors import MetricInputError


def answers(n: int, seed: int, truth: object) -> tuple[list[float], list[bool]]:
    rng = np.random.default_rng(seed)
    said = rng.uniform(0.02, 0.98, n)
    return said.tolist(), (rng.random(n) < truth(said)).tolist()  # type: ignore[operator]


def cooled(said: np.ndarray) -> np.ndarray:
    return 1 / (1 + ((1 - said) / said) ** (1 / 3))


def stepped(said: np.ndarray) -> np.ndarray:
    return np.where(said < 0.5, 0.7, 0.9)


def test_a_planted_temperature_is_found() -> None:
    found = fit_temperature(*answers(6_000, 1, cooled))
    assert found.temperature == pytest.approx(3.0, rel=0.1)
    assert found(0.9) == pytest.approx(cooled(np.array([0.9]))[0], abs=0.02)


@pytest.mark.parametrize(("truth", "method"), [(cooled, "temperature"), (stepped, "isotonic")])
def test_the_better_form_is_taken_and_mends_other_answers(truth: object, method: str) -> None:
    found = fit_calibrator(*answers(3_000, 2, truth))
    assert found.method == method
    said, right = answers(3_000, 3, truth)
    before = calibration(said, right)
    after = calibration([found(value) for value in said], right)
    assert after.ece < 0.3 * before.ece  # type: ignore[operator]
    assert after.brier < before.brier  # type: ignore[operator]


def test_isotonic_never_falls_and_is_never_sure() -> None:
    said, right = answers(400, 4, lambda said: 1 - said)
    found = fit_isotonic(said, right)
    told = [found(value) for value in np.linspace(0, 1, 101)]
    assert np.diff(told).min() >= 0
    assert 0 < min(told) <= max(told) < 1
    perfect = fit_isotonic([0.2] * 30 + [0.8] * 30, [False] * 30 + [True] * 30)
    assert perfect.confidences == (0.2, 0.8)
    assert msgspec.json.decode(msgspec.json.encode(perfect), type=Calibrator) == perfect
    assert perfect.shares == (round(1 / 32, 6), round(31 / 32, 6))


def test_isotonic_is_level_within_a_pool_and_never_below_what_the_pool_had_right() -> None:
    # Right, then wrong, then right again: the first two are one pool, whatever lies between its ends.
    said = [0.2] * 40 + [0.3] * 40 + [0.5] * 40 + [0.9] * 80
    right = [False] * 40 + [True] * 40 + [False] * 40 + [True] * 80
    found = fit_isotonic(said, right)
    assert found(0.3) == found(0.4) == found(0.5) == pytest.approx(41 / 82, abs=1e-6)
    assert found(0.1) == found(0.2) == pytest.approx(1 / 42, abs=1e-6)
    assert found(0.9) == found(1.0) == pytest.approx(81 / 82, abs=1e-6)


def test_ends_are_finite() -> None:
    found = Calibrator(method="temperature", temperature=2.0)
    assert 0 <= found(0.0) < 0.01
    assert 0.99 < found(1.0) <= 1


@pytest.mark.parametrize(
    ("said", "right", "message"),
    [
        ([0.5] * 19, [True] * 19, "at least 20 answers, but got 19"),
        ([0.5] * 20, [True] * 21, "must pair up, but got 20 and 21"),
        ([1.5] * 20, [True] * 20, "0 <= confidence <= 1"),
    ],
)
def test_bad_input(said: list[float], right: list[bool], message: str) -> None:
    with pytest.raises(MetricInputError, match=message):
        fit_calibrator(said, right)
