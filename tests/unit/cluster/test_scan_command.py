"""The scan's command without Ray: options, what is said, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aiopt.analyst.scans import ScanSummary
from aiopt.errors import ClusterError
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from cluster.cli.main import run
from cluster.scanning import RayScan, ScanMeter, summary_lines
from tests.unit.analyst.endpoints import Answer, completion, serving
from tests.unit.analyst.test_analyst_client import VALID


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    pair = random_walk_bar_set(400, seed=5)
    for side in ("bid", "ask"):
        write_bar_file(getattr(pair, side), tmp_path / "bars" / f"{side}.parquet")
    return tmp_path / "bars"


def test_the_command_says_what_came_out_and_goes_on(
    bars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def some(number: int, payload: dict[str, Any]) -> Answer:
        return Answer(status=500, body="broken") if number == 2 else Answer(body=completion(VALID))

    out = tmp_path / "scan"
    arguments = ["analyst", "scan", "--bars", str(bars), "--windows", "5", "--out", str(out), "--no-picture"]
    with serving(some) as endpoint:
        assert run([*arguments, "--endpoint", endpoint.url, "--concurrency", "1"]) == 1
    said = capsys.readouterr()
    assert "4 of 5 windows read: short 4." in said.out
    assert "1 windows: nobody answered (the same command asks again)." in said.out
    assert "answered 500: broken" in said.out
    assert str(out / "readings.parquet") in said.out
    assert "5 of 5 windows, " in said.err
    assert " readings/s, 0:00 left, 1 unanswered" in said.err
    with serving(some) as endpoint:
        assert run([*arguments, "--endpoint", endpoint.url, "--json"]) == 0
    said = capsys.readouterr()
    assert "Going on: 4 of 5 windows are settled." in said.err
    assert json.loads(said.out)["read"] == 5


def test_rules_read_where_no_endpoint_is_named(
    bars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["analyst", "scan", "--bars", str(bars), "--windows", "9", "--out", str(tmp_path / "scan")]
    assert run([*arguments, "--reader", "model"]) == 2
    assert "A model reads through an endpoint, but none is named" in capsys.readouterr().err
    assert not (tmp_path / "scan").exists()
    assert run(arguments) == 0
    assert "9 of 9 windows read" in capsys.readouterr().out
    assert run([*arguments, "--window", "60"]) == 2
    assert "holds a scan with other analyst" in capsys.readouterr().err


def test_without_ray_the_engine_says_so() -> None:
    with pytest.raises(ClusterError, match=r"Call ray.init first or use the local engine"):
        RayScan()


def test_a_mix_of_models_is_said() -> None:
    found = ScanSummary(
        windows=3,
        read=2,
        failed={"reply": 1},
        unread=0,
        biases={"long": 2},
        models={"a 1": 1, "a 2": 1},
        first_error="",
        path="x",
    )
    lines = summary_lines(found)
    assert "More than one model or revision answered: a 1 1, a 2 1." in lines
    assert "1 windows: answered with what is no reading." in lines
    assert found.open == 0


def test_the_meter_counts_this_run_alone_in_its_rate() -> None:
    said: list[str] = []
    meter = ScanMeter(1_000, 900, said.append)
    meter(1, 0)
    assert said == [], "not yet five seconds"
    meter(100, 2)
    assert said[0].startswith("1,000 of 1,000 windows, ")
    assert said[0].endswith("0:00 left, 2 unanswered")
