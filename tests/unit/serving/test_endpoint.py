"""What is recorded of an endpoint: its URL, its tokens, who started it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiopt.errors import ClusterError, ConfigError, InputError
from aiopt.serving import endpoint


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (endpoint.URL_VARIABLE, *endpoint.TOKEN_VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="aiopt serve up"):
        endpoint.endpoint_url(tmp_path)
    with pytest.raises(InputError, match="must start with http"):
        endpoint.endpoint_url(tmp_path, "localhost:8000")
    with pytest.raises(ConfigError, match="AIOPT_SERVE_ADMIN_TOKEN"):
        endpoint.read_token(tmp_path, "admin")
    (tmp_path / "serving.json").write_text("{")
    with pytest.raises(ClusterError, match="Delete the file"):
        endpoint.read_endpoint(tmp_path)


def test_tokens_are_private_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in endpoint.TOKEN_VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    made = endpoint.create_token(tmp_path, "api")
    path = endpoint.token_path(tmp_path, "api")
    assert (path.stat().st_mode & 0o777, endpoint.create_token(tmp_path, "api")) == (0o600, made)
    assert endpoint.create_token(tmp_path, "admin") != made
    path.chmod(0o644)
    assert endpoint.read_token(tmp_path, "api") == made
    assert path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("AIOPT_SERVE_TOKEN", "from-the-environment")
    assert endpoint.read_token(tmp_path, "api") == "from-the-environment"


def test_the_record_of_what_was_started_goes_when_it_is_stopped(tmp_path: Path) -> None:
    record = endpoint.Endpoint(url="http://127.0.0.1:8000", profile="cpu", started_cluster=True)
    endpoint.write_endpoint(tmp_path, record)
    assert endpoint.read_endpoint(tmp_path) == record
    endpoint.write_endpoint(tmp_path, None)
    assert endpoint.read_endpoint(tmp_path) is None
