"""Charts over real Ray: the bytes of one process, in order, with failures named and nothing left running."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from aiopt.charts import ChartSpec, PreparedChart, TradeMark, parse_plot, plan_windows, render_windows
from aiopt.errors import ClusterError, DataError
from aiopt.testing.bars import random_walk_bars, write_bar_file
from cluster.charts import _batches, render_charts_distributed
from cluster.cli.main import run
from cluster.connection import cluster_connection

BARS = random_walk_bars(1_200, seed=3, timeframe="5m")
SPEC = ChartSpec(width=480, height=320, overlays=(parse_plot("ema:length=50"),), panes=(parse_plot("rsi"),))


def test_the_cluster_draws_the_bytes_of_one_process_in_order(ray_driver: object) -> None:
    chart = PreparedChart(BARS, SPEC)
    windows = plan_windows(chart, 100, 25)
    trade = TradeMark(entry_ts_ns=int(BARS.ts_open_ns[700]), side="short", entry_price=float(BARS.open[700]))
    seen: list[tuple[int, int]] = []
    pngs = list(
        render_charts_distributed(
            BARS, SPEC, windows, trades=[trade], progress=lambda done, total: seen.append((done, total))
        )
    )
    assert pngs == list(render_windows(chart, windows, trades=[trade]))
    assert len(set(pngs)) == len(windows) > 40
    assert seen == [(number, len(windows)) for number in range(1, len(windows) + 1)]


@pytest.mark.parametrize("tail", [1, 60], ids=["task-per-window", "windows-share-a-task"])
def test_a_window_that_cannot_be_drawn_is_named_and_those_before_it_are_kept(
    ray_driver: object, tail: int
) -> None:
    windows = [(100, 200), (300, 400), (0, 20), *[(500, 600)] * tail]
    pngs = render_charts_distributed(BARS, SPEC, windows)
    chart = PreparedChart(BARS, SPEC)
    assert [next(pngs), next(pngs)] == list(render_windows(chart, windows[:2]))
    window = r"bars 0 to 19 \(EURUSD-5m-bid-20180101T000000-20\)"
    expected = rf"{window} cannot be drawn: EMA 50 has no value on bars 0 to 19"
    with pytest.raises(DataError, match=expected):
        next(pngs)
    with pytest.raises(DataError, match=expected):
        list(render_windows(chart, windows[2:3]))


def test_a_reader_that_stops_early_leaves_no_task_behind(ray_driver: object) -> None:
    windows = plan_windows(PreparedChart(BARS, SPEC), 100, 5)
    pngs = render_charts_distributed(BARS, SPEC, windows)
    first = next(pngs)
    pngs.close()  # type: ignore[attr-defined]
    assert next(render_charts_distributed(BARS, SPEC, windows)) == first


def test_a_task_that_fails_is_an_error_that_names_the_charts(
    ray_driver: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(token: str, reference: list[object], batch: list[tuple[int, int]]) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("cluster.charts._draw", fail)
    with pytest.raises(ClusterError, match=r"Drawing bars 100 to 199 \(1 charts\) failed .*no room"):
        list(render_charts_distributed(BARS, SPEC, [(100, 200)]))


def test_a_lost_worker_is_an_error_and_ray_speaks_on_stderr(
    ray_driver: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def die(token: str, reference: list[object], batch: list[tuple[int, int]]) -> None:
        import os

        os._exit(1)

    monkeypatch.setattr("cluster.charts._draw", die)
    monkeypatch.setattr("cluster.charts.stage_options", lambda stage: {"num_cpus": 1, "max_retries": 0})
    printed = ""
    with cluster_connection():
        with pytest.raises(ClusterError, match=r"Drawing bars 100 to 199 .* failed on the cluster"):
            list(render_charts_distributed(BARS, SPEC, [(100, 200)]))
        deadline = time.monotonic() + 30
        while "worker died" not in printed and time.monotonic() < deadline:
            time.sleep(0.1)
            out, err = capsys.readouterr()
            printed += err
            assert out == ""
    assert "worker died" in printed, "Ray's message must have come, or this test says nothing"


def test_charts_that_nobody_takes_are_not_drawn(
    ray_driver: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def draw(token: str, reference: list[object], batch: list[tuple[int, int]]) -> tuple[list[bytes], None]:
        (tmp_path / str(batch[0][0])).touch()
        return [b"png"] * len(batch), None

    monkeypatch.setattr("cluster.charts._draw", draw)
    windows = [(start, start + 10) for start in range(1_000)]
    pngs = render_charts_distributed(BARS, SPEC, windows)
    taken = [next(pngs)]
    time.sleep(1.0)
    # Two cores, two tasks each.
    assert len(list(tmp_path.iterdir())) <= 4
    taken += pngs
    assert taken == [b"png"] * 1_000


def test_every_window_is_in_exactly_one_task() -> None:
    for count in (1, 7, 100, 1_000):
        windows = [(start, start + 10) for start in range(count)]
        batches = _batches(windows, cores=2)
        assert [window for batch in batches for window in batch] == windows
        assert max(map(len, batches)) <= 16


def test_both_engines_of_the_command_write_the_same_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, ray_driver: object
) -> None:
    bars = tmp_path / "bid.parquet"
    write_bar_file(BARS, bars)
    documents = {}
    for engine in ("local", "ray", "auto"):
        out = tmp_path / engine
        arguments = ("--bars", bars, "--out", out, "--indicator", "rsi", "--width", 480, "--height", 320)
        more = ("--window", 100, "--stride", 100, "--engine", engine, "--json")
        assert run(["charts", "render", *map(str, (*arguments, *more))]) == 0
        documents[engine] = json.loads(capsys.readouterr().out)["charts"]
    assert documents["local"] == documents["ray"] == documents["auto"]
    assert len(documents["ray"]) == 11
    for chart in documents["ray"]:
        name = chart["file"]
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
