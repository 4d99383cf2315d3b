"""What is wrong with a run is found before a cluster starts: nothing is started, nothing written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from aiopt.bars.building.build import build
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.errors import StorageError
from aiopt.optimize.configuration import OptimizeConfig, load_strategies
from aiopt.optimize.preflight import BYTES_PER_PERIOD, BYTES_PER_TRIAL, Span, check_run, disk_needed
from aiopt.ticks.importing import check_sample
from aiopt.ticks.sample import generate_ticks
from cluster import lifecycle
from cluster.cli import main as cli
from cluster.cli import optimize as optimize_cli

DAY_NS = 86_400_000_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preflight") / "store"
    generate_ticks(folder, start="2024-03-04", days=2, ticks_per_day=3_000)
    return folder


@pytest.fixture(scope="module")
def bars(store: Path) -> Path:
    request = BarRequest(parse_bar_rules("time", "1m"), ("bid", "ask"))
    build(store, store.parent / "bars", request)
    return store.parent / "bars"


class Place(NamedTuple):
    folder: Path
    store: Path
    bars: Path

    def optimize(self, text: str, *options: str) -> int:
        (self.folder / "c.yaml").write_text(text)
        given = ["--state-dir", str(self.folder / "state"), "--runs-dir", str(self.folder / "runs")]
        return cli.run(["optimize", str(self.folder / "c.yaml"), *given, *options])


@pytest.fixture
def place(tmp_path: Path, store: Path, bars: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A folder in which starting or reaching a cluster fails the test."""

    def started(*args: object, **kwargs: object) -> None:
        raise AssertionError("a cluster was started although the input is broken")

    monkeypatch.setattr(lifecycle, "up", started)
    monkeypatch.setattr(optimize_cli, "Job", started)
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return Place(tmp_path, store, bars)


SHORT = "walk_forward: {train_segments: 1, folds: 1, holdout_segments: 1}\n"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", ["--ticks", "{folder}/empty"], "This folder is empty"),
        ("", ["--ticks", "{folder}/words.csv"], "words.csv"),
        ("", ["--ticks", "{folder}/bars.csv"], "holds minute bars"),
        ("", ["--ticks", "{folder}/early.csv"], "31536000000000000"),
        ("instrument: GBPUSD", ["--ticks", "{store}"], "asked for GBPUSD, but these ticks are of EURUSD"),
        ("walk_forward: {folds: 90}", ["--ticks", "{store}"], "94 segments need at least 94 steps"),
        ("", ["--ticks", "{folder}/torn"], "is missing"),
        ("", ["--ticks", "{store}", "--bars", "{bars}"], "takes one of them"),
        ("", ["--spread-pips", "0.8"], "`spread` is for runs on bars, and this run is on ticks"),
        ("", ["--bars", "{folder}/none"], "No bars found"),
        ("", ["--bars", "{folder}/words.csv"], "words.csv"),
        ("", ["--bars", "{folder}/bars.csv"], "One-sided bars need a spread"),
        ("", ["--bars", "{folder}/bars.csv", "--spread-pips", "0.85"], "whole price steps"),
        ("", ["--bars", "{folder}/bars.csv", "--spread-file", "{folder}/none.yaml"], "There is no file"),
        ("", ["--bars", "{folder}/bars.csv", "--spread-pips", "1"], "8 segments need at least 8 steps"),
        ("", ["--bars", "{bars}", "--timeframes", "90s"], "must be a whole multiple"),
        ("", ["--bars", "{bars}", "--spread-pips", "1"], "have bid and ask"),
        ("walk_forward: {folds: 90}", ["--bars", "{bars}"], "94 segments need at least 94 steps"),
        ("sample: {days: 0}", [], "`1 <= days"),
        ("sample: {start: '2024-13-01'}", [], "start"),
    ],
)
def test_broken_input_starts_no_cluster(
    place: Place, capsys: pytest.CaptureFixture[str], text: str, options: list[str], message: str
) -> None:
    folder = place.folder
    (folder / "empty").mkdir()
    (folder / "words.csv").write_text("these are\nno ticks\n")
    (folder / "bars.csv").write_text("20180305 050000;1.2;1.2;1.2;1.2;0\n20180305 050100;1.2;1.2;1.2;1.2;0\n")
    (folder / "early.csv").write_text(
        "ts_event_ns,bid,ask\n31536000000000000,1.1,1.2\n31536001000000000,1.1,1.2\n"
    )
    shutil.copytree(place.store, folder / "torn")
    next((folder / "torn").rglob("*.parquet")).unlink()
    paths = {"folder": folder, "store": place.store, "bars": place.bars}
    assert place.optimize(text, *(option.format(**paths) for option in options)) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "runs").exists(), "nothing was written"
    assert not (folder / "state").exists()


