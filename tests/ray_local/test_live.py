"""Live sessions as actors on a real cluster: one is killed, and trades as if it had not been."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.errors import ConfigError
from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.report.record import read_record
from aiopt.live.report.unattended import run_unattended
from aiopt.live.session.live_config import LiveConfig, ReplayFeed, TradedSpec
from aiopt.live.state.session_file import SessionFile
from aiopt.ticks.sample import generate_ticks
from cluster.live import run_sessions

pytestmark = pytest.mark.slow

WAIT_S = 300.0
PACE = 8_000.0
"""So fast that half a day takes seconds, so slow that it can be killed in the middle."""


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LiveConfig]:
    store = tmp_path_factory.mktemp("live") / "EURUSD"
    generate_ticks(store, seed=7, start="2024-03-05", days=1, ticks_per_day=6_000)
    feed = ReplayFeed(store=str(store), stop="2024-03-05T16:00", speed=PACE)
    return {
        name: LiveConfig(
            account=PaperConfig(account_currency="USD"),
            strategies=(TradedSpec(id="A", spec=spec, timeframe="1m"),),
            feed=feed,
        )
        for name, spec in (("first", "stochastic_sma"), ("second", "ema_cross_atr"))
    }


def kill_in_the_middle(folder: Path, killed: list[int]) -> None:
    """Kill the process that has a session's file open, once it has traded."""
    path = folder / "session.sqlite"
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if path.exists() and _trades(path) >= 2:
            for process in Path("/proc").iterdir():
                if process.name.isdigit() and int(process.name) != os.getpid() and _has_open(process, path):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(int(process.name))
            return
        time.sleep(0.05)


def _trades(path: Path) -> int:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM trades").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # not begun
    finally:
        connection.close()


def _has_open(process: Path, path: Path) -> bool:
    try:
        return any(path == one.readlink() for one in (process / "fd").iterdir())
    except OSError:
        return False  # gone, or not ours


def trades_of(folder: Path) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(trade) for trade in read_record(folder).trades]


def test_a_killed_session_trades_as_if_it_had_not_been(
    ray_driver: object, configs: dict[str, LiveConfig], tmp_path: Path
) -> None:
    killed: list[int] = []
    out, told = tmp_path / "sessions", []
    killer = threading.Thread(target=kill_in_the_middle, args=(out / "first", killed))
    killer.start()
    rows = run_sessions(configs, out, say=told.append)
    killer.join()
    assert len(killed) == 1
    assert [(row.name, row.state, row.unexplained) for row in rows] == [
        ("first", "ended", 0),
        ("second", "ended", 0),
    ]
    assert [row.stretches for row in rows] == [2, 1]
    for name, config in configs.items():
        feed = msgspec.structs.replace(config.feed, speed=0.0)
        plain = msgspec.structs.replace(config, feed=feed)
        run_unattended(plain, tmp_path / "plain" / name, prove=False)
        assert trades_of(out / name) == trades_of(tmp_path / "plain" / name)
        assert len(trades_of(out / name)) > 3
    lines = [json.loads(line) for line in (out / "sessions.log").read_text().splitlines()]
    for name in configs:
        with SessionFile(out / name) as file:
            numbers = [number for number, _, _ in file.events()]
        assert [line["number"] for line in lines if line["name"] == name and "number" in line] == numbers
    assert any("gone on with 1 times" in text for text in told)
    # Run again, what is at its end is not run again; one that another process has open fails alone.
    again = run_sessions(configs, out)
    assert [(row.trades, row.stretches) for row in again] == [(row.trades, row.stretches) for row in rows]
    assert json.loads((out / "sessions.json").read_text()) == msgspec.to_builtins(again)


def test_bad_settings_end_one_session_alone(
    ray_driver: object, configs: dict[str, LiveConfig], tmp_path: Path
) -> None:
    """A folder of something else is refused by its session, in its own words."""
    short = {
        name: msgspec.structs.replace(
            config, feed=msgspec.structs.replace(config.feed, speed=0.0, stop="2024-03-05T02:00")
        )
        for name, config in configs.items()
    }
    run_unattended(short["first"], tmp_path / "second", prove=False)  # its folder is of another session
    (tmp_path / "second" / "session.json").unlink()
    connection = sqlite3.connect(tmp_path / "second" / "session.sqlite")
    connection.execute("DELETE FROM state WHERE key = 'ended'")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match="has changed since"):
        run_unattended(short["second"], tmp_path / "second", prove=False)
    rows = run_sessions(short, tmp_path, prove=False)
    assert [row.state for row in rows] == ["ended", "failed"]
    assert "has changed since" in rows[1].error
