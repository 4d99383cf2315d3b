"""Sessions on polled quotes: the trades of a replay of the same ticks, and what is said when none come."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.errors import AioptError
from aiopt.live.feeds.feed_config import DukascopyFeed
from aiopt.live.guard.guard_config import GuardConfig
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.session.live_session import LiveSession
from aiopt.live.session.run_folder import trades_of
from aiopt.live.session.session_end import SessionEnd
from aiopt.live.session.status import status_of
from aiopt.live.state.session_file import SessionFile
from aiopt.live.watch.watch_config import WatchConfig
from aiopt.strategy.families import FAMILIES
from aiopt.utc import HOUR_NS, MINUTE_NS
from tests.engine.live.live_sessions import config_of, run, traded
from tests.unit.live.feeds.publishing_server import LATE_S, MONDAY, PublishingServer, answer_of
from tests.unit.ticks.download.faulty_server import Client, refuse

COUNT = 1_500
SLOW_S = 300.0
BLIND = WatchConfig(
    stale_after_s=None, halt_after_s=None, frozen_after_s=None, max_lag_s=None, max_ahead_s=None
)


class FastClock:
    """Time that passes 1,500 times as fast while a session runs, but not beyond a limit: none is too slow."""

    def __init__(self, ns: int) -> None:
        self.ns = self.limit_ns = ns
        self._since: float | None = None

    def __call__(self) -> int:
        passed = 0.0 if self._since is None else time.monotonic() - self._since
        return min(self.ns + round(passed * 1_500e9), self.limit_ns)

    def go(self, limit_ns: int) -> None:
        self.hold()
        self._since, self.limit_ns = time.monotonic(), limit_ns

    def hold(self) -> None:
        self.ns, self._since = self(), None
        self.limit_ns = 1 << 62


@pytest.fixture
def clock() -> FastClock:
    return FastClock(MONDAY * HOUR_NS + 10 * MINUTE_NS)


@pytest.fixture
def server(clock: FastClock) -> Iterator[PublishingServer]:
    with PublishingServer(clock, COUNT) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join(10)


def config_on(server: PublishingServer, folder: Path, **changes: Any) -> LiveConfig:
    feed = DukascopyFeed(url=server.base, poll_s=0.05, backoff_s=0.05, backoff_max_s=0.1)
    specs = {name: FAMILIES[name].spec for name in ("stochastic_sma", "bollinger_breakout", "rsi_reversion")}
    base = config_of(folder / "none", traded(folder / "specs", specs, "1m"))
    return msgspec.structs.replace(base, **{"feed": feed, "profile": "paper"} | changes)


def stretch(
    config: LiveConfig, out: Path, clock: FastClock, limit_ns: int, done: Callable[[], bool] | None = None
) -> SessionEnd:
    """Run a session until it has the quotes published up to a time, or until it is done otherwise."""

    def has_quotes() -> bool:
        last = status_of(out)["last_quote"]
        return last is not None and last["ts_ns"] > limit_ns - LATE_S * 10**9 - 5 * MINUTE_NS

    def stop() -> None:
        due = time.monotonic() + SLOW_S
        while time.monotonic() < due:
            with contextlib.suppress(AioptError):  # it has not begun yet
                if clock() == limit_ns and (done or has_quotes)():
                    break
            time.sleep(0.1)
        session.stop()

    with SessionFile(out) as file:
        session = LiveSession(config, file, clock=clock)
        clock.go(limit_ns)
        timer = threading.Thread(target=stop)
        timer.start()
        end = session.run()
        timer.join()
        clock.hold()
        return end


def events_of(out: Path) -> list[dict[str, Any]]:
    """Return all events of a session, which may be running."""
    where = f"file:{out / 'session.sqlite'}?mode=ro"
    with contextlib.closing(sqlite3.connect(where, uri=True)) as connection:
        rows = connection.execute("SELECT value FROM events ORDER BY number").fetchall()
    return [json.loads(value) for (value,) in rows]


def test_polled_quotes_give_the_trades_of_a_replay(
    server: PublishingServer, clock: FastClock, tmp_path: Path
) -> None:
    config = config_on(server, tmp_path, guard=GuardConfig(watch=BLIND), warm_up_days=0.125)
    out = tmp_path / "run"
    first = stretch(config, out, clock, (MONDAY + 1) * HOUR_NS + 20 * MINUTE_NS)
    assert (first.ended, first.resumed, first.dropped) == (False, False, 0)
    # Away for a while: what was published meanwhile is caught up with.
    clock.ns += 25 * MINUTE_NS
    second = stretch(config, out, clock, (MONDAY + 3) * HOUR_NS)
    assert (second.ended, second.resumed) == (False, True)
    with SessionFile(out) as file:
        mine = trades_of(file)
    told = {one["type"] for one in events_of(out)}
    assert "hole" not in told
    assert "feed_late" in told, "nobody was told that the quotes come late"
    feed = status_of(out)["feed"]
    assert feed["kind"] == "dukascopy"
    assert feed["late_s"] >= LATE_S

    server.bodies = {
        f"json:{text}": answer_of(hour, COUNT) for hour, text in _texts(range(MONDAY - 3, MONDAY + 4))
    }
    Client(server, tmp_path)("json", span=(MONDAY - 3, MONDAY + 3))
    day = {"start": "2024-05-06T10:00"}
    there = config_of(tmp_path / "store", config.strategies, feed=day, warm_up_days=0.125)
    whole = run(there, tmp_path / "whole")[1]
    assert len(mine) > 5
    assert mine == whole[: len(mine)]


def test_a_long_absence_is_a_hole_that_history_fills(
    server: PublishingServer, clock: FastClock, tmp_path: Path
) -> None:
    config = config_on(server, tmp_path, guard=GuardConfig(watch=BLIND))
    feed = msgspec.structs.replace(config.feed, catch_up_hours=0.5)
    config = msgspec.structs.replace(config, feed=feed, at_end="keep")
    out = tmp_path / "run"
    stretch(config, out, clock, MONDAY * HOUR_NS + 50 * MINUTE_NS)
    with SessionFile(out) as file:
        known = len(list(file.bars("EURUSD-1m")))
    clock.ns += 2 * HOUR_NS
    end = stretch(config, out, clock, (MONDAY + 3) * HOUR_NS + 30 * MINUTE_NS)
    assert (end.resumed, end.broken) == (True, {})
    with SessionFile(out) as file:
        bars = [row.ts_open_ns // MINUTE_NS - MONDAY * 60 for row in file.bars("EURUSD-1m")]
    told = {one["type"]: one for one in events_of(out)}
    assert "nothing was asked for since" in told["hole"]["text"]
    assert told["filled_in"]["bars"] > 60
    assert bars == sorted(set(bars))
    assert set(range(known, 180)) <= set(bars), "history did not fill the hole"
    assert max(bars) > 190


def test_silence_is_noticed_and_said(server: PublishingServer, clock: FastClock, tmp_path: Path) -> None:
    config = config_on(server, tmp_path)
    assert config.guarding.watch is not None
    assert config.guard.watch is None
    out = tmp_path / "run"
    for _, text in _texts(range(MONDAY + 1, MONDAY + 9)):
        server.script[f"json:{text}"] = [refuse(503)]
    stretch(config, out, clock, MONDAY * HOUR_NS + 55 * MINUTE_NS)

    def states() -> list[str]:
        return [one["change"]["state"] for one in events_of(out) if one["type"] == "feed"]

    end = stretch(config, out, clock, (MONDAY + 3) * HOUR_NS, lambda: states()[-1:] == ["halted"])
    told = events_of(out)
    assert states()[:1] == ["live"]
    assert states()[-2:] == ["stale", "halted"]
    assert end.resumed
    assert any("status 503" in one["text"] for one in told if one["type"] == "feed_note")
    assert "status 503" in status_of(out)["feed"]["notes"][-1]


def _texts(hours: range) -> list[tuple[int, str]]:
    from aiopt.utc import hour_text

    return [(hour, hour_text(hour)) for hour in hours]
