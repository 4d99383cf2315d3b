"""The endpoint of a state folder from outside: bring it up, look at it, take it down.

Owns the order of these steps and what is recorded of them.  Prints nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from aiopt.errors import ClusterError
from aiopt.serving import profile_files
from aiopt.serving.backend import ServingStatus
from aiopt.serving.endpoint import (
    AdminClient,
    Endpoint,
    create_token,
    read_endpoint,
    token_path,
    write_endpoint,
)
from aiopt.serving.haproxy import prepare_proxy
from cluster import lifecycle
from cluster.ports import free_port
from cluster.resources import NodeResources
from cluster.serving import deploy
from cluster.serving.deploy import Say


class UpOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be brought up.

    Attributes
    ----------
    folder : Path
        State folder.
    profile : str
        Name or file.
    model : str or None
        Model of the first served name; None: the profile's.
    port : int or None
        HTTP port; None: the profile's.
    haproxy : bool
        HAProxy in front instead of Serve's Python proxy.
    resources : NodeResources
        What the cluster offers, where none runs yet.
    """

    folder: Path
    profile: str
    model: str | None
    port: int | None
    haproxy: bool
    resources: NodeResources


class UpReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was brought up."""

    url: str
    profile: str
    token: str
    token_file: str
    admin_token_file: str
    started_cluster: bool
    status: ServingStatus


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """What serves from a state folder."""

    endpoint: Endpoint | None
    answering: bool
    ready: bool
    token_file: str = ""
    admin_token_file: str = ""
    status: ServingStatus | None = None


class DownReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken down."""

    stopped: bool
    applications: list[str]
    stopped_cluster: bool


def bring_up(order: UpOrder, say: Say) -> UpReport:
    """Deploy a profile on the local cluster, started if none runs, and wait until its models serve.

    Raises
    ------
    InputError, ConfigError
        If the profile, the weights or the engine are not there; before anything is started.
    ClusterError
        If the cluster or a model does not come up.
    """
    folder = order.folder
    document, config = profile_files.adapt(
        profile_files.load_profile(order.profile), folder=folder, model=order.model, port=order.port
    )
    profile_files.check_machine(config)
    url = profile_files.url_of(document)
    before = read_endpoint(folder)
    if (before is None or before.url != url) and not _deployed(folder):
        deploy.check_port(url)
    tokens = {kind: create_token(folder, kind) for kind in ("api", "admin")}
    state, started = _cluster(order, say)
    started_cluster = started or (before is not None and before.started_cluster)
    write_endpoint(folder, Endpoint(url=url, profile=order.profile, started_cluster=started_cluster))
    cluster_token = lifecycle.read_token(folder)
    deploy.submit(state, cluster_token, document)
    with _client(url, tokens["admin"]) as client:
        try:
            deploy.await_serving(state, cluster_token, client, config, say)
        except KeyboardInterrupt:
            say("The start goes on: `aiopt serve status` shows it, `aiopt serve down` stops it.")
            raise
        status = client.status()
    return UpReport(
        url=url,
        profile=order.profile,
        token=tokens["api"],
        token_file=str(token_path(folder, "api")),
        admin_token_file=str(token_path(folder, "admin")),
        started_cluster=started_cluster,
        status=status,
    )


def _cluster(order: UpOrder, say: Say) -> tuple[lifecycle.ClusterState, bool]:
    """Return the cluster and whether it was started for this; says what counts only at a start."""
    ports: dict[str, int] = {}
    if order.haproxy:
        # The Ray head inherits this process's environment.
        ports = {name: free_port() for name in ("stats_port", "metrics_port", "fallback_port")}
        os.environ.update(prepare_proxy(order.folder, **ports))
    state, started = lifecycle.up(order.folder, order.resources)
    say(f"Ray head {'started' if started else 'reused'}: dashboard {state.dashboard_url}")
    if order.haproxy and started:
        exposed = f"{ports['stats_port']} and {ports['metrics_port']}"
        say(f"HAProxy shows its statistics on every address of this machine without a token, ports {exposed}")
    elif order.haproxy:
        say("--haproxy has no effect: the cluster runs already and keeps its proxy")
    return state, started


def look(folder: Path) -> StatusReport:
    """Return what serves from a state folder."""
    endpoint = read_endpoint(folder)
    if endpoint is None:
        return StatusReport(endpoint=None, answering=False, ready=False)
    return msgspec.structs.replace(
        _ask(endpoint, create_token(folder, "admin")),
        token_file=str(token_path(folder, "api")),
        admin_token_file=str(token_path(folder, "admin")),
    )


def take_down(folder: Path) -> DownReport:
    """Remove the endpoint and its engines; stop the cluster too if it was started for them."""
    endpoint = read_endpoint(folder)
    found = lifecycle.status(folder)
    removed: list[str] = []
    stopped_cluster = False
    if endpoint is not None and endpoint.started_cluster:
        stopped_cluster = lifecycle.down(folder).stopped
    elif found.state is not None and _deployed(folder):
        removed = deploy.take_down(found.state)
    write_endpoint(folder, None)
    # The next start takes the profile's models, not those that served last.
    (folder / "serving" / "models.json").unlink(missing_ok=True)
    return DownReport(
        stopped=stopped_cluster or bool(removed), applications=removed, stopped_cluster=stopped_cluster
    )


def _deployed(folder: Path) -> bool:
    """Tell whether the cluster of this folder runs the endpoint, also where `serve deploy` put it."""
    found = lifecycle.status(folder)
    if found.state is None or not found.responding or not found.state.dashboard_url:
        return False
    return deploy.is_deployed(found.state, lifecycle.read_token(folder))


def _ask(endpoint: Endpoint, token: str) -> StatusReport:
    try:
        ready = httpx.get(f"{endpoint.url}/healthz", timeout=10).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return StatusReport(endpoint=endpoint, answering=False, ready=False)
    with _client(endpoint.url, token) as client:
        try:
            found = client.status()
        except ClusterError:
            return StatusReport(endpoint=endpoint, answering=True, ready=ready)
    return StatusReport(endpoint=endpoint, answering=True, ready=ready, status=found)


@contextmanager
def _client(url: str, token: str) -> Iterator[AdminClient]:
    client = AdminClient(url, token)
    try:
        yield client
    finally:
        client.close()
