"""The table of profits: on disk where it is large, and not copied where its rows are taken in order."""

from __future__ import annotations

import errno
import mmap
from pathlib import Path

import numpy as np
import pytest

from aiopt.config import canonical_json
from aiopt.errors import StorageError
from aiopt.ranking import profit_table as module
from aiopt.ranking.leaderboard import Leaderboard
from aiopt.ranking.profit_table import profit_table, stacked
from aiopt.ranking.ranking_config import RankingConfig, StressConfig
from aiopt.testing.sweeps import PLAN, failed, noise_sweep


@pytest.fixture(params=[2**30, 0], ids=["memory", "disk"])
def table(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", request.param)
    found = profit_table(6, 4, tmp_path)
    base = found.base
    while isinstance(base, np.ndarray):
        base = base.base
    owner = base.obj if isinstance(base, memoryview) else base
    assert isinstance(owner, mmap.mmap) == (request.param == 0)
    assert list(tmp_path.iterdir()) == [], "the file has no name"
    found[:] = np.arange(24).reshape(6, 4)
    return found


@pytest.mark.parametrize("places", [[0, 1, 2, 3, 4, 5], [2, 3], [0, 2, 4], [5]])
def test_evenly_spaced_rows_are_not_copied(table: np.ndarray, places: list[int]) -> None:
    found = stacked([table[place][:3] for place in places])
    assert np.array_equal(found, table[places, :3])
    assert np.shares_memory(found, table)


@pytest.mark.parametrize("places", [[0, 1, 3], [3, 2], [1, 1]])
def test_others_are(table: np.ndarray, places: list[int]) -> None:
    found = stacked([table[place][1:] for place in places])
    assert np.array_equal(found, table[places, 1:])
    assert not np.shares_memory(found, table)


def test_lists_and_rows_of_different_tables_are_copied() -> None:
    assert stacked([[1.0, 2.0], [3.0, 4.0]]).tolist() == [[1, 2], [3, 4]]
    assert stacked([np.ones(2), np.zeros(2)]).tolist() == [[1, 1], [0, 0]]
    assert stacked([]).shape == (0, 0)


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(StorageError, match="is full"):
        profit_table(6, 4, tmp_path)


def test_a_ranking_is_the_same_from_memory_and_from_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RankingConfig(stress=StressConfig(pip_size=1e-4), bootstrap_resamples=100)
    rows = [*noise_sweep(3, trials=20), failed(901)]
    results = []
    for limit in (2**30, 0):
        monkeypatch.setattr(module, "IN_MEMORY_BYTES", limit)
        board = Leaderboard(tmp_path / f"{limit}.jsonl", config, PLAN)
        board.add_many(rows)
        board.write_trials(tmp_path / f"{limit}.parquet")
        results.append((canonical_json(board.ranking()), (tmp_path / f"{limit}.parquet").read_bytes()))
        board.close()
    assert results[0] == results[1]
