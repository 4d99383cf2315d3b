"""Sessions for the tests of the live side: their configuration, and one stretch in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from aiopt.live.paper.paper_config import PaperConfig
from aiopt.live.session.live_config import LiveConfig, ReplayFeed, TradedSpec
from aiopt.live.session.live_session import LiveSession
from aiopt.live.session.live_trades import LiveTrade
from aiopt.live.session.run_folder import trades_of
from aiopt.live.session.session_end import SessionEnd
from aiopt.live.state.session_file import SessionFile
from aiopt.strategy.spec import StrategySpec


def traded(folder: Path, specs: dict[str, StrategySpec], timeframe: str = "5m") -> tuple[TradedSpec, ...]:
    """Write specs to files and return them as strategies of a session."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, spec in specs.items():
        path = folder / f"{name}.json"
        path.write_text(spec.to_json())
        found.append(TradedSpec(id=name, spec=str(path), timeframe=timeframe, balance=100_000.0))
    return tuple(found)


def config_of(store: Path, strategies: tuple[TradedSpec, ...], **changes: Any) -> LiveConfig:
    """Return a session's configuration; the account is large enough for all of them."""
    account = PaperConfig(account_currency="USD", initial_balance=1e6 * len(strategies))
    feed = ReplayFeed(store=str(store), **changes.pop("feed", {}))
    account = msgspec.structs.replace(account, **changes.pop("account", {}))
    return LiveConfig(
        **{"account": account, "strategies": strategies, "feed": feed, "profile": "dev"} | changes
    )


def run(config: LiveConfig, out: Path) -> tuple[SessionEnd, list[LiveTrade], list[dict[str, Any]]]:
    """Run a session in this process; return its end, all trades and all events."""
    with SessionFile(out) as file:
        end = LiveSession(config, file).run()
        return end, trades_of(file), [json.loads(value) for _, _, value in file.events()]


UNEVENTFUL = {"accepted", "filled", "cancelled", "began", "feed_over", "ended"}
"""What happens in a replay in which nothing is refused and nothing goes wrong."""


def kinds(events: list[dict[str, Any]]) -> Counter[str]:
    return Counter(event["type"] for event in events)


def stretch(config: LiveConfig, out: Path, killed_after_s: float | None) -> None:
    """Run a session; with a time, kill the process so long after the first quotes, wherever it is then."""

    def begun(done: float) -> None:
        if killed_after_s is not None and not timer:
            timer.append(threading.Timer(killed_after_s, os.kill, (os.getpid(), signal.SIGKILL)))
            timer[0].daemon = True
            timer[0].start()

    timer: list[threading.Timer] = []
    with SessionFile(out) as file:
        began = time.monotonic()
        LiveSession(config, file).run(begun)
        (out / "seconds").write_text(str(time.monotonic() - began))


def committed(out: Path) -> dict[str, Any] | None:
    """Return the venue's state of the last commit, None before the first."""
    connection = sqlite3.connect(f"file:{out / 'session.sqlite'}?mode=ro", uri=True)
    try:
        rows = dict(connection.execute("SELECT key, value FROM state"))
    finally:
        connection.close()
    return json.loads(rows["venue"]) if "venue" in rows else None
