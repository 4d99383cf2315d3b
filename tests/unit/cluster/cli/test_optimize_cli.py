"""Bad input to `aiopt optimize` is found before a cluster starts."""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from aiopt.analyst import AnalystSettings
from aiopt.errors import InputError
from aiopt.ledger import ledger_folder
from aiopt.optimize.configuration import AnalysisConfig, OptimizeConfig
from aiopt.verification.engine_folder import engine_folder
from cluster.cli import main as cli
from cluster.cli.optimize import forwarded_variables


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("trails: 3", [], "Unknown key 'trails'"),
        ("trials: 0", [], "`trials >= 1` must hold"),
        ("", ["--trials", "0"], "`trials >= 1` must hold"),
        ("", ["--ticks", "nothere"], "No ticks found"),
        ("", ["--strategies", "rsi_reversio"], "Did you mean 'rsi_reversion'"),
        ("", ["--timeframes", "1m,1x"], "1x"),
        ("", ["--top", "0"], "`top >= 1` must hold"),
        ("", ["--folds", "0"], "`folds >= 1` must hold"),
        ("", ["--purge", "4 hours"], "`walk_forward.purge` must be a number"),
        ("", ["--embargo", "soon"], "`walk_forward.embargo` must be a number"),
        ("a: [", [], "valid YAML"),
        ("analysis: {reader: {endpoint: nonsense}}", [], "`endpoint` must be a URL"),
        ("analysis: {trade: 3}", [], "Did you mean 'trades'"),
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


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--purge", "4h", "--embargo", "1d", "--anchored"],
            {"purge": "4h", "embargo": "1d", "anchored": True},
        ),
        (["--folds", "6", "--train-segments", "2"], {"folds": 6, "train_segments": 2, "purge": "2h"}),
        (["--rolling"], {"purge": "2h", "anchored": False}),
    ],
)
def test_flags_of_the_walk_forward_stand_above_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], expected: dict[str, object]
) -> None:
    seen: list[OptimizeConfig] = []

    def stop(config: OptimizeConfig, *_: object, **__: object) -> None:
        seen.append(config)
        raise InputError("seen enough")

    monkeypatch.setattr("cluster.cli.optimize.check_run", stop)
    config = tmp_path / "c.yaml"
    config.write_text("walk_forward: {purge: 2h, anchored: true}")
    assert cli.run(["optimize", str(config), *options]) == 2
    found = seen[0].walk_forward
    assert {name: getattr(found, name) or False for name in expected} == expected


def test_missing_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["optimize", str(tmp_path / "none.yaml")]) == 2
    assert "There is no file" in capsys.readouterr().err


def test_address_that_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    config = tmp_path / "c.yaml"
    config.write_text("")
    assert cli.run(["optimize", str(config), "--address", "http://127.0.0.1:1"]) == 1
    assert "The Jobs API at http://127.0.0.1:1 did not answer" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"])
def test_the_address_given_beats_the_environment(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(503)

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
        monkeypatch.setenv(name, url)
        config = tmp_path / "c.yaml"
        config.write_text("")
        assert cli.run(["optimize", str(config), "--address", "http://127.0.0.1:1"]) == 1
        server.shutdown()
    assert asked == []
    assert os.environ[name] == url
    assert "The Jobs API at http://127.0.0.1:1 did not answer" in capsys.readouterr().err


def test_the_job_gets_the_settings_and_the_token_only_where_a_model_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIOPT_OPTIMIZE__TRIALS", "3")
    monkeypatch.setenv("MY_TOKEN", "secret")
    monkeypatch.setenv("OTHER", "x")
    reader = AnalystSettings(endpoint="http://127.0.0.1:8000/v1", token_variable="MY_TOKEN")
    # Counted in the caller's ledger and proved in the caller's Pine engine, wherever the job runs.
    both = {
        "AIOPT_OPTIMIZE__TRIALS": "3",
        "AIOPT_LEDGER_DIR": str(ledger_folder()),
        "AIOPT_PINE_ENGINE_DIR": str(engine_folder()),
    }
    asked = forwarded_variables(OptimizeConfig(analysis=AnalysisConfig(reader=reader)))
    assert asked == {**both, "MY_TOKEN": "secret"}
    assert forwarded_variables(OptimizeConfig()) == both
