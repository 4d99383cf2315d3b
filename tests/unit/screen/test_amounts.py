"""Amounts in two machine words are the engine's whole numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from aiopt.backtest import money
from aiopt.screen.amounts import PART, added, negated, product, scaled, to_float


def pair(amount: int) -> tuple[int, int]:
    return divmod(amount, PART)


def whole(found: tuple[int, int]) -> int:
    assert 0 <= found[1] < PART
    return found[0] * PART + found[1]


def amounts(seed: int, n: int) -> Iterator[tuple[random.Random, int, int]]:
    """Yield pairs of amounts of all sizes, near whole numbers and halves of parts too."""
    draw = random.Random(seed)
    for _ in range(n):
        left, right = (
            draw.randint(-(10**digits), 10**digits)
            for digits in draw.choices([1, 3, 8, 12, 16, 17, 20, 25], k=2)
        )
        if draw.random() < 0.2:
            left -= left % PART
        yield draw, left, right


def test_sums_and_signs_are_exact() -> None:
    for _, left, right in amounts(1, 20_000):
        assert whole(added(*pair(left), *pair(right))) == left + right
        assert whole(negated(*pair(left))) == -left


def test_products_are_exact() -> None:
    for draw, left, right in amounts(2, 20_000):
        one = left % 10 ** draw.choice([3, 9, 17]) * draw.choice([1, -1])
        other = right % 10 ** draw.choice([2, 9, 12]) * draw.choice([1, -1])
        assert whole(product(one, other)) == one * other


def test_quotients_round_as_the_engine_rounds_them() -> None:
    halves = 0
    for draw, amount, _ in amounts(3, 20_000):
        divisor = draw.choice([1, 2, 4, 360, 2_000_000, draw.randint(1, 2**31 - 1)])
        factor = draw.choice([1, 5, draw.randint(1, 2**31 - 1)])
        halves += 2 * (amount * factor % divisor) == divisor
        assert whole(scaled(*pair(amount), factor, divisor)) == money.divided(amount * factor, divisor)
    assert halves > 100


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_float_is_the_one_the_engine_takes(seed: int) -> None:
    for _, left, right in amounts(seed, 20_000):
        for amount in (left, right, left // 1000 * 1000 + 500):
            assert to_float(*pair(amount)) == money.to_float(amount), amount
