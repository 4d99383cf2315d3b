"""Bad addresses and tokens of the Jobs API: told within seconds, before Ray's client is asked."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from aiopt.errors import EXIT_FAILED, EXIT_OK, ClusterError, InputError
from cluster import job_access
from cluster.cli.main import run
from cluster.job_list import exit_code_of, record_of
from cluster.submit import script_names


@pytest.fixture(autouse=True)
def no_cluster_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["list", "--address", "10.0.0.5:8265"], 2, "--address must be http://HOST:PORT"),
        (["list", "--address", "http://127.0.0.1:1"], 1, "nothing takes connections there"),
        (["list", "--address", "http://127.0.0.1"], 1, "nothing takes connections there"),
        (
            ["list", "--address", "http://127.0.0.1:1", "--token-file", "nothere"],
            2,
            "There is no file nothere",
        ),
        (["list"], 1, "No cluster runs from here"),
        (["submit", "optimise"], 2, "Did you mean 'optimize'"),
        (["submit", "/etc/passwd"], 2, "There is no job script"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["jobs", *arguments]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_jobs_api_is_told_from_one_that_wants_a_token() -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ClusterError, match="did not answer: HTTP 404"):
            job_access.check_answers(f"http://127.0.0.1:{server.server_port}", None)
        server.shutdown()


def test_environment_names_address_and_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert job_access.given_address(None) is None
    assert job_access.environment_token() is None
    monkeypatch.setenv("RAY_ADDRESS", "http://h:1/")
    assert job_access.given_address(None) == "http://h:1"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://h:2")
    assert job_access.given_address(None) == "http://h:2"
    assert job_access.given_address("http://h:3") == "http://h:3"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "t"))
    with pytest.raises(InputError, match="RAY_AUTH_TOKEN_PATH names"):
        job_access.environment_token()
    (tmp_path / "t").write_text("secret\n")
    assert job_access.environment_token() == "secret"
    assert job_access.authorization("secret") == {"Authorization": "Bearer secret"}
    assert job_access.authorization(None) == {}


def test_every_script_of_the_checkout_can_be_named() -> None:
    assert {"optimize", "scan", "train", "retrain"} <= set(script_names())


@pytest.mark.parametrize(
    ("status", "end", "code"),
    [
        ("RUNNING", None, EXIT_OK),
        ("SUCCEEDED", 61_000, EXIT_OK),
        ("FAILED", 61_000, EXIT_FAILED),
        ("STOPPED", 61_000, EXIT_FAILED),
    ],
)
def test_a_record_tells_how_a_job_stands(status: str, end: int | None, code: int) -> None:
    details = SimpleNamespace(
        submission_id="a",
        status=SimpleNamespace(value=status),
        start_time=1_000,
        end_time=end,
        metadata=None,
        entrypoint="python x",
        message=None,
        driver_exit_code=None,
    )
    record = record_of(details)
    assert exit_code_of(record) == code
    assert record.started == "1970-01-01T00:00:01+00:00"
    assert record.running == (end is None)
    if end is not None:
        assert record.seconds == 60.0
