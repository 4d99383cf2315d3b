"""`aiopt model` against a real HTTP server that plays the admin routes, well and badly."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aiopt.errors import ClusterError
from aiopt.serving import endpoint
from aiopt.serving.backend import EngineInfo, ModelCard, Operation, PhaseTime, ServingStatus
from cluster.cli.main import run

ADMIN_TOKEN = "a-token-of-the-administrator"

CARD = ModelCard(
    name="minicpm",
    aliases=("vision",),
    model_id="openbmb/MiniCPM-V-4.6",
    revision="0123456789abcdef" * 4,
    architecture="MiniCPMV4_6ForConditionalGeneration",
    images=True,
    max_context_tokens=8192,
    created=1_700_000_000,
)
STATUS = ServingStatus(
    cards=(CARD,),
    engines=(
        EngineInfo(
            engine_id="engine-0123",
            slot="minicpm",
            model_id=CARD.model_id,
            revision=CARD.revision,
            role="serving",
            in_flight=3,
        ),
    ),
    operations=(),
)


class Admin:
    """A scripted endpoint: the states an operation goes through, and what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, str | None]] = []
        self.states: list[Operation] = []
        self.answer_next: tuple[int, bytes] | None = None
        self.drop = 0
        handler = type("Handler", (_Handler,), {"admin": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def respond(self, method: str, path: str, body: Any, token: str | None) -> tuple[int, bytes]:
        self.asked.append((method, path, body, token))
        if token != f"Bearer {ADMIN_TOKEN}":
            return 401, b'{"error": {"message": "The token must be the admin token."}}'
        if self.answer_next is not None:
            answer, self.answer_next = self.answer_next, None
            return answer
        if path == "/admin/models":
            return 200, msgspec.json.encode(STATUS)
        current = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return (202 if method == "POST" else 200), msgspec.json.encode(current)


class _Handler(BaseHTTPRequestHandler):
    admin: Admin

    def _handle(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        if self.command == "GET" and self.admin.drop > 0:
            self.admin.drop -= 1
            self.close_connection = True
            return
        status, answer = self.admin.respond(self.command, self.path, body, self.headers.get("Authorization"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Admin]:
    monkeypatch.setenv("AIOPT_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(endpoint, "POLL_S", 0.01)
    for name in (endpoint.URL_VARIABLE, *endpoint.TOKEN_VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    served = Admin()
    thread = threading.Thread(target=served.server.serve_forever, args=(0.02,))
    thread.start()
    endpoint.write_endpoint(
        tmp_path, endpoint.Endpoint(url=served.url, profile="test", started_cluster=False)
    )
    endpoint.token_path(tmp_path, "admin").write_text(ADMIN_TOKEN)
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


def operation(state: str, phase: str | None = None, **more: Any) -> Operation:
    known: dict[str, Any] = {
        "operation_id": "op-1",
        "kind": "swap",
        "slot": "minicpm",
        "checkpoint": "/models/b",
        "state": state,
        "phase": phase,
    }
    return Operation(**{**known, **more})


def test_list_and_status_show_what_is_served(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["model", "list"]) == 0
    assert "openbmb/MiniCPM-V-4.6" in capsys.readouterr().out
    assert run(["model", "status", "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=ServingStatus) == STATUS
    assert {entry[3] for entry in admin.asked} == {f"Bearer {ADMIN_TOKEN}"}


def test_a_swap_is_followed_phase_by_phase(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    times = (PhaseTime(phase="validate", seconds=0.5), PhaseTime(phase="flip", seconds=0.01))
    admin.states = [
        operation("waiting"),
        operation("running", "validate"),
        operation("running", "load"),
        operation("done", None, phases=times, to_revision="fedcba9876543210" * 4),
    ]
    assert run(["model", "swap", "/models/b", "--name", "vision"]) == 0
    method, path, body, _ = admin.asked[0]
    assert (method, path) == ("POST", "/admin/models/swap")
    assert body == {"checkpoint": "/models/b", "model": "vision", "wait": True}
    out, err = capsys.readouterr()
    assert "revision fedcba987654" in out
    assert "validate 0.50 s, flip 0.01 s" in out
    assert [line.split(": ")[1] for line in err.splitlines()] == ["waiting …", "validate …", "load …"]


def test_a_refused_swap_says_why_and_exits_with_1(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    refused = operation("refused", "validate", message="The weights must be whole, but x is cut.")
    admin.states = [operation("running", "validate"), refused]
    assert run(["model", "swap", "/models/b", "--json"]) == 1
    assert msgspec.json.decode(capsys.readouterr().out, type=Operation) == refused


def test_detach_returns_at_once_and_no_wait_is_passed_on(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    admin.states = [operation("running", "load", kind="rollback")]
    assert run(["model", "rollback", "--detach", "--no-wait"]) == 0
    assert "operation op-1" in capsys.readouterr().out
    assert [(entry[1], entry[2]) for entry in admin.asked] == [("/admin/models/rollback", {"wait": False})]


def test_a_folder_given_relative_to_here_is_sent_whole(
    admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    admin.states = [operation("done")]
    assert run(["model", "load", "model"]) == 0
    assert admin.asked[0][2]["checkpoint"] == str(tmp_path / "model")


def test_an_endpoint_that_restarts_meanwhile_is_asked_again(admin: Admin) -> None:
    admin.states = [operation("running", "load"), operation("done")]
    admin.drop = 3
    assert run(["model", "swap", "/models/b"]) == 0


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, 2, "UnknownModelError"),
        (409, 1, "SwapRefusedError"),
        (400, 2, "InputError"),
        (503, 1, "ClusterError"),
    ],
)
def test_the_endpoints_message_reaches_the_user(
    admin: Admin, capsys: pytest.CaptureFixture[str], status: int, code: int, error: str
) -> None:
    admin.answer_next = (status, b'{"error": {"message": "because of this"}}')
    assert run(["model", "swap", "x", "--json"]) == code
    document = json.loads(capsys.readouterr().out)["error"]
    assert (document["type"], document["message"]) == (error, "because of this")


@pytest.mark.parametrize("answer", [b"<html>", b'{"hello": 1}'])
def test_another_server_at_the_url_is_recognised(admin: Admin, answer: bytes) -> None:
    admin.answer_next = (200, answer)
    client = endpoint.AdminClient(admin.url, ADMIN_TOKEN)
    with pytest.raises(ClusterError, match="Is this its URL"):
        client.status()
    client.close()


def test_nothing_listens(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["model", "list", "--url", "http://127.0.0.1:9"]) == 1
    assert "aiopt serve status" in capsys.readouterr().err
