"""``aiopt live``: what it prints, what it refuses, and how it goes on after an interruption."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aiopt.strategy.families import FAMILIES
from cluster.cli import main

WAIT_S = 300.0


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main.run(["live", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_replay_leaves_a_folder(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ("run", "--replay", str(store), "--spec", "bollinger_breakout", "--spec", "ema_cross_atr")
    code, text, _ = call(capsys, *words, "--out", str(out), "--json")
    assert code == 0
    document = json.loads(text)
    assert (document["ended"], document["resumed"], len(document["proof"])) == (True, False, 2)
    assert all(set(one["why"]) <= {"both_legs", "follows"} for one in document["proof"])
    rows = list(csv.DictReader((out / "trades.csv").read_text().splitlines()))
    assert len(rows) == document["trades"] > 5
    assert {row["strategy"] for row in rows} == {"A1", "A2"}
    summary = json.loads((out / "session.json").read_text())
    assert summary["end"]["session"] == document["session"]
    code, text, _ = call(capsys, "status", str(out), "--json")
    status = json.loads(text)
    assert (code, status["state"], status["trades"]) == (0, "ended", len(rows))
    assert status["position"] == document["quotes"]
    code, _, err = call(capsys, *words, "--out", str(out))
    assert (code, "at the end of its feed" in err) == (2, True)


def test_a_config_file_runs(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.json").write_text(FAMILIES["rsi_reversion"].spec.to_json())
    path = tmp_path / "live.yaml"
    path.write_text(
        "account: {account_currency: USD}\n"
        "strategies: [{id: mine, spec: mine.json, timeframe: 15m}]\n"
        f"feed: {{store: {store}, start: 2024-03-06}}\n"
        "warm_up_days: 0.5\n"
    )
    code, text, err = call(capsys, "run", str(path), "--out", str(tmp_path / "run"), "--no-prove", "--json")
    assert code == 0, err
    document = json.loads(text)
    assert (document["ended"], document["proof"], document["warnings"]) == (True, None, [])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "either a CONFIG file or --replay, but got neither"),
        (("live.yaml", "--replay", "STORE"), "but got both"),
        (("--replay", "STORE"), "A replay needs a strategy"),
        (("--replay", "STORE", "--spec", "rsi_revers"), "neither a ready family nor a file"),
        (("--replay", "STORE", "--spec", "rsi_reversion", "--timeframe", "5x"), "A timeframe must be"),
        (
            ("--replay", "STORE", "--spec", "rsi_reversion", "--start", "2031-01-01"),
            "must begin before it ends",
        ),
        (("--replay", "STORE", "--spec", "rsi_reversion", "--speed", "-1"), "0 <= feed.speed < inf"),
        (("--replay", "nowhere", "--spec", "rsi_reversion"), "nowhere"),
        (("--replay", "STORE", "--spec", "rsi_reversion", "--bus", "rediss:/x"), "A URL must be rediss://"),
        (("--replay", "STORE", "--spec", "rsi_reversion", "--bus", "redis://u:p@h"), "must hold no password"),
        (("nowhere.yaml",), "There is no file nowhere.yaml"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(store) if word == "STORE" else word for word in words]
    code, _, err = call(capsys, "run", *given, "--out", str(tmp_path / "run"))
    assert (code, text in err) == (2, True), err
    assert not (tmp_path / "run" / "session.sqlite").exists()
    code, _, err = call(capsys, "status", str(tmp_path))
    assert (code, "A session's folder holds" in err) == (2, True)


def test_an_interruption_ends_it_in_order(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    script = "import sys; from cluster.cli import main; sys.exit(main.run(sys.argv[1:]))"
    words = ["live", "run", "--replay", str(store), "--spec", "stochastic_sma", "--timeframe", "1m"]
    command = [sys.executable, "-c", script, *words, "--out", str(out), "--json"]
    root = Path(__file__).parents[3]
    child = subprocess.Popen([*command, "--speed", "600"], stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        deadline = time.monotonic() + WAIT_S
        while not (out / "session.sqlite").exists() or _position(out) < 50:
            assert time.monotonic() < deadline, "the session does not get on"
            assert child.poll() is None, "the session ended by itself"
            time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        first = json.loads(child.communicate(timeout=WAIT_S)[0])
    finally:
        child.kill()
        child.wait()
    assert (first["ended"], child.returncode) == (False, 0)
    rest = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=WAIT_S, check=True)
    second = json.loads(rest.stdout)
    assert (second["ended"], second["resumed"], second["session"]) == (True, True, first["session"])
    assert all(set(one["why"]) <= {"both_legs", "follows"} for one in second["proof"])


def _position(out: Path) -> int:
    from aiopt.errors import AioptError
    from aiopt.live.session.status import status_of

    try:
        return int(status_of(out)["position"])
    except AioptError:
        return 0  # not begun yet
