"""`aiopt serve` and the wait for a profile, without a cluster: what is told, and when it is believed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aiopt.serving import profile_files
from aiopt.serving.endpoint import Endpoint, write_endpoint
from cluster import lifecycle
from cluster.cli.main import run
from cluster.serving import deploy


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
