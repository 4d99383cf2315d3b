"""Items loaded ahead are the items, in any order of asking, and never many at a time."""

from __future__ import annotations

import threading
import time

import pytest

from aiopt.errors import DataError
from aiopt.ticks.sources.ahead import ReadAhead


def test_items_come_in_any_order_and_an_error_comes_with_its_item() -> None:
    def load(number: int) -> int:
        if number == 3:
            raise DataError("the third is damaged")
        return number * number

    ahead = ReadAhead(6, load, threads=2)
    assert [ahead(number) for number in (0, 1, 2)] == [0, 1, 4]
    with pytest.raises(DataError, match="the third is damaged"):
        ahead(3)
    assert [ahead(number) for number in (4, 5, 0, 2, 1)] == [16, 25, 0, 4, 1]


def test_no_more_are_loaded_than_threads_and_one() -> None:
    lock = threading.Lock()
    loaded: list[int] = []

    def load(number: int) -> int:
        with lock:
            loaded.append(number)
        return number

    def settled(count: int) -> list[int]:
        end = time.monotonic() + 30
        while len(loaded) < count and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.05)  # time enough to load one too many
        return sorted(loaded)

    ahead = ReadAhead(100, load, threads=3)
    assert ahead(0) == 0
    assert settled(4) == [0, 1, 2, 3]
    assert ahead(1) == 1
    assert settled(5) == [0, 1, 2, 3, 4]


def test_loading_overlaps() -> None:
    barrier = threading.Barrier(2)

    def load(number: int) -> int:
        barrier.wait(10)  # passes only when two load at the same time
        return number

    ahead = ReadAhead(4, load, threads=2)
    assert [ahead(number) for number in range(4)] == [0, 1, 2, 3]


def test_a_single_item_needs_no_thread() -> None:
    assert ReadAhead(1, lambda number: threading.current_thread().name)(0) == threading.current_thread().name
