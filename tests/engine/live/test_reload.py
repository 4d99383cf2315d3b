"""Another configuration for a session that runs: what it takes, what it refuses, what a restart does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.errors import ConfigError
from aiopt.live.control.controls import controls_of
from aiopt.live.guard.guard_config import GuardConfig
from aiopt.live.limits.limits_config import LimitsConfig
from aiopt.live.report.record import read_record
from aiopt.live.session.live_config import LiveConfig
from aiopt.live.state.session_file import SessionFile
from cluster.cli import main
from tests.engine.live.bus_reading import events_told
from tests.engine.live.steered import Hand, steered
from tests.engine.live.test_control import entries, families, told_by


def guarded(config: LiveConfig, **limits: Any) -> LiveConfig:
    return msgspec.structs.replace(config, guard=GuardConfig(limits=LimitsConfig(**limits)))


def test_limits_and_pace_change_while_it_runs_and_nothing_else_does(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, seen = tmp_path / "run", {}
    config = families(store, tmp_path, "stochastic_sma")
    narrow = guarded(config, max_position_units=1e-6)
    faster = msgspec.structs.replace(
        narrow, feed=msgspec.structs.replace(config.feed, speed=3_600.0), at_end="keep"
    )
    poorer = msgspec.structs.replace(config.account, leverage=5.0)
    other = msgspec.structs.replace(narrow, warm_up_days=1.0, account=poorer)
    (tmp_path / "faster.json").write_bytes(msgspec.json.encode(faster))

    def script(hand: Hand) -> None:
        hand.wait(lambda status: status["positions"])
        seen["other"] = hand.send("reload_config", config=msgspec.to_builtins(other))
        seen["no"] = hand.send("reload_config", config={"account": {}, "limits": 1})
        seen["refused"] = len(refusals(hand.folder))
        seen["code"] = main.run(["live", "reload", str(out), str(tmp_path / "faster.json"), "--json"])
        seen["entries"] = len(entries(hand.folder))
        hand.wait(lambda status: len(refusals(hand.folder)) > 1)
        seen["entries then"] = len(entries(hand.folder))
        seen["back"] = hand.send("reload_config", config=msgspec.to_builtins(config))
        hand.wait(lambda status: len(entries(hand.folder)) > seen["entries then"])
        seen["last"] = hand.send("reload_config", config=msgspec.to_builtins(faster))

    steered(config, out, script)
    assert read_record(out).config == faster, "the report shows what holds, not what it began with"
    assert (seen["other"].status, seen["other"].rule) == ("refused", "not_supported")
    assert "account.leverage, warm_up_days differ" in seen["other"].reason
    assert seen["no"].rule == "bad_config"
    assert (seen["code"], seen["refused"]) == (0, 0)
    assert seen["entries"] == seen["entries then"], "an entry passed the new limit"
    assert set(seen["back"].after) == {"guard.limits", "feed.speed", "at_end"}
    assert (seen["back"].before["feed.speed"], seen["back"].after["feed.speed"]) == (3_600.0, 1_800.0)
    assert '"command":"reload_config"' in capsys.readouterr().out.replace(" ", "")

    def glance(hand: Hand) -> None:
        hand.wait(lambda status: status["last_quote"])

    steered(config, out, glance)  # the file says what holds: its limits are those of the beginning
    told = [one.text for one in events_told(out)[1] if one.kind == "health" and one.part == "node"]
    assert told.count("goes on with another guard.limits") == 1
    with SessionFile(out) as file:
        controls = controls_of(file.state())
    assert controls is not None
    assert read_record(out).config == config, "the report shows what holds"
    assert controls.settings["guard.limits"]["max_position_units"] is None
    with pytest.raises(ConfigError, match=r"the configuration of .* has changed since"):
        steered(other, out, glance)


def refusals(folder: Path) -> list[Any]:
    return [
        one
        for one in told_by(folder)
        if one["kind"] == "would_trade" and one["why"].startswith("max_position_units")
    ]
