"""Scans against the rules and a real HTTP server: what is read, what survives, what is asked again."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from aiopt.analyst import AnalysisRequest, AnalystSettings, read_by_rules
from aiopt.analyst.scans import ScanConfig, ScanSummary, load_readings, run_scan, scanning
from aiopt.bars.schema import BarSet
from aiopt.errors import DataError, EndpointError, RunExistsError
from aiopt.testing.bars import random_walk_bar_set
from tests.unit.analyst.endpoints import Answer, Endpoint, completion, serving
from tests.unit.analyst.test_analyst_client import VALID

ROOT = Path(__file__).resolve().parents[4]
BARS = random_walk_bar_set(1_000, seed=5)
RULES = ScanConfig(windows=40)
TIMES = ("asked_ns", "answered_ns", "seconds")
HEADERS = {"X-Model-Id": "tiny", "X-Model-Revision": "abc"}


def plain(folder: Path) -> list[dict[str, Any]]:
    """Readings without what differs from run to run."""
    rows = [msgspec.to_builtins(one) for one in load_readings(folder)]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def by_model(endpoint: Endpoint | str, windows: int = 12, **settings: Any) -> ScanConfig:
    url = endpoint if isinstance(endpoint, str) else endpoint.url
    analyst = AnalystSettings(**{"endpoint": url, "retries": 0, "concurrency": 3, **settings})
    return ScanConfig(windows=windows, reader="model", analyst=analyst)


def valid(number: int, payload: dict[str, Any]) -> Answer:
    return Answer(body=completion(VALID), headers=HEADERS)


def asked_windows(endpoint: Endpoint) -> Counter[str]:
    """How often each question was asked, by its text."""
    return Counter(json.dumps(payload["messages"]) for payload in endpoint.asked)


def test_the_rules_read_every_window_as_they_would_alone(tmp_path: Path) -> None:
    found = run_scan(BARS, RULES, tmp_path / "scan")
    assert (found.windows, found.read, found.failed, found.unread) == (40, 40, {}, 0)
    readings = load_readings(Path(found.path))
    assert [one.number for one in readings] == list(range(40))
    assert sum(found.biases.values()) == 40
    assert len(found.biases) == 3
    one = readings[17]
    start = int((BARS.bid.ts_open_ns == one.ts_start_ns).argmax())
    window = BARS.bid.slice(start, start + 120)
    assert one.ts_end_ns == int(window.ts_open_ns[-1]) + window.timeframe.ns
    spread = float(BARS.ask.close[start + 119] - BARS.bid.close[start + 119])
    alone = read_by_rules(AnalysisRequest(bars=window, spread=spread))
    assert (one.bias, one.confidence, one.patterns) == (alone.bias, alone.confidence, alone.patterns)
    assert (one.reader, one.model_id, one.image_sha256, one.questions) == ("rules", "rules", None, 0)
    assert one.calibrated is not None
    assert one.available_ns == one.ts_end_ns + round(one.seconds * 1e9) > one.ts_end_ns
    assert one.asked_ns <= one.answered_ns
    assert not (tmp_path / "scan" / "parts").exists()


def changed_after(bars: BarSet, bar: int) -> BarSet:
    """The same bars up to `bar`, others behind it."""

    def side(arrays: Any) -> Any:
        moved = {name: getattr(arrays, name).copy() for name in ("open", "high", "low", "close")}
        for values in moved.values():
            values[bar:] = values[bar:][::-1] * 1.5
        return dataclasses.replace(arrays, **moved)

    return dataclasses.replace(bars, bid=side(bars.bid), ask=side(bars.ask))


def test_no_reading_changes_with_prices_to_come(tmp_path: Path) -> None:
    """Rules, numbers and pictures: all that is asked about windows before the change stays the same."""
    other = changed_after(BARS, 560)
    for name, bars in (("before", BARS), ("after", other)):
        run_scan(bars, RULES, tmp_path / name)
    same = [one["ts_end_ns"] <= BARS.bid.ts_open_ns[560] for one in plain(tmp_path / "before")]
    before, after = plain(tmp_path / "before"), plain(tmp_path / "after")
    assert 10 < sum(same) < 35
    for known, one, two in zip(same, before, after, strict=True):
        assert (one == two) == known

    asked: dict[str, list[str]] = {}
    for name, bars in (("asked", BARS), ("asked-after", other)):
        with serving(valid) as endpoint:
            run_scan(bars, by_model(endpoint, concurrency=1, windows=8), tmp_path / name)
        asked[name] = [json.dumps(payload, sort_keys=True) for payload in endpoint.asked]
    pictures = [[one["image_sha256"] for one in plain(tmp_path / name)] for name in ("asked", "asked-after")]
    equal = [one == two for one, two in zip(*asked.values(), strict=True)]
    assert equal == [True] * 4 + [False] * 4
    assert [one == two for one, two in zip(*pictures, strict=True)] == equal
    assert None not in pictures[0]


def test_a_model_is_asked_once_a_window_with_so_many_requests_in_flight(tmp_path: Path) -> None:
    def slow(number: int, payload: dict[str, Any]) -> Answer:
        return dataclasses.replace(valid(number, payload), delay_s=0.2)

    with serving(slow) as endpoint:
        found = run_scan(BARS, by_model(endpoint), tmp_path / "scan")
    assert (found.read, found.models, found.biases) == (12, {"tiny abc": 12}, {"short": 12})
    assert len(endpoint.asked) == 12
    assert endpoint.most_at_once == 3
    one = load_readings(tmp_path / "scan")[0]
    assert (one.model_id, one.model_revision, one.prompt_version, one.questions) == (
        "tiny",
        "abc",
        "read/1",
        1,
    )
    assert one.seconds >= 0.2


def test_windows_nobody_answered_are_said_kept_and_asked_again(tmp_path: Path) -> None:
    def some(number: int, payload: dict[str, Any]) -> Answer:
        return Answer(status=503, body="busy") if number % 4 == 1 else valid(number, payload)

    with serving(some) as endpoint:
        found = run_scan(BARS, by_model(endpoint, concurrency=1), tmp_path / "scan")
    assert (found.read, found.failed, found.open) == (9, {"endpoint": 3}, 3)
    assert "answered 503: busy" in found.first_error
    rows = load_readings(tmp_path / "scan")
    assert [one.number for one in rows if one.failure] == [1, 5, 9]
    assert rows[5].bias is None
    assert rows[5].confidence is None
    assert "503" in rows[5].error
    with serving(valid) as again:
        # Another port is the same reader: where a model is reached decides nothing.
        found = run_scan(BARS, by_model(again, concurrency=2), tmp_path / "scan")
    assert (found.read, found.failed, found.open) == (12, {}, 0)
    assert len(again.asked) == 3
    assert not any(one.failure for one in load_readings(tmp_path / "scan"))
    with serving(valid) as idle:
        assert run_scan(BARS, by_model(idle), tmp_path / "scan") == found
    assert idle.asked == []


def test_an_answer_that_is_no_reading_is_a_result_and_not_the_rules(tmp_path: Path) -> None:
    with serving(lambda n, p: Answer(body=completion('{"bias":"up"}'), headers=HEADERS)) as endpoint:
        found = run_scan(BARS, by_model(endpoint, windows=3), tmp_path / "scan")
        assert len(endpoint.asked) == 6, "each is asked once more, with the error"
        assert run_scan(BARS, by_model(endpoint, windows=3), tmp_path / "scan") == found
        assert len(endpoint.asked) == 6
    assert (found.read, found.failed, found.open) == (0, {"reply": 3}, 0)
    row = load_readings(tmp_path / "scan")[0]
    assert (row.failure, row.bias, row.model_revision, row.questions) == ("reply", None, "abc", 2)


def test_a_scan_gives_up_on_an_endpoint_that_is_down_and_goes_on_later(tmp_path: Path) -> None:
    def ends(number: int, payload: dict[str, Any]) -> Answer:
        return valid(number, payload) if number < 7 else Answer(drop=True)

    progress: list[tuple[int, int]] = []
    with (
        serving(ends) as endpoint,
        pytest.raises(EndpointError, match=r"Nobody answered the last 20 windows: .*run the same command"),
    ):
        run_scan(
            BARS,
            by_model(endpoint, windows=60, concurrency=1, picture=False),
            tmp_path / "scan",
            progress=lambda done, failed: progress.append((done, failed)),
        )
    assert progress[-1] == (27, 20)
    assert len(endpoint.asked) == 27, "no window is begun once twenty in a row were not answered"
    with serving(valid) as again:
        found = run_scan(BARS, by_model(again, windows=60, picture=False), tmp_path / "scan")
    assert (found.read, len(again.asked)) == (60, 53)


def killed_scan(url: str, folder: Path, ready: Callable[[], bool]) -> None:
    """Scan in a process of its own, a part for every reading, and kill it once `ready`."""
    code = (
        "import sys; from pathlib import Path\n"
        "from aiopt.analyst.scans import scanning\n"
        "from tests.unit.analyst.scans.test_scanning import BARS, by_model\n"
        "scanning.PART_S = 0\n"
        "scanning.run_scan(BARS, by_model(sys.argv[1], windows=30, picture=False), Path(sys.argv[2]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code, url, str(folder)], env=environment, cwd=ROOT)
    deadline = time.monotonic() + 120
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait(30)


def test_a_scan_killed_at_any_moment_goes_on_and_gives_the_same_readings(tmp_path: Path) -> None:
    folder = tmp_path / "scan"

    def slow(number: int, payload: dict[str, Any]) -> Answer:
        return dataclasses.replace(valid(number, payload), delay_s=0.1)

    with serving(slow) as endpoint:
        killed_scan(endpoint.url, folder, lambda: len(list(folder.glob("parts/part-*.parquet"))) >= 4)
        assert not (folder / "readings.parquet").exists()
        settled = sum(pq.read_metadata(path).num_rows for path in folder.glob("parts/part-*.parquet"))
        asked = len(endpoint.asked)
        found = run_scan(BARS, by_model(endpoint, windows=30, picture=False), folder)
        assert found.read == 30
        assert 4 <= settled < 30
        assert len(endpoint.asked) - asked == 30 - settled, "what was written is not asked again"
        whole = run_scan(BARS, by_model(endpoint, windows=30, picture=False), tmp_path / "whole")
    assert whole.read == 30
    assert plain(folder) == plain(tmp_path / "whole")


def test_another_scan_is_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    run_scan(BARS, RULES, tmp_path / "scan")
    before = (tmp_path / "scan" / "readings.parquet").read_bytes()
    cases: list[tuple[BarSet, ScanConfig, str]] = [
        (BARS, ScanConfig(windows=41), "windows"),
        (BARS, ScanConfig(windows=40, every=3), "every"),
        (random_walk_bar_set(1_000, seed=6), RULES, "bars"),
        (BARS, ScanConfig(windows=40, analyst=AnalystSettings(bars=60)), "analyst"),
        (BARS, by_model("http://127.0.0.1:1/v1", windows=40), "analyst, reader, versions"),
    ]
    for bars, config, differs in cases:
        with pytest.raises(RunExistsError, match=rf"holds a scan with other {differs}\. Name another"):
            run_scan(bars, config, tmp_path / "scan")
    assert (tmp_path / "scan" / "readings.parquet").read_bytes() == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(RunExistsError, match=r"holds something else \(letter.txt\)"):
        run_scan(BARS, RULES, tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["letter.txt"]


def test_a_damaged_part_is_named_with_the_remedy(tmp_path: Path) -> None:
    with (
        serving(lambda n, p: valid(n, p) if n < 3 else Answer(drop=True)) as endpoint,
        pytest.raises(EndpointError, match="Nobody answered"),
    ):
        run_scan(BARS, by_model(endpoint, windows=40, picture=False), tmp_path / "scan")
    (part,) = (tmp_path / "scan" / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:-40])
    with serving(valid) as again:
        config = by_model(again, windows=40, picture=False)
        with pytest.raises(DataError, match=rf"{part.name}.*Delete this file: its windows are then read"):
            run_scan(BARS, config, tmp_path / "scan")
        part.unlink()
        found: ScanSummary = run_scan(BARS, config, tmp_path / "scan")
    assert found.read == 40


def test_a_window_that_cannot_be_drawn_is_a_row_with_its_reason(tmp_path: Path) -> None:
    with serving(valid) as endpoint:
        found = run_scan(BARS, by_model(endpoint, windows=100, bars=20), tmp_path / "scan")
    assert found.failed == {"window": 3}
    row = load_readings(tmp_path / "scan")[0]
    assert "EMA 50 has no value" in row.error
    assert (row.questions, row.model_id) == (0, "")


def test_two_scans_do_not_write_to_one_folder(tmp_path: Path) -> None:
    from aiopt.files import file_lock

    run_scan(BARS, RULES, tmp_path / "scan")
    with (
        file_lock(tmp_path / "scan" / ".lock"),
        pytest.raises(DataError, match="Another scan writes to this folder"),
    ):
        run_scan(BARS, RULES, tmp_path / "scan")


def test_parts_are_written_while_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "PART_ROWS", 16)
    seen: list[int] = []
    run_scan(
        BARS,
        RULES,
        tmp_path / "scan",
        progress=lambda done, failed: seen.append(len(list((tmp_path / "scan").glob("parts/*.parquet")))),
    )
    assert max(seen) == 2
    assert len(load_readings(tmp_path / "scan")) == 40
