"""How a command gets its cluster: the one it is told to use, else the local one, started where none runs.

Owns the connection of a command line process.  Knows nothing of what runs on the cluster; Ray is imported
when a connection is made, not before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from aiopt.errors import ClusterError
from aiopt.market.instrument_file import worker_environment
from cluster.ports import is_loopback
from cluster.state_folder import LOOPBACK_ONLY


def connected() -> bool:
    """Tell whether this process is told to use, or already uses, a cluster."""
    if os.environ.get("RAY_ADDRESS"):
        return True
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


@contextmanager
def cluster_connection() -> Iterator[None]:
    """Connect to the cluster named in the environment, else to the local one, started where none runs.

    A connection that exists is used and left open.  Inside the block stdout is stderr: Ray prints messages of
    its daemons ("a worker died …") on stdout at any time, where ``--json`` promises one document.

    Raises
    ------
    ClusterError
        If no cluster answers at ``RAY_ADDRESS``, or none can be started.
    """
    with redirect_stdout(sys.stderr), session():
        yield


@contextmanager
def session() -> Iterator[None]:
    """Connect as `cluster_connection` does, and leave stdout alone: for a notebook, which stays connected.

    Raises
    ------
    ClusterError
        As `cluster_connection`.
    """
    if not connected():
        from cluster import lifecycle
        from cluster.resources import node_resources

        state, _ = lifecycle.up(lifecycle.state_dir(), node_resources())
        os.environ.update(lifecycle.client_environment(state))
    # Ray reads the token from the environment when it is imported.
    import ray

    if ray.is_initialized():
        yield
    else:
        with _session():
            yield


def keep_loopback(address: str) -> None:
    """Let this process reach a cluster on 127.0.0.1, whether Ray is imported already or not.

    Ray reads `LOOPBACK_ONLY` when it is imported, which may have happened long before an address was known.
    """
    from ray._private import ray_constants

    if ":" not in address:
        # "auto", or nothing: whoever set it has set the rest.
        return
    ray_constants.ENABLE_RAY_CLUSTER = not is_loopback(address)
    for name, value in LOOPBACK_ONLY.items():
        if is_loopback(address):
            os.environ[name] = value
        else:
            os.environ.pop(name, None)


@contextmanager
def _session() -> Iterator[None]:
    import ray

    keep_loopback(os.environ.get("RAY_ADDRESS", ""))
    try:
        ray.init(
            address="auto",
            namespace="aiopt",
            log_to_driver=False,
            logging_level="error",
            # Instruments declared here are known to the workers, wherever they run.
            runtime_env={"env_vars": worker_environment()},
        )
    except ConnectionError as error:
        msg = f"No cluster answers at {os.environ['RAY_ADDRESS']}, which RAY_ADDRESS names."
        raise ClusterError(msg + " Start one with `aiopt cluster up`, or use --engine local.") from error
    try:
        yield
    finally:
        ray.shutdown()
