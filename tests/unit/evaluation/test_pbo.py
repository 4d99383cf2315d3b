"""PBO against a literal implementation, noise and a planted winner."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from aiopt.errors import MetricInputError
from aiopt.evaluation.pbo import longest_holdings, overfitting_of_parts, probability_of_overfitting


def literal(returns: np.ndarray, n_blocks: int, purge: int = 0) -> tuple[float, float]:
    """CSCV as the paper tells it, with loops."""
    blocks = [
        returns[b * len(returns) // n_blocks : (b + 1) * len(returns) // n_blocks] for b in range(n_blocks)
    ]

    def kept(b: int, chosen: tuple[int, ...]) -> np.ndarray:
        first = purge if b > 0 and b - 1 not in chosen else 0
        last = purge if b < n_blocks - 1 and b + 1 not in chosen else 0
        return blocks[b][first : len(blocks[b]) - last]

    worse, lost, splits = 0, 0, 0
    for chosen in itertools.combinations(range(n_blocks), n_blocks // 2):
        inside = np.vstack([kept(b, chosen) for b in chosen])
        outside = np.vstack([blocks[b] for b in range(n_blocks) if b not in chosen])
        ratio = inside.mean(axis=0) / inside.std(axis=0)
        best = int(ratio.argmax())
        test = outside.mean(axis=0) / outside.std(axis=0)
        rank = 1 + sum(x < test[best] for x in test)
        worse += rank / (len(test) + 1) <= 0.5
        lost += outside[:, best].mean() < 0
        splits += 1
    return worse / splits, lost / splits


@pytest.mark.parametrize(
    ("n_periods", "n_trials", "n_blocks"), [(60, 5, 6), (83, 8, 4), (40, 2, 2), (61, 7, 8)]
)
def test_equals_the_literal_algorithm(n_periods: int, n_trials: int, n_blocks: int) -> None:
    returns = np.random.default_rng(n_periods).normal(0.02, 1, size=(n_periods, n_trials))
    got = probability_of_overfitting(returns, n_blocks=n_blocks)
    assert (got.pbo, got.probability_of_loss) == pytest.approx(literal(returns, n_blocks))


@pytest.mark.parametrize("purge", [1, 3])
def test_purging_equals_the_literal_algorithm(purge: int) -> None:
    returns = np.random.default_rng(purge).normal(0.02, 1, size=(83, 8))
    got = probability_of_overfitting(returns, n_blocks=6, purge=purge)
    assert (got.pbo, got.probability_of_loss) == pytest.approx(literal(returns, 6, purge))
    assert got.logits.tolist() != probability_of_overfitting(returns, n_blocks=6).logits.tolist()


def test_the_longest_holding_is_the_longest_run() -> None:
    profits = np.array([[0.0, 1, -1, 0, 2, 0], [3.0, 0, 0, 1, -1, 1]])
    assert longest_holdings(profits).max() == 3
    assert longest_holdings(np.zeros((2, 4))).tolist() == [0, 0]


def test_a_purge_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(MetricInputError, match=r"2 \* purge \+ 2 <= n_periods // n_blocks"):
        probability_of_overfitting(np.random.default_rng(0).normal(size=(100, 3)), purge=5)


def test_choosing_among_noise_is_choosing_blindly() -> None:
    rng = np.random.default_rng(0)
    values = [probability_of_overfitting(rng.normal(size=(200, 20)), n_blocks=8).pbo for _ in range(150)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.06)


def test_a_truly_superior_trial_is_found_again() -> None:
    returns = np.random.default_rng(1).normal(size=(400, 20))
    returns[:, 7] += 0.5
    got = probability_of_overfitting(returns)
    assert got.pbo < 0.01
    assert got.probability_of_loss < 0.01


def test_noise_in_sample_that_reverses_is_overfitting() -> None:
    # Trial i earns in block i only and pays for it in all others: the best in-sample is the worst outside.
    n = 8
    returns = np.full((n * 10, n), -1.0) + np.random.default_rng(2).normal(scale=0.01, size=(n * 10, n))
    for i in range(n):
        returns[i * 10 : (i + 1) * 10, i] += 5.0
    assert probability_of_overfitting(returns, n_blocks=n).pbo == 1.0


def test_the_unit_and_the_order_of_trials_do_not_matter() -> None:
    returns = np.random.default_rng(3).normal(0.05, 1, size=(90, 9))
    one = probability_of_overfitting(returns)
    other = probability_of_overfitting((returns * np.logspace(-6, 6, 9))[:, ::-1])
    assert (one.pbo, one.probability_of_loss) == (other.pbo, other.probability_of_loss)


def test_identical_trials_rank_in_the_middle() -> None:
    one = np.random.default_rng(4).normal(size=(50, 1))
    assert probability_of_overfitting(np.repeat(one, 6, axis=1)).pbo == 1.0


def test_trials_that_never_trade_are_allowed_beside_others() -> None:
    returns = np.random.default_rng(5).normal(-0.5, 1, size=(100, 4))
    returns[:, 1] = 0.0
    # Doing nothing is the best choice among losers, in both halves.
    assert probability_of_overfitting(returns).pbo < 0.1


@pytest.mark.parametrize(
    ("returns", "n_blocks", "message"),
    [
        (np.zeros((100, 5)), 10, "at least one trial must vary"),
        (np.ones((100, 1)), 10, "n_trials >= 2"),
        (np.ones((19, 2)), 10, "n_periods >= 2"),
        (np.ones((100, 2)), 7, "even"),
        (np.ones(100), 10, "two dimensions"),
        (np.full((100, 2), np.nan), 10, "finite"),
    ],
)
def test_degenerate_input_is_refused(returns: np.ndarray, n_blocks: int, message: str) -> None:
    with pytest.raises(MetricInputError, match=f"(?i){message}"):
        probability_of_overfitting(returns, n_blocks=n_blocks)


@pytest.mark.parametrize("cuts", [[1], [7, 8], [3, 20, 39]])
def test_trials_a_few_at_a_time_give_the_same_to_the_last_bit(cuts: list[int]) -> None:
    returns = np.random.default_rng(5).normal(size=(203, 40))
    whole = probability_of_overfitting(returns, n_blocks=6, purge=2)
    parts = overfitting_of_parts(np.split(returns, cuts, axis=1), n_blocks=6, purge=2)
    assert (parts.pbo, parts.probability_of_loss) == (whole.pbo, whole.probability_of_loss)
    assert np.array_equal(parts.logits, whole.logits)
