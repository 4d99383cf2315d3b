"""Scans over real Ray Data actors: the readings of one process, requests in flight as asked, resumable."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from aiopt.analyst.scans import load_readings, run_scan
from aiopt.errors import AioptError
from aiopt.testing.bars import write_bar_file
from cluster.cli.main import run
from cluster.scanning import RayScan, batches_of, shares
from jobs import scan as scan_job
from tests.unit.analyst.endpoints import Answer, serving
from tests.unit.analyst.scans.test_scanning import BARS, RULES, by_model, plain, valid

pytestmark = [
    # Ray Data sets its own deprecated settings when its context is made.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_actors_read_what_one_process_reads(ray_driver: object, tmp_path: Path) -> None:
    seen: list[int] = []
    found = run_scan(
        BARS, RULES, tmp_path / "ray", engine=RayScan(), progress=lambda done, failed: seen.append(done)
    )
    run_scan(BARS, RULES, tmp_path / "local")
    assert found.read == 40
    assert seen[-1] == 40
    assert len(seen) > 1, "batches come one by one"
    assert plain(tmp_path / "ray") == plain(tmp_path / "local")


def test_actors_share_the_requests_and_the_token(
    ray_driver: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOPT_ANALYST_TOKEN", "for-the-actors")
    together = threading.Barrier(4)

    def wait(number: int, payload: dict[str, Any]) -> Answer:
        if number < 4:
            together.wait(120)  # the first four must be there at once, or this fails
        return valid(number, payload)

    with serving(wait) as endpoint:
        config = by_model(endpoint, windows=80, concurrency=4, picture=False, timeout_s=180.0)
        found = run_scan(BARS, config, tmp_path / "scan", engine=RayScan())
    assert (found.read, len(endpoint.asked)) == (80, 80)
    assert endpoint.most_at_once == 4
    assert {headers["Authorization"] for headers in endpoint.headers} == {"Bearer for-the-actors"}


def test_what_came_before_a_failure_is_kept_and_the_local_engine_goes_on(
    ray_driver: object, tmp_path: Path
) -> None:
    def ends(number: int, payload: dict[str, Any]) -> Answer:
        return valid(number, payload) if number < 40 else Answer(drop=True)

    with serving(ends) as endpoint:
        config = by_model(endpoint, windows=120, concurrency=1, picture=False)
        with pytest.raises(AioptError, match="Nobody answered the last"):
            run_scan(BARS, config, tmp_path / "scan", engine=RayScan())
    with serving(valid) as again:
        config = by_model(again, windows=120, picture=False)
        assert run_scan(BARS, config, tmp_path / "scan").read == 120
    assert 0 < len(again.asked) <= 120 - 32


def test_command_and_job_scan_alike(
    ray_driver: object, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = tmp_path / "bid.parquet"
    write_bar_file(BARS.bid, bars)
    for engine in ("local", "ray"):
        arguments = ("--bars", bars, "--windows", 40, "--out", tmp_path / engine, "--engine", engine)
        assert run(["analyst", "scan", *map(str, arguments), "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["read"], document["windows"]) == (40, 40)
    job = ["--bars", str(bars), "--windows", "40", "--out", str(tmp_path / "job")]
    assert scan_job.main(job) == 0
    said = capsys.readouterr().out
    assert "40 of 40 windows read" in said
    assert "readings/s" in said
    assert plain(tmp_path / "local") == plain(tmp_path / "ray") == plain(tmp_path / "job")
    assert scan_job.main([*job[:3], "41", *job[4:]]) == 2
    assert "holds a scan with other windows" in capsys.readouterr().out
    assert len(load_readings(tmp_path / "job")) == 40


def test_requests_are_shared_out_exactly() -> None:
    for cores in (1, 2, 3, 8, 32):
        for wanted in (1, 2, 4, 7, 8, 32, 256):
            config = by_model("http://127.0.0.1:1/v1", concurrency=wanted)
            actors, share = shares(config, cores)
            assert actors * share == wanted
            assert 1 <= actors <= cores
    assert shares(RULES, 8) == (8, 1)


def test_every_window_is_in_exactly_one_batch() -> None:
    for count in (1, 7, 100, 1_000):
        windows = [(number, (number, number + 10)) for number in range(count)]
        for actors, share in ((1, 1), (2, 16), (8, 4)):
            batches = batches_of(windows, share, actors)
            assert [window for batch in batches for window in batch] == windows
            assert all(batches)
