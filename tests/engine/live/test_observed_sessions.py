"""A running session watched: metrics over HTTP and in a file, its log; it trades the same as unwatched."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aiopt.errors import ConfigError
from aiopt.live.guard.guard_config import GuardConfig
from aiopt.live.limits.limits_config import LimitsConfig
from aiopt.live.report.frame import frame
from aiopt.live.report.observer import SessionObserver, pulse_of
from aiopt.live.report.record import read_record
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.session.live_session import LiveSession
from aiopt.live.session.metrics_config import MetricsConfig
from aiopt.live.session.run_folder import trades_of
from aiopt.live.session.session_end import SessionEnd
from aiopt.live.state.session_file import SessionFile
from aiopt.strategy.families import FAMILIES
from tests.engine.live.live_sessions import config_of, run, traded
from tests.engine.live.test_session_report import text_of

EVERY_LOOK = MetricsConfig(port=0, every_s=0.05)


@pytest.fixture
def config(store: Path, tmp_path: Path) -> LiveConfig:
    specs = {name: FAMILIES[name].spec for name in ("stochastic_sma", "bollinger_breakout")}
    return config_of(
        store,
        traded(tmp_path / "specs", specs, "1m"),
        guard=GuardConfig(limits=LimitsConfig(max_notional=15_000.0)),
        feed={"stop": "2024-03-05T14:00"},
    )


def watched(
    config: LiveConfig, out: Path, stop_at: float | None = None
) -> tuple[SessionEnd, dict[str, Any], list[str]]:
    """Run a stretch watched; return its end, the metrics served at its last look, and the paths asked."""
    served: list[str] = []
    with SessionFile(out) as file:
        session = LiveSession(config, file)
        with SessionObserver(file, session.session_id, EVERY_LOOK) as observer:
            session.observer = observer

            def told(done: float) -> None:
                url = f"http://127.0.0.1:{observer.port}/metrics"
                with urllib.request.urlopen(url, timeout=60) as answer:
                    served.append(answer.read().decode())
                if stop_at is not None and done >= stop_at:
                    session.stop()

            end = session.run(told)
    return end, figures(served[-1]), served


def figures(text: str) -> dict[str, Any]:
    """Return values by name and labels but the session's."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for name, value in sorted(sample.labels.items()) if name != "session")
            found[(sample.name, *labels)] = sample.value
    return found


def test_the_metrics_are_the_sessions(config: LiveConfig, tmp_path: Path) -> None:
    plain, trades, events = run(config, tmp_path / "plain")
    out = tmp_path / "watched"
    end, found, served = watched(config, out)
    assert len(served) >= 2
    with SessionFile(out) as file:
        assert [(t.entry_ts_ns, t.pnl) for t in trades_of(file)] == [(t.entry_ts_ns, t.pnl) for t in trades]
    assert found["aiopt_live_quotes_total",] == end.quotes == plain.quotes
    steps = sum(found["aiopt_live_step_seconds_count", kind] for kind in ("quiet", "bar", "order"))
    assert steps == end.quotes
    assert found["aiopt_live_step_seconds_count", "order"] > len(trades)
    assert found["aiopt_live_equity",] == pytest.approx(end.account.equity)
    done = Counter(trade.strategy for trade in trades)
    assert {name: found["aiopt_live_trades_total", name] for name in done} == dict(done)
    refused = sum(event["type"] == "refused" for event in events)
    assert found["aiopt_live_refused_orders_total", "max_notional"] == refused > 0
    assert found["aiopt_live_kill_switch", "armed"] == 1
    # The file has them too, and the terminal view takes quote and equity from it.
    pulse = pulse_of(out)
    assert pulse["equity"] == pytest.approx(end.account.equity)
    later = pulse | {"quote_timestamp_seconds": pulse["quote_timestamp_seconds"] + 60, "bid": 2.0, "ask": 2.5}
    assert "2.00000 / 2.50000" in text_of(read_record(out, newest=8), later)
    assert "2.00000" not in text_of(read_record(out, newest=8), pulse)


def test_the_log_goes_on_where_it_was_left(config: LiveConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    end, _, _ = watched(config, out, stop_at=0.0)
    assert not end.ended
    log = out / "session.log"
    log.write_bytes(log.read_bytes()[:-20])  # the process died in a line
    end, _, _ = watched(config, out)
    with SessionFile(out) as file:
        kept = [(number, json.loads(text)["type"]) for number, _, text in file.events()]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["number"], line["event"]) for line in lines] == kept
    assert {line["session"] for line in lines} == {end.session}
    orders = [line for line in lines if line["event"] in ("accepted", "filled")]
    assert orders
    assert all(line["order"].startswith(f"{end.session}-{line['strategy']}") for line in orders)


def test_a_taken_port_is_said(config: LiveConfig, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, SessionFile(tmp_path / "out") as file:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port} cannot be had"):
            SessionObserver(file, "S1", MetricsConfig(port=port))


@pytest.mark.parametrize("values", [{"port": 70_000}, {"every_s": 0.0}, {"port": -1}])
def test_bad_settings(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must hold"):
        MetricsConfig(**values)


def test_a_frame_without_metrics(config: LiveConfig, tmp_path: Path) -> None:
    assert pulse_of(tmp_path) == {}
    run(config, tmp_path / "out")
    assert frame(read_record(tmp_path / "out", newest=1)) is not None
