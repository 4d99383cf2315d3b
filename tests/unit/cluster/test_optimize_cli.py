"""Bad input to `aiopt optimize` is found before a cluster starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster import cli


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("trails: 3", [], "Unknown key 'trails'"),
        ("trials: 0", [], "`trials >= 1` must hold"),
        ("", ["--trials", "0"], "`trials >= 1` must hold"),
        ("", ["--ticks", "nothere"], "ticks must exist"),
        ("", ["--strategies", "rsi_reversio"], "Did you mean 'rsi_reversion'"),
        ("", ["--timeframes", "1m,1x"], "1x"),
        ("", ["--top", "0"], "`top >= 1` must hold"),
        ("a: [", [], "valid YAML"),
    ],
)
def test_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, options: list[str], message: str
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(text)
    state = tmp_path / "state"
    assert cli.run(["optimize", str(config), "--json", "--state-dir", str(state), *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert message in json.loads(captured.out)["error"]["message"]
    assert not state.exists(), "no cluster was started"


def test_missing_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["optimize", str(tmp_path / "none.yaml")]) == 2
    assert "configuration file must exist" in capsys.readouterr().err


def test_address_that_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    config = tmp_path / "c.yaml"
    config.write_text("")
    assert cli.run(["optimize", str(config), "--address", "http://127.0.0.1:1"]) == 1
    assert "Jobs API must answer at http://127.0.0.1:1" in capsys.readouterr().err
