"""What nobody needs goes; what a run refers to, or somebody is writing, stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aiopt.bars.importing.bar_import import import_bars
from aiopt.catalog import PruneItem, find_entries, plan_prune, prune
from aiopt.errors import ConfigError, DataError
from aiopt.files import atomic_path
from aiopt.folder_commit import locked
from aiopt.testing.tick_stores import write_tick_store
from aiopt.ticks.manifest import Manifest, verify_store
from tests.unit.catalog.conftest import make_ticks
from tests.unit.ticks.killing import contents

LATER_S = 4e9


def plan(root: Path, *what: str) -> list[PruneItem]:
    return plan_prune([root], find_entries([root]), what=what or ("leftovers", "caches"), now_s=LATER_S)


def names(items: list[PruneItem], root: Path) -> list[str]:
    return [Path(item.path).relative_to(root).as_posix() for item in items]


@pytest.fixture
def cache(root: Path) -> Path:
    """Return a cache of imports: of the run's ticks, of ticks with bars, and of others."""
    folder = root / "runs" / ".ticks"
    shutil.copytree(root / "ticks" / "EURUSD", folder / "EURUSD-parquet-00000000000000aa")
    write_tick_store(folder / "EURUSD-parquet-00000000000000bb", make_ticks(1_000))
    write_tick_store(folder / "sample-0123456789ab", make_ticks(500))
    return folder


def test_nothing_is_left_over_in_a_clean_root(root: Path) -> None:
    assert plan(root) == []


def test_caches_no_run_refers_to_go(root: Path, cache: Path, manifest: Manifest) -> None:
    items = plan(root)
    assert names(items, root) == [
        "runs/.ticks/EURUSD-parquet-00000000000000bb",
        "runs/.ticks/sample-0123456789ab",
    ]
    assert all("no run refers to it" in item.reason and item.bytes > 0 for item in items)
    removed, kept = prune(items)
    assert (len(removed), kept) == (2, [])
    assert sorted(path.name for path in cache.iterdir()) == ["EURUSD-parquet-00000000000000aa"]
    assert verify_store(cache / "EURUSD-parquet-00000000000000aa") == manifest
    assert plan(root) == []


def test_a_plan_removes_nothing_and_a_store_somebody_locks_is_kept(root: Path, cache: Path) -> None:
    before = contents(root)
    items = plan(root)
    assert contents(root) == before
    with locked(cache / "sample-0123456789ab"):
        removed, kept = prune(items)
    assert (names(removed, root), names(kept, root)) == (
        ["runs/.ticks/EURUSD-parquet-00000000000000bb"],
        ["runs/.ticks/sample-0123456789ab"],
    )


def test_young_caches_and_stores_with_a_name_of_their_own_stay(root: Path, cache: Path) -> None:
    entries = find_entries([root])
    now = (cache / "sample-0123456789ab").stat().st_mtime + 60
    assert plan_prune([root], entries, now_s=now) == []
    shutil.rmtree(root / "runs" / "first")
    assert root / "ticks" / "EURUSD" not in {Path(item.path) for item in plan(root)}


def test_a_run_that_cannot_be_read_stops_everything_but_leftovers(root: Path, cache: Path) -> None:
    (root / "runs" / "first" / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="Every run must say which data it refers to"):
        plan(root)
    assert plan(root, "leftovers") == []


def test_leftovers_of_the_dead_go_and_files_of_the_living_stay(root: Path) -> None:
    dead = root / "bars" / ".bid.parquet.0123abcd.tmp"
    dead.write_bytes(b"half")
    staging = root / "ticks" / "EURUSD" / ".import-0123456789ab"
    staging.mkdir()
    (staging / "ticks.parquet").write_bytes(b"half")
    with atomic_path(root / "bars" / "ask.parquet") as living, locked(root / "log"):
        (root / "log" / ".compact-1").mkdir()
        living.write_bytes(b"half")
        items = plan(root)
        assert names(items, root) == [
            "bars/.bid.parquet.0123abcd.tmp",
            "ticks/EURUSD/.import-0123456789ab",
        ]
        assert prune(items) == (items, [])
        assert living.exists()
    assert not dead.exists()
    assert not staging.exists()
    assert names(plan(root), root) == ["log/.compact-1"]


def test_bars_without_ticks_go_only_on_demand(root: Path, manifest: Manifest) -> None:
    shutil.rmtree(root / "ticks")
    assert plan(root) == []
    assert plan(root, "bars") == []  # the run's
    shutil.rmtree(root / "runs")
    (item,) = plan(root, "bars")
    assert f"built from ticks {manifest.data_hash[:12]}" in item.reason
    prune([item])
    assert not (root / "bars" / "EURUSD" / "5m").exists()


def test_a_link_or_an_unknown_word_is_no_reason_to_remove(root: Path) -> None:
    (root / "runs" / ".import-link").symlink_to(root / "ticks")
    with pytest.raises(ConfigError, match="What is pruned must be known, but got 'everything'"):
        plan(root, "everything")
    prune(plan(root))
    assert (root / "ticks" / "EURUSD" / "manifest.json").exists()


def test_imported_bars_are_data_of_their_own_and_stay(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "DAT_ASCII_EURUSD_M1_2018.csv"
    source.write_text("20180101 170000;1.2;1.3;1.1;1.2;0\n20180101 170100;1.2;1.3;1.1;1.2;0\n")
    import_bars(source, root / "own")
    shutil.rmtree(root / "ticks")
    shutil.rmtree(root / "runs")
    assert names(plan(root, "bars"), root) == ["bars/EURUSD/5m"]
