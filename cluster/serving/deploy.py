"""Deploy a serving profile on a local cluster, follow it until it serves, and take it down again.

Owns where profiles lie, what a command line may change in one, and the removal of every application that
was started.  Deploying is what `serve deploy` does: one PUT of the profile to the cluster's Serve API.
Imports Ray only to take down.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from aiopt.errors import ClusterError, ConfigError, InputError, did_you_mean
from aiopt.serving.backend import UnknownModelError
from aiopt.serving.checkpoint.sources import check_present
from aiopt.serving.endpoint import AdminClient
from aiopt.serving.profile import ServingConfig, load_args
from aiopt.serving.swap.engine_host import ENGINE_PREFIX
from aiopt.yaml_text import load_yaml
from cluster import lifecycle

APPLICATION = "aiopt"
POLL_S = 0.5
UNFINISHED = {"NOT_STARTED", "DEPLOYING", "DELETING"}
NEEDED = ("vllm", "transformers", "fastapi")

Say = Callable[[str], None]


def profile_names() -> list[str]:
    """Return the names of the profiles that ship."""
    return sorted(path.stem for path in _profiles().glob("*.yaml"))


def load_profile(name: str) -> dict[str, Any]:
    """Return a profile as plain data.

    Parameters
    ----------
    name : str
        ``gpu``, ``cpu``, ``test``, or the path of a YAML file.

    Raises
    ------
    InputError
        If there is none of that name.
    ConfigError
        If it does not hold one application.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _profiles() / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"There is no serving profile {name!r}.{did_you_mean(name, profile_names())}")
    try:
        document = load_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} must be YAML, but is not: {error}") from error
    applications = document.get("applications") if isinstance(document, dict) else None
    if not isinstance(applications, list) or len(applications) != 1 or "args" not in applications[0]:
        raise ConfigError(f"{path} must hold one application with `args`. Start from {_profiles()}/cpu.yaml.")
    return document


def adapt(
    document: dict[str, Any], *, folder: Path, model: str | None, port: int | None
) -> tuple[dict[str, Any], ServingConfig]:
    """Put what the command line decides into a profile and check the result.

    Parameters
    ----------
    document : dict
        From `load_profile`; changed in place.
    folder : Path
        State folder.
    model : str, optional
        Model of the first served name.
    port : int, optional
        HTTP port.

    Raises
    ------
    ConfigError
        If a key is unknown or a value out of range.
    """
    args = document["applications"][0]["args"]
    args["state_dir"] = str(folder)
    if model is not None:
        args["models"][0]["model"] = str(Path(model).resolve()) if Path(model).is_dir() else model
    if port is not None:
        document.setdefault("http_options", {})["port"] = port
    return document, load_args(args, where="serving profile")


def check_machine(config: ServingConfig) -> None:
    """Check that the engine is installed and the weights are there, before anything is started.

    Raises
    ------
    ConfigError
        If vLLM is missing; says the command that installs it.
    CheckpointError
        If weights are missing; says the command that fetches them.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        msg = f"Serving needs {', '.join(missing)}, but this Python has none of it."
        raise ConfigError(f"{msg} Run: requirements/install.sh {config.device}")
    for slot in config.models:
        check_present(slot.model, config.folder)


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
    raise ClusterError(f"The endpoint's port must be free, but something listens at {url}. Choose --port.")


def url_of(document: dict[str, Any]) -> str:
    """Return the base URL of a profile's endpoint as this machine reaches it."""
    options = document.get("http_options") or {}
    host = options.get("host", "127.0.0.1")
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{options.get('port', 8000)}"


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
        raise ClusterError(f"Serve must accept the profile, but says: {answer.text.strip()[-500:]}")


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
            raise ClusterError(f"The endpoint must come up, but: {reason[-1] if reason else 'no reason'}")
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
    raise ClusterError("The models must serve in time, but do not. See `aiopt model status`.")


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


def forget(folder: Path) -> None:
    """Forget which models served; the next start takes the profile's."""
    (folder / "serving" / "models.json").unlink(missing_ok=True)


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
        msg = f"The cluster's Serve API must answer at {url}, but: {error or type(error).__name__}."
        raise ClusterError(msg) from error


def _profiles() -> Path:
    """Return the folder of profiles: of the checkout, else of the installed package."""
    root = Path(__file__).resolve().parents[2]
    checkout = root / "serve_configs"
    return checkout if checkout.is_dir() else root / "cluster" / "serve_configs"
