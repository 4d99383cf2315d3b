"""Commands of ``aiopt live`` to a session that runs, and to one that does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aiopt.strategy.families import FAMILIES
from cluster.cli import main
from tests.engine.live.live_sessions import config_of, run
from tests.engine.live.steered import Hand, holds, steered
from tests.engine.live.test_control import PACE, families, open_position


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any, str]:
    code = main.run(["live", *map(str, words), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


def test_every_command_reaches_a_session_that_runs(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, seen = tmp_path / "run", {}
    (tmp_path / "mine.json").write_text(FAMILIES["rsi_reversion"].spec.to_json())
    name, span = next(
        (name, one) for name, one in FAMILIES["stochastic_sma"].dimensions.items() if hasattr(one, "low")
    )

    def script(hand: Hand) -> None:
        def say(key: str, *words: object) -> None:
            seen[key] = call(capsys, *words)

        hand.hold(holds("B"))
        held = open_position(hand.status(), "B")
        assert held is not None
        near, side = hand.status()["last_quote"]["bid"], held["side"]
        say("levels", "levels", out, "B", "--stop", round(near - side * 0.02, 5))
        say("positions", "positions", out)
        say("orders", "orders", out)
        say("pause", "pause", out, "--id", "once", "--by", "desk")
        say("again", "pause", out, "--id", "once", "--by", "desk")
        say("resume", "resume", out, "B")
        say("set", "set", out, "S", f"{name}={span.low}")
        say("out", "set", out, "S", f"{name}={span.high + 1}")
        say("size", "size", out, "0.5", "S")
        say("mode", "mode", out, "observe", "S")
        say("model", "model", out, "rules")
        say("flatten", "flatten", out)
        hand.go()
        hand.wait(lambda status: not status["positions"])
        say("spec", "spec", out, "S", tmp_path / "mine.json")
        say("unknown", "pause", out, "Stoch")
        say("kill", "kill", out, "--reason", "a test")
        say("status", "status", out)
        say("stop", "stop", out, "--flatten")

    steered(families(store, tmp_path, "bollinger_breakout", "stochastic_sma"), out, script)
    answers = {
        key: value for key, value in seen.items() if key not in ("positions", "orders", "status", "again")
    }
    refused = {"out": "out_of_range", "model": "not_supported", "unknown": "unknown_strategy"}
    for key, (code, document, err) in answers.items():
        assert not err, (key, err)
        assert (code, document["rule"]) == ((1, refused[key]) if key in refused else (0, None)), document
    assert (seen["again"][0], seen["again"][1]["again"]) == (0, True)
    (held,) = [one for one in seen["positions"][1] if one["strategy"] == "B"]
    assert held["stop"] == seen["levels"][1]["after"]["stop"]
    assert {one["position_id"] for one in seen["orders"][1] if one["kind"] == "stop"} >= {held["position_id"]}
    status = seen["status"][1]
    assert (status["states"], status["modes"]["S"]) == ({"B": "running", "S": "paused"}, "observe")
    assert status["kill"] != "armed"
    code, told, _ = call(capsys, "events", out, "--kind", "command_outcome")
    assert (code, len(told)) == (0, len(answers))
    code, _, err = call(capsys, "flatten", out)
    assert (code, "no process runs the one in" in err, "aiopt bus send BUS S" in err) == (2, True, True)


def test_what_cannot_be_asked_is_said(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    code, _, err = call(capsys, "pause", tmp_path)
    assert (code, "A session's folder holds" in err) == (2, True)
    hour = {"start": PACE["start"], "stop": "2024-03-05T07:00"}
    run(config_of(store, families(store, tmp_path, "stochastic_sma").strategies, feed=hour), out)
    for words, text in (
        (("kill", out), "at the end of its feed"),
        (("levels", out, "S"), "Give --stop, --target or both"),
        (("levels", out, "S", "--stop", "1.0"), "it holds none"),
        (("set", out, "S", "length"), "A parameter must be NAME=NUMBER"),
        (("spec", out, "S", "rsi_revers"), "neither a ready family nor a file"),
        (("events", out, "--kind", "fil"), "Did you mean 'fill'"),
    ):
        code, _, err = call(capsys, *words)
        assert (code, text in err) == (2, True), err
    assert main.run(["live", "orders", str(out)]) == 0
    assert main.run(["live", "positions", str(out)]) == 0
    assert main.run(["live", "events", str(out), "--limit", "3"]) == 0
    text, _ = capsys.readouterr()
    assert "No order is at work." in text
    assert "No position is open." in text
    assert "at the end of its feed" in text