def test_sound_input_comes_as_far_as_the_cluster(place: Place) -> None:
    for option, path in (("--ticks", place.store), ("--bars", place.bars)):
        with pytest.raises(AssertionError, match="a cluster was started"):
            place.optimize(SHORT, option, str(path))


def test_paths_of_the_environment_count_from_here_also_in_the_job(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job runs in another folder, so it is given them whole; what flags replace is not given at all."""
    submitted: list[list[str]] = []

    class Reached:
        def submit(self, command: list[str], **given: object) -> None:
            submitted.append(command)

        def follow(self, write: object) -> int:
            return 0

    monkeypatch.setattr(optimize_cli, "_connect", lambda *given: Reached())
    monkeypatch.chdir(place.bars.parent)
    monkeypatch.setenv("AIOPT_OPTIMIZE__BARS", "bars")
    assert place.optimize(SHORT) == 0
    assert place.optimize(SHORT, "--ticks", "store") == 0
    given = [json.loads(command[command.index("--overrides") + 1]) for command in submitted]
    assert given == [{"bars": [str(place.bars)]}, {"ticks": str(place.store)}]
    monkeypatch.delenv("AIOPT_OPTIMIZE__BARS")
    submitted.clear()
    monkeypatch.setattr(optimize_cli, "check_run", lambda *given, **named: None)
    told = [
        "--map",
        "ts=when,open=o",
        "--keep-clock",
        "--drop-bad",
        "--bars-price",
        "bid",
        "--timezone",
        "UTC",
    ]
    assert place.optimize(SHORT, "--bars", "bars", "--time-format", "%d/%m/%Y", *told) == 0
    (job,) = submitted
    assert json.loads(job[job.index("--overrides") + 1])["bar_reading"] == {
        "columns": {"ts": "when", "open": "o"},
        "keep_clock": True,
        "drop_bad": True,
        "price": "bid",
        "timezone": "UTC",
        "time_format": "%d/%m/%Y",
    }


def test_a_full_disk_and_a_file_in_the_way_are_found(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.folder / "file").write_text("")
    assert (
        place.optimize(SHORT, "--ticks", str(place.store), "--runs-dir", str(place.folder / "file" / "x"))
        == 1
    )
    assert "is a file. Choose another folder with --runs-dir" in capsys.readouterr().err
    usage = shutil.disk_usage(place.folder)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert place.optimize(SHORT, "--ticks", str(place.store)) == 1
    assert "may need" in capsys.readouterr().err
    config = OptimizeConfig(
        ticks=str(place.store), trials=1, timeframes=("1h",), strategies=("rsi_reversion",)
    )
    small = disk_needed(config, load_strategies(config), Span(2 * DAY_NS, 0))
    assert small < 1_000_000
    with pytest.raises(StorageError, match=r"only 1 MB are free"):
        check_run(
            OptimizeConfig(ticks=str(place.store)), load_strategies(OptimizeConfig()), place.folder, print
        )


def test_the_estimate_grows_with_trials_periods_and_ticks() -> None:
    config = OptimizeConfig(trials=10, timeframes=("1h",), strategies=("rsi_reversion",))
    strategies = load_strategies(config)
    year = Span(365 * DAY_NS, 0)
    base = disk_needed(config, strategies, year)
    twice = disk_needed(OptimizeConfig(trials=20, timeframes=("1h",)), strategies, year)
    assert twice - base == 10 * ((365 * 24 + 1) * BYTES_PER_PERIOD + BYTES_PER_TRIAL)
    assert disk_needed(config, strategies, Span(year.ns, 1_000_000)) - base == 70_000_000


def test_the_first_rows_of_a_source_are_judged_as_by_an_import(store: Path) -> None:
    files = sorted(store.rglob("*.parquet"))
    found, first, last = check_sample(files[0].parent, rows=10)
    assert found == (files[0],)
    assert 0 < last - first < DAY_NS
