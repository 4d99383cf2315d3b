"""How many independent trials correlated ones are worth, on sets where it is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aiopt.errors import MetricInputError
from aiopt.evaluation.effective import EffectiveTrials, effective_trials, periods_per_unit


def test_copies_are_one_and_strangers_are_many() -> None:
    rng = np.random.default_rng(2)
    one, strangers = rng.normal(size=(1, 500)), rng.normal(size=(40, 500))
    assert effective_trials(np.repeat(one, 20, axis=0)) == pytest.approx(1.0)
    assert effective_trials(strangers) == pytest.approx(40, abs=1.5)
    assert effective_trials(np.vstack([strangers, np.zeros((9, 500))])) == pytest.approx(40, abs=1.5)
    assert math.isnan(effective_trials(np.zeros((3, 10))))
    assert effective_trials(one) == 1.0


@pytest.mark.parametrize("blocks", [3, 14, 60])
def test_blocks_of_copies_are_worth_their_number(blocks: int) -> None:
    rng = np.random.default_rng(blocks)
    strangers = rng.standard_t(4, size=(blocks, 400))
    copies = np.repeat(strangers, 25, axis=0)
    signs = rng.choice([-1.0, 1.0], size=(len(copies), 1))
    assert effective_trials(copies) == pytest.approx(blocks, rel=0.1)
    # A trial and its opposite are one bet.
    assert effective_trials(copies * signs) == pytest.approx(effective_trials(copies))
    # The mean correlation, by which they were counted before, is near 0 here: it finds nearly all of them.
    blurred = copies + 0.2 * rng.normal(size=copies.shape)
    assert effective_trials(blurred) == pytest.approx(blocks, rel=0.2)


def test_equals_the_eigenvalues_without_the_correction() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(7, 60)) + rng.normal(size=(1, 60))
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(values))
    plain = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    corrected = effective_trials(values)
    pairs = (49 / plain - 7) / 42
    expected = 7 / (1 + 6 * (pairs - 1 / 59) / (1 - 1 / 59))
    assert corrected == pytest.approx(expected, rel=1e-5)


def test_chunks_give_what_all_at_once_gives() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(90, 240)) + rng.normal(size=(1, 240))
    found = EffectiveTrials(240, 24)
    for start in range(0, 90, 17):
        found.add(values[start : start + 17])
    assert found.number() == pytest.approx(effective_trials(values, per_unit=24), rel=1e-5)
    daily = effective_trials(values.reshape(90, 10, 24).sum(axis=2))
    assert found.number() == pytest.approx(daily, rel=1e-5)


def test_closed_hours_do_not_make_strangers_of_relatives() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(50, 200))
    closed = np.zeros((50, 300))
    closed[:, np.sort(rng.choice(300, 200, replace=False))] = values
    assert effective_trials(closed) == pytest.approx(effective_trials(values), rel=0.1)


def test_units_are_days_of_a_year_hours_of_a_week_and_few_of_ten_years() -> None:
    assert periods_per_unit(6200, 24) == 24
    assert periods_per_unit(168, 24) == 1
    assert periods_per_unit(240, 24) == 2
    assert periods_per_unit(40, 24) == 1
    years = periods_per_unit(10 * 8766, 24)
    assert years == 96
    assert 10 * 8766 / years <= 1000


def test_bad_input_is_refused() -> None:
    with pytest.raises(MetricInputError, match="two dimensions"):
        effective_trials([1.0, 2.0])
    with pytest.raises(MetricInputError, match="per_unit >= 1"):
        EffectiveTrials(10, 0)
