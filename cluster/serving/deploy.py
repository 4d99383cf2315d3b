"""Deploy a serving profile on a local cluster, follow it until it serves, and take it down again.

Owns the calls of the cluster's Serve API and the removal of every application that was started.  Deploying is
what `serve deploy` does: one PUT of the profile.  Imports Ray only to take down.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from aiopt.errors import ClusterError
from aiopt.serving.backend import UnknownModelError
from aiopt.serving.endpoint import AdminClient
from aiopt.serving.profile import ServingConfig
from aiopt.serving.swap.engine_host import ENGINE_PREFIX
from cluster import lifecycle
from cluster.connection import keep_loopback

APPLICATION = "aiopt"
POLL_S = 0.5
UNFINISHED = {"NOT_STARTED", "DEPLOYING", "DELETING"}

Say = Callable[[str], None]


def check_port(url: str) -> None:
    """Check that nothing listens where the endpoint will.

    Raises
    ------
    ClusterError
        If something does.
    """
    host, _, port = url.removeprefix("http://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return
    raise ClusterError(f"Something already listens at {url}. Choose another --port.")


def is_deployed(state: lifecycle.ClusterState, token: str) -> bool:
    """Tell whether a cluster runs the endpoint, whoever deployed it."""
    answer = _serve_api(state, token, "GET")
    return answer.is_success and APPLICATION in answer.json().get("applications", {})


def submit(state: lifecycle.ClusterState, token: str, document: dict[str, Any]) -> None:
    """Give the profile to the cluster's Serve API.

    Raises
    ------
    ClusterError
        If it is not accepted.
    """
    answer = _serve_api(state, token, "PUT", document)
    if not answer.is_success:
        raise ClusterError(f"Ray Serve refused the profile: {answer.text.strip()[-500:]}")


def await_serving(
    state: lifecycle.ClusterState,
    token: str,
    client: AdminClient,
    config: ServingConfig,
    say: Say,
) -> None:
    """Return when every model of the profile serves.

    Parameters
    ----------
    state, token
        Of the cluster.
    client : AdminClient
        Of the endpoint.
    config : ServingConfig
        The profile.
    say : callable
        Told of every new phase.

    Raises
    ------
    ClusterError
        If a model is refused, the application cannot be built, or the load timeout passes.
    """
    deadline = time.monotonic() + 120 + config.load_timeout_s * len(config.models)
    names = [slot.name for slot in config.models]
    begun = time.time()
    shown = ""
    while time.monotonic() < deadline:
        time.sleep(POLL_S)
        found = _application(state, token)
        if found.get("status") == "DEPLOY_FAILED":
            reason = str(found.get("message", "")).strip().splitlines()
            raise ClusterError(f"The endpoint did not start: {reason[-1] if reason else 'no reason'}")
        if found.get("status") in UNFINISHED:
            # Until then what an earlier profile deployed answers, with the models of that one.
            continue
        try:
            status = client.status()
        except (ClusterError, UnknownModelError):
            # Nothing listens yet, or Serve's proxy does not know the endpoint yet and answers 404.
            continue
        serving = {card.name for card in status.cards}
        latest = {operation.slot: operation for operation in status.operations}
        for name in names:
            operation = latest.get(name)
            if operation is None:
                continue
            line = f"{name}: {operation.phase or operation.state} …"
            if operation.state == "running" and line != shown:
                shown = line
                say(line)
            if operation.state == "refused" and name not in serving and operation.started_s > begun - 60:
                msg = f"{name} could not be loaded (phase {operation.phase}): {operation.message}"
                raise ClusterError(f"{msg} The endpoint runs; mend it and use `aiopt model swap`.")
        if all(name in serving for name in names) and not _busy(latest.values()):
            return
    raise ClusterError("The models were not ready in time. See `aiopt model status`.")


def take_down(state: lifecycle.ClusterState) -> list[str]:
    """Remove the endpoint and its engines from a running cluster, and Serve itself if nothing else uses it.

    Returns
    -------
    list of str
        Applications removed.
    """
    os.environ.update(lifecycle.client_environment(state))
    # Ray reads the token from the environment when it is imported.
    import ray
    from ray import serve

    connected = ray.is_initialized()
    if not connected:
        keep_loopback(state.address)
        ray.init(address=state.address, namespace="serve", log_to_driver=False, logging_level="error")
    try:
        present = list(serve.status().applications)
        # The endpoint first: its coordinator would start an engine again.
        ours = [name for name in present if name == APPLICATION]
        ours += [name for name in present if name.startswith(ENGINE_PREFIX)]
        for name in ours:
            serve.delete(name)
        if ours == present:
            serve.shutdown()
        return ours
    finally:
        if not connected:
            ray.shutdown()


def _busy(operations: Sequence[Any] | Any) -> bool:
    return any(operation.state in {"waiting", "running"} for operation in operations)


def _application(state: lifecycle.ClusterState, token: str) -> dict[str, Any]:
    """Return what Serve says of the endpoint; nothing where it knows none."""
    answer = _serve_api(state, token, "GET")
    found: dict[str, Any] = (
        answer.json().get("applications", {}).get(APPLICATION, {}) if answer.is_success else {}
    )
    return found


def _serve_api(
    state: lifecycle.ClusterState, token: str, method: str, document: dict[str, Any] | None = None
) -> httpx.Response:
    url = f"{state.dashboard_url}/api/serve/applications/"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        return httpx.request(method, url, json=document, headers=headers, timeout=120)
    except httpx.HTTPError as error:
        msg = f"The cluster's Serve API does not answer at {url}: {error or type(error).__name__}."
        raise ClusterError(msg) from error
