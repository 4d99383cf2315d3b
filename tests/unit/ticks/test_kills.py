"""kill -9 in import and bar building, at random moments and before every single change of a file."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aiopt.bars.building.build import build
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.manifest import is_tick_store, verify_store
from tests.unit.ticks.killing import Killer, contents, folders, start_launcher

pytestmark = pytest.mark.unmeasured

MONDAY_NS = int(np.datetime64("2024-05-06T00:00", "ns").astype(np.int64))
DAY_S = 86_400


def write_source(folder: Path, days: int, ticks_per_day: int, first_point: int = 110_000) -> Path:
    """Write clean ticks, one file per day."""
    folder.mkdir(parents=True)
    for day in range(days):
        number = np.arange(ticks_per_day) + day * ticks_per_day
        bid = first_point + (number * 7) % 40
        pl.DataFrame(
            {
                "ts_event_ns": MONDAY_NS + number * (DAY_S * 1_000_000_000 // ticks_per_day),
                "bid": bid / 1e5,
                "ask": (bid + 10) / 1e5,
                "bid_size": (number % 5) * 100_000.0,
                "ask_size": (number % 3) * 100_000.0,
            }
        ).write_parquet(folder / f"{day}.parquet")
    return folder


@pytest.fixture(scope="module")
def launcher() -> Iterator[subprocess.Popen[str]]:
    with start_launcher() as process:
        yield process


@pytest.fixture
def killer(launcher: subprocess.Popen[str], tmp_path: Path) -> Killer:
    return Killer(launcher, tmp_path)


def import_arguments(source: Path, out: Path) -> list[str]:
    return [
        "ticks",
        "import",
        str(source),
        "--out",
        str(out),
        "--instrument",
        "EURUSD",
        "--replace",
        "--json",
    ]


def bars_arguments(ticks: Path, out: Path) -> list[str]:
    options = ["--timeframes", "1m", "--price", "bid,ask", "--engine", "local", "--json"]
    return ["bars", "build", "--ticks", str(ticks), "--out", str(out), *options]


# --- import -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_twenty_kills_at_random_moments_of_an_import_change_nothing(killer: Killer, tmp_path: Path) -> None:
    source, out = write_source(tmp_path / "in", 3, 40_000), tmp_path / "store"
    calm = import_ticks(source, tmp_path / "calm")

    def prepare() -> None:
        # What a killed import leaves stays for the next; a finished one would leave nothing to do.
        if is_tick_store(out):
            shutil.rmtree(out)

    def check() -> None:
        if is_tick_store(out):
            assert verify_store(out) == calm

    killer.kill_twenty_times(import_arguments(source, out), prepare=prepare, check=check, seed=1)
    killer.finish(import_arguments(source, out))
    assert contents(out) == contents(tmp_path / "calm")
    assert folders(out) == folders(tmp_path / "calm")


@pytest.mark.slow
def test_killed_before_every_change_a_replacing_import_leaves_the_old_store_or_the_new(
    killer: Killer, tmp_path: Path
) -> None:
    old, out = tmp_path / "old", tmp_path / "store"
    before = import_ticks(write_source(tmp_path / "before", 1, 60, 120_000), old)
    source = write_source(tmp_path / "in", 2, 60)
    after = import_ticks(source, tmp_path / "calm")
    shutil.copytree(old, out)
    steps = killer.finish(import_arguments(source, out), below=out)
    assert steps > 20
    seen = set()
    for step in range(1, steps + 1):
        shutil.rmtree(out)
        shutil.copytree(old, out)
        assert killer.run(import_arguments(source, out), below=out, die_at=step) == -signal.SIGKILL
        found = verify_store(out)
        assert found in (before, after), f"neither store after a kill before change {step}"
        seen.add(found.data_hash)
        import_ticks(source, out, replace=True)
        assert contents(out) == contents(tmp_path / "calm"), f"after a kill before change {step}"
        assert folders(out) == folders(tmp_path / "calm")
    assert seen == {before.data_hash, after.data_hash}


# --- bars -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_twenty_kills_at_random_moments_of_building_bars_change_nothing(
    killer: Killer, tmp_path: Path
) -> None:
    ticks, out, calm = tmp_path / "ticks", tmp_path / "bars", tmp_path / "calm"
    import_ticks(write_source(tmp_path / "in", 3, 60_000), ticks)
    killer.finish(bars_arguments(ticks, calm))
    whole = contents(calm)
    assert len(whole) >= 2

    def check() -> None:
        for name, content in contents(out).items():
            assert whole.get(name, content) == content

    killer.kill_twenty_times(
        bars_arguments(ticks, out),
        prepare=lambda: shutil.rmtree(out, ignore_errors=True),
        check=check,
        seed=3,
    )
    killer.finish(bars_arguments(ticks, out))
    assert contents(out) == whole


@pytest.mark.slow
def test_killed_before_every_change_bar_building_leaves_whole_files(killer: Killer, tmp_path: Path) -> None:
    old, new, out = tmp_path / "old", tmp_path / "new", tmp_path / "bars"
    for number, folder in enumerate((old, new)):
        ticks = tmp_path / f"ticks{number}"
        import_ticks(write_source(tmp_path / f"in{number}", 2, 2_000, 110_000 + number), ticks)
        killer.finish(bars_arguments(ticks, folder))
    before, after = contents(old), contents(new)
    shutil.copytree(old, out)
    arguments = bars_arguments(tmp_path / "ticks1", out)
    steps = killer.finish(arguments, below=out)
    assert steps >= 4
    request = BarRequest(parse_bar_rules("time", "1m"), ("bid", "ask"))
    for step in range(1, steps + 1):
        shutil.rmtree(out)
        shutil.copytree(old, out)
        assert killer.run(arguments, below=out, die_at=step) == -signal.SIGKILL
        for name, content in contents(out).items():
            assert name.endswith(".tmp") or content in (before[name], after[name])
        build(tmp_path / "ticks1", out, request)
        assert contents(out) == after, f"after a kill before change {step}"
