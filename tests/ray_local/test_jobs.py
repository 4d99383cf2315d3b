"""`aiopt jobs` against the real Jobs API, as another machine would call it: by address and token."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import job_access, lifecycle
from cluster.cli.main import run
from cluster.submit import Job

# Ray's own client, in every version of aiohttp from 3.14 on.
pytestmark = pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning")

REPOSITORY = Path(__file__).resolve().parents[2]
SLEEPER = "import time; print('one', 'line', flush=True); time.sleep(3600)"


@pytest.fixture
def access(ray_head: lifecycle.ClusterState, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options of a caller who has nothing but address and token."""
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return ["--address", ray_head.dashboard_url, "--token-file", ray_head.token_path]


@pytest.fixture
def sleeping(ray_head: lifecycle.ClusterState) -> Iterator[str]:
    """A job that runs until it is stopped."""
    token = Path(ray_head.token_path).read_text()
    job = Job(ray_head.dashboard_url, job_access.authorization(token))
    job.submit(
        [sys.executable, "-c", SLEEPER], job_id="sleeping", environment={}, metadata={"name": "sleeper"}
    )
    deadline = time.monotonic() + 120
    while "one line" not in job.client.get_job_logs(job.job_id) and time.monotonic() < deadline:
        time.sleep(0.3)
    yield job.job_id
    job.stop()


def test_a_job_is_submitted_followed_left_found_and_stopped(
    access: list[str], sleeping: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["jobs", "submit", *access, "--job-id", "helped", "optimize", "--help"]) == 0
    assert "Ticks to ranked strategies" in capsys.readouterr().out
    # What it tells Ray about uploads is for this one alone: else `ray job submit` beside it takes everything.
    assert "RAY_RUNTIME_ENV_IGNORE_GITIGNORE" not in os.environ

    assert run(["jobs", "list", *access, "--json"]) == 0
    listed = {each["job_id"]: each for each in json.loads(capsys.readouterr().out)["jobs"]}
    assert listed["helped"]["status"] == "SUCCEEDED"
    assert listed["helped"]["exit_code"] == 0
    assert listed[sleeping]["status"] == "RUNNING"
    assert run(["jobs", "list", *access]) == 0
    assert "helped" in capsys.readouterr().out
    assert run(["jobs", "logs", *access, sleeping]) == 0
    assert capsys.readouterr().out.endswith("\none line\n")

    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    following = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", "jobs", "logs", *access, sleeping, "--follow"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=kept,
    )
    assert following.stdout is not None
    # Ray's own lines come first.
    assert "one line\n" in iter(following.stdout.readline, "")
    following.send_signal(signal.SIGTERM)
    said, _ = following.communicate(timeout=120)
    assert following.returncode == 143
    assert f"The job {sleeping} runs on. `aiopt jobs logs {sleeping} --follow`" in said

    assert run(["jobs", "status", *access, sleeping]) == 0
    assert "RUNNING" in capsys.readouterr().out
    assert run(["jobs", "stop", *access, sleeping, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "STOPPED"
    assert run(["jobs", "status", *access, sleeping]) == 1


def test_who_has_no_token_or_asks_for_no_job_is_told(
    access: list[str],
    ray_head: lifecycle.ClusterState,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["jobs", "status", *access, "nosuchjob"]) == 2
    assert "knows no job 'nosuchjob'" in capsys.readouterr().err
    assert run(["jobs", "list", "--address", ray_head.dashboard_url]) == 1
    assert "wants a token, and none was given" in capsys.readouterr().err
    (tmp_path / "wrong").write_text("0" * 64)
    wrong = ["--address", ray_head.dashboard_url, "--token-file", str(tmp_path / "wrong")]
    assert run(["jobs", "submit", *wrong, "optimize"]) == 1
    assert "refuses this token" in capsys.readouterr().err
    folder = str(Path(ray_head.token_path).parent)
    assert run(["jobs", "list", "--state-dir", folder, "--json"]) == 0
