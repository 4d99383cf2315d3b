"""The project's state folder (``.aiopt``): what was started from it, its token, its log.

Owns the names of these files and what clients of a running cluster need to know.  Starts nothing.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from pathlib import Path

import msgspec

from aiopt.errors import ClusterError
from cluster.ports import is_loopback
from cluster.processes import ProcessId
from cluster.resources import NodeResources

DEFAULT_STATE_DIR = Path(".aiopt")
STATE_DIR_VARIABLE = "AIOPT_STATE_DIR"

LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Lets Ray use 127.0.0.1 where it is told to, as it does by itself on macOS: without it, Ray replaces
127.0.0.1 by an address that other machines reach, both where it listens and where it connects to."""


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """What was started and how to reach it: content of ``STATE_DIR/cluster.json``.

    Attributes
    ----------
    cluster_id : str
        Random value of the marker variable of all its processes.
    role : str
        ``"head"`` or ``"node"``.
    supervisor : ProcessId
        The `ray start --block` process.
    address : str
        ``host:port`` of Ray's control service, for `ray start --address` and `ray.init`.
    dashboard_url : str
        Jobs API and dashboard; empty for a node.
    temp_dir : str
        Ray's folder of sessions, logs and sockets.
    token_path : str
        File with the authentication token.
    resources : NodeResources
        What it offers.
    """

    cluster_id: str
    role: str
    supervisor: ProcessId
    address: str
    dashboard_url: str
    temp_dir: str
    token_path: str
    resources: NodeResources


def state_dir(path: Path | None = None) -> Path:
    """Return the state folder: argument, else ``AIOPT_STATE_DIR``, else ``.aiopt`` here."""
    return (path or Path(os.environ.get(STATE_DIR_VARIABLE) or DEFAULT_STATE_DIR)).resolve()


def read_token(folder: Path) -> str:
    """Return the token of a state folder, creating it (mode 0600) when there is none."""
    path = token_file(folder)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(32))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    token = path.read_text().strip()
    if len(token) < 16:
        msg = (
            f"The token in {path} has {len(token)} characters, but needs at least 16. Delete the file, "
            "and a new one is made."
        )
        raise ClusterError(msg)
    return token


def client_environment(state: ClusterState) -> dict[str, str]:
    """Return the variables with which `ray job submit`, `ray.init` and `ray start` reach this cluster."""
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": state.token_path,
        "RAY_ADDRESS": state.address,
        # A driver decides for itself: with it on, Ray Data starts one more actor and asks Prometheus.
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    if is_loopback(state.address):
        environment.update(LOOPBACK_ONLY)
    if state.dashboard_url:
        environment["RAY_API_SERVER_ADDRESS"] = state.dashboard_url
        # The same for `serve deploy|status`, which would ask port 8265.
        environment["RAY_DASHBOARD_ADDRESS"] = state.dashboard_url
    return environment


def state_path(folder: Path) -> Path:
    """Return the file with the `ClusterState`."""
    return folder / "cluster.json"


def token_file(folder: Path) -> Path:
    """Return the file with the token."""
    return folder / "token"


def log_path(folder: Path) -> Path:
    """Return the file that `ray start` writes to."""
    return folder / "ray.log"


def ray_folder(folder: Path) -> Path:
    """Return Ray's folder for this state folder.

    It is short, because Unix sockets below it may have paths of 107 bytes only, and differs between projects
    and users.
    """
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    path = Path(tempfile.gettempdir()) / f"aiopt-{os.getuid()}-{name}"
    if len(str(path)) > 40:
        path = Path("/tmp") / path.name
    return path
