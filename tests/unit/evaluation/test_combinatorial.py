"""Combinatorial splits: every choice once, nothing near a test group trained on, every path whole."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.errors import MetricInputError
from aiopt.evaluation.combinatorial import make_paths, make_splits, n_paths, n_splits


def groups(lengths: list[int]) -> list[tuple[int, int]]:
    edges = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    return list(itertools.pairwise(edges))


@given(st.lists(st.integers(1, 30), min_size=2, max_size=8), st.data())
def test_no_train_period_is_tested_or_near_a_test(lengths: list[int], data: st.DataObject) -> None:
    tested = data.draw(st.integers(1, len(lengths) - 1))
    purge, embargo = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 40))
    cut = groups(lengths)
    splits = make_splits(cut, tested, purge=purge, embargo=embargo)
    assert len(splits) == n_splits(len(cut), tested) == len({split.test for split in splits})
    for split in splits:
        trained = {period for a, b in split.train for period in range(a, b)}
        guarded = set()
        for group in split.test:
            start, stop = cut[group]
            guarded |= set(range(start - purge, stop + embargo))
        everything = set(range(sum(lengths)))
        assert trained == everything - guarded
        assert not {*split.train_groups} & {*split.test}


@given(st.integers(2, 8), st.data())
def test_every_path_tests_every_group_once_and_no_test_is_left(count: int, data: st.DataObject) -> None:
    tested = data.draw(st.integers(1, count - 1))
    splits = make_splits(groups([5] * count), tested)
    paths = make_paths(count, splits)
    assert len(paths) == n_paths(count, tested) == tested * len(splits) // count
    used = Counter()
    for path in paths:
        assert len(path) == count
        for group, split in enumerate(path):
            assert group in splits[split].test
            used[group, split] += 1
    assert set(used.values()) == {1}
    assert len(used) == tested * len(splits)


def test_the_example_of_the_book() -> None:
    assert n_splits(6, 2) == 15
    assert n_paths(6, 2) == 5


@pytest.mark.parametrize("tested", [0, 3])
def test_a_split_needs_train_and_test(tested: int) -> None:
    with pytest.raises(MetricInputError, match=r"`1 <= tested < groups` must hold"):
        make_splits(groups([5, 5, 5]), tested)


def test_a_gap_is_not_negative() -> None:
    with pytest.raises(MetricInputError, match="purge >= 0 and embargo >= 0"):
        make_splits(groups([5, 5, 5]), 1, purge=-1)
