"""`aiopt serve` and the wait for a profile, without a cluster: what is told, and when it is believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from aiopt.errors import ClusterError
from aiopt.serving import profile_files
from aiopt.serving.backend import ServingStatus
from aiopt.serving.endpoint import Endpoint, write_endpoint
from aiopt.serving.profile import ServingConfig, load_args
from cluster import lifecycle
from cluster.cli.main import run
from cluster.serving import deploy
from tests.unit.cluster.cli.test_model_cli import CARD, STATUS

OLD = STATUS
NEW = ServingStatus(cards=(msgspec.structs.replace(CARD, revision="f" * 64),), engines=(), operations=())


class Client:
    """An endpoint that tells the statuses given, the last one for ever."""

    def __init__(self, *statuses: ServingStatus) -> None:
        self._statuses = list(statuses)
        self.asked = 0

    def status(self) -> ServingStatus:
        self.asked += 1
        return self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]


@pytest.fixture
def config() -> ServingConfig:
    return load_args(profile_files.load_profile("test")["applications"][0]["args"], where="test")


def told(monkeypatch: pytest.MonkeyPatch, *states: dict[str, str]) -> Iterator[dict[str, str]]:
    """Let Serve tell these states of the application in turn."""
    remaining = iter(states)
    monkeypatch.setattr(deploy, "_application", lambda state, token: next(remaining))
    monkeypatch.setattr(deploy, "POLL_S", 0.0)
    return remaining


def wait(client: Client, config: ServingConfig) -> None:
    nothing: Any = None
    deploy.await_serving(nothing, "", client, config, lambda line: None)  # type: ignore[arg-type]


def test_what_served_before_is_not_taken_for_the_new_profile(
    monkeypatch: pytest.MonkeyPatch, config: ServingConfig
) -> None:
    remaining = told(monkeypatch, {"status": "DEPLOYING"}, {"status": "DEPLOYING"}, {"status": "RUNNING"})
    client = Client(NEW)
    wait(client, config)
    assert client.asked == 1
    assert list(remaining) == []


def test_a_profile_that_cannot_be_built_is_told(
    monkeypatch: pytest.MonkeyPatch, config: ServingConfig
) -> None:
    told(monkeypatch, {"status": "DEPLOY_FAILED", "message": "trace\nConfigError: no such key"})
    with pytest.raises(ClusterError, match="did not start: ConfigError: no such key"):
        wait(Client(OLD), config)


def test_status_tells_where_the_tokens_lie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_endpoint(tmp_path, Endpoint(url="http://127.0.0.1:9", profile="test", started_cluster=False))
    assert run(["serve", "status", "--state-dir", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["answering"] is False
    assert found["token_file"] == str(tmp_path / "serve-token")
    assert found["admin_token_file"] == str(tmp_path / "serve-admin-token")


def test_an_interrupted_start_says_what_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    head = SimpleNamespace(dashboard_url="http://127.0.0.1:9")
    monkeypatch.setattr(profile_files, "check_machine", lambda config: None)
    monkeypatch.setattr(deploy, "check_port", lambda url: None)
    monkeypatch.setattr(lifecycle, "up", lambda folder, resources: (head, True))
    monkeypatch.setattr(lifecycle, "read_token", lambda folder: "")
    monkeypatch.setattr(deploy, "submit", lambda state, token, document: None)
    monkeypatch.setattr(deploy, "await_serving", interrupted)
    assert run(["serve", "up", "--profile", "test", "--state-dir", str(tmp_path)]) == 130
    assert "`aiopt serve down` stops it" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOPT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    code = run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_where_nothing_serves_status_says_so_and_down_has_nothing_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, found = answer(capsys, "serve", "status")
    assert (code, found["endpoint"], found["ready"]) == (1, None, False)
    code, found = answer(capsys, "serve", "down")
    assert (code, found["stopped"]) == (0, False)
    run(["serve", "status"])
    assert "Start it: aiopt serve up" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--profile", "gpuu"), "Did you mean 'gpu'"),
        (("--profile", "cpu"), "hf download openbmb/MiniCPM-V-4.6"),
        (("--profile", "test", "--model", "/nonexistent"), "/nonexistent does not exist"),
        (("--profile", "test", "--port", "0"), "--port"),
    ],
)
def test_what_is_wrong_is_said_before_a_cluster_starts(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setattr(profile_files, "NEEDED", ())
    code, found = answer(capsys, "serve", "up", *arguments)
    assert code == 2
    assert message in str(found["error"])
    assert not (tmp_path / "state" / "cluster.json").exists()


def test_a_machine_without_vllm_is_told_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile_files, "NEEDED", ("no_such_engine",))
    code, found = answer(capsys, "serve", "up", "--profile", "test")
    assert code == 2
    assert "requirements/install.sh cpu" in str(found["error"])
    assert "no_such_engine" in str(found["error"])
