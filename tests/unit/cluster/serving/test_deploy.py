"""The wait for a profile without a cluster: when what Serve and the endpoint tell is believed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from aiopt.errors import ClusterError
from aiopt.serving import profile_files
from aiopt.serving.backend import ServingStatus
from aiopt.serving.profile import ServingConfig, load_args
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


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterError, match="already listens"):
            deploy.check_port(url)
