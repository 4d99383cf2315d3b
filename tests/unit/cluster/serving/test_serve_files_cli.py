from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.cli import main as cli
from cluster.serving import deploy


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOPT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    code = cli.run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_where_nothing_serves_status_says_so_and_down_has_nothing_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, found = answer(capsys, "serve", "status")
    assert (code, found["endpoint"], found["ready"]) == (1, None, False)
    code, found = answer(capsys, "serve", "down")
    assert (code, found["stopped"]) == (0, False)
    cli.run(["serve", "status"])
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
    monkeypatch.setattr(deploy, "NEEDED", ())
    code, found = answer(capsys, "serve", "up", *arguments)
    assert code == 2
    assert message in str(found["error"])
    assert not (tmp_path / "state" / "cluster.json").exists()


def test_a_machine_without_vllm_is_told_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "NEEDED", ("no_such_engine",))
    code, found = answer(capsys, "serve", "up", "--profile", "test")
    assert code == 2
    assert "requirements/install.sh cpu" in str(found["error"])
    assert "no_such_engine" in str(found["error"])
