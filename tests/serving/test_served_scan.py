"""A scan through the real endpoint: real engine and gateway, readings that name who answered."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aiopt.analyst.scans import load_readings
from aiopt.testing.bars import random_walk_bar_set, write_bar_file
from tests.serving.conftest import Served, aiopt

pytestmark = pytest.mark.slow


def test_a_served_model_is_asked_about_every_window(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = random_walk_bar_set(600, seed=5)
    for side in ("bid", "ask"):
        write_bar_file(getattr(bars, side), tmp_path / "bars" / f"{side}.parquet")
    monkeypatch.setitem(os.environ, "AIOPT_ANALYST_TOKEN", served.token)
    out = tmp_path / "scan"
    arguments = ("analyst", "scan", "--bars", str(tmp_path / "bars"), "--windows", "12", "--out", str(out))
    who = ("--endpoint", f"{served.url}/v1", "--concurrency", "4", "--timeout", "180", "--json")
    done = aiopt(*arguments, *who)
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    # Random weights answer by the grammar, but mostly what no chart shows: said, and not replaced by rules.
    assert document["read"] + document["failed"].get("reply", 0) == document["windows"] == 12
    rows = load_readings(out)
    assert {row.model_revision for row in rows} == {served.revision()}
    assert all(row.questions in (1, 2) and row.image_sha256 and row.seconds > 0 for row in rows)
    assert len({row.image_sha256 for row in rows}) == 12
    assert "readings/s" in done.stderr
    again = aiopt(*arguments, *who)
    assert json.loads(again.stdout) == document
    assert load_readings(out) == rows, "nothing was asked again"
