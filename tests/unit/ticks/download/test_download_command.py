"""The command `aiopt ticks download`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from aiopt.cli.ticks import command
from tests.unit.ticks.download.faulty_server import (
    TICKS,
    Server,
    keys,
    refuse,
)


def invoke(server: Server, tmp_path: Path, *more: str) -> Any:
    arguments = ["download", "EURUSD", "--from", "2024-05-06T10", "--to", "2024-05-06T13"]
    arguments += ["--out", str(tmp_path / "store"), "--cache", str(tmp_path / "cache"), "--proxy", "none"]
    arguments += ["--backoff", "0.01", "--attempts", "2", "--interval", "0", *more]
    environment = {"AIOPT_TICK_FEEDS": f"bi5={server.base} json={server.base}"}
    return CliRunner().invoke(command, arguments, env=environment, standalone_mode=False)


def test_the_command_exits_with_1_while_an_hour_is_failed(server: Server, tmp_path: Path) -> None:
    server.script |= {f"{kind}:2024-05-06T11": [refuse(503)] for kind in ("bi5", "json")}
    result = invoke(server, tmp_path)
    assert result.exception is None
    assert result.return_value == 1
    lines = result.stdout.splitlines()
    at = lines.index("failed: 2024-05-06T11")
    # What each of the two feeds said last.
    for line, kind in zip(lines[at + 1 : at + 3], ("bi5", "json"), strict=True):
        assert line.startswith(f"    {kind}={server.base}, attempt 2: {server.base}/")
        assert line.endswith(": status 503 Service Unavailable")
    assert "attempt 1" not in result.stdout
    assert "asks only for the 1 failed hour(s)" in result.stdout
    result = invoke(server, tmp_path, "--json")
    assert result.return_value == 1
    document = json.loads(result.stdout)
    assert (document["ok"], document["store"]) == (False, None)
    assert list(document["failed"]) == ["2024-05-06T11"]
    server.script.clear()
    result = invoke(server, tmp_path, "--json")
    assert result.return_value == 0
    document = json.loads(result.stdout)
    assert document["hours"] == {"ticks": 4, "empty": 0, "closed": 0, "failed": 0}
    assert (document["fetched"], document["reused"], document["store"]["rows"]) == (1, 3, 4 * TICKS)


def test_requests_go_through_the_proxy(server: Server, tmp_path: Path) -> None:
    # The host does not exist; the server here answers for it, as a proxy does.
    proxied = ["--proxy", server.base, "--feed", "bi5=http://feed.invalid/datafeed"]
    result = invoke(server, tmp_path, *proxied, "--json")
    assert result.exception is None
    assert json.loads(result.stdout)["ok"] is True
    assert server.asked == Counter(keys("bi5"))
