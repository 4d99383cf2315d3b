"""`aiopt serve`: start, show and stop the model endpoint.  Knows options and wording."""

from __future__ import annotations

import os
from pathlib import Path

import click
import httpx
import msgspec
from rich.console import Console

from aiopt.cli.output import emit, json_option, stderr_console
from aiopt.errors import EXIT_FAILED, EXIT_OK, ClusterError
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
from cluster.cli.node import node_resources, resource_options, state_dir_option
from cluster.ports import free_port
from cluster.serving import deploy


class UpReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `up --json` prints."""

    url: str
    profile: str
    token: str
    token_file: str
    admin_token_file: str
    started_cluster: bool
    status: ServingStatus


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `status --json` prints."""

    endpoint: Endpoint | None
    answering: bool
    ready: bool
    token_file: str = ""
    admin_token_file: str = ""
    status: ServingStatus | None = None


class DownReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `down --json` prints."""

    stopped: bool
    applications: list[str]
    stopped_cluster: bool


@click.group(epilog="Example: aiopt serve up --profile test")
def command() -> None:
    """Start, show and stop the model endpoint."""


@command.command(epilog="Example: aiopt serve up --profile cpu --model /models/MiniCPM-V-4.6")
@click.option("--profile", default="cpu", show_default=True, help="gpu, cpu, test, or a YAML file.")
@click.option("--model", help="Folder or hub id for the first served name. Default: the profile's.")
@click.option("--port", type=click.IntRange(1, 65535), help="HTTP port. Default: the profile's.")
@click.option(
    "--haproxy",
    is_flag=True,
    help="HAProxy in front instead of Serve's Python proxy; its statistics listen on every address.",
)
@state_dir_option
@resource_options
@json_option
def up(
    profile: str,
    model: str | None,
    port: int | None,
    haproxy: bool,
    state_dir: Path | None,
    as_json: bool,
    **fixed: float | None,
) -> None:
    """Deploy a profile on the local cluster, started if none runs, and wait until its models serve."""
    folder = lifecycle.state_dir(state_dir)
    document, config = deploy.adapt(deploy.load_profile(profile), folder=folder, model=model, port=port)
    deploy.check_machine(config)
    say = stderr_console().print
    url = deploy.url_of(document)
    before = read_endpoint(folder)
    if (before is None or before.url != url) and not _deployed(folder):
        deploy.check_port(url)
    tokens = {kind: create_token(folder, kind) for kind in ("api", "admin")}
    if haproxy:
        # The Ray head inherits this process's environment.
        ports = {name: free_port() for name in ("stats_port", "metrics_port", "fallback_port")}
        os.environ.update(prepare_proxy(folder, **ports))
    state, started = lifecycle.up(folder, node_resources(**fixed))
    say(f"Ray head {'started' if started else 'reused'}: dashboard {state.dashboard_url}")
    if haproxy and started:
        exposed = f"{ports['stats_port']} and {ports['metrics_port']}"
        say(f"HAProxy's statistics listen on every address of this machine, ports {exposed}: no token asked")
    elif haproxy:
        say("--haproxy counts where `serve up` starts the cluster: this one keeps the proxy it has")
    started_cluster = started or (before is not None and before.started_cluster)
    write_endpoint(folder, Endpoint(url=url, profile=profile, started_cluster=started_cluster))
    cluster_token = lifecycle.read_token(folder)
    deploy.submit(state, cluster_token, document)
    client = AdminClient(url, tokens["admin"])
    try:
        deploy.await_serving(state, cluster_token, client, config, say)
        status = client.status()
    except KeyboardInterrupt:
        say("Starting goes on: `aiopt serve status` shows it, `aiopt serve down` stops it.")
        raise
    finally:
        client.close()
    report = UpReport(
        url=url,
        profile=profile,
        token=tokens["api"],
        token_file=str(token_path(folder, "api")),
        admin_token_file=str(token_path(folder, "admin")),
        started_cluster=started_cluster,
        status=status,
    )

    def human(console: Console) -> None:
        console.print(f"Serving at {url}")
        _models(console, status)
        console.print(f"  token   {report.token}", soft_wrap=True)
        console.print(f"  admin   {report.admin_token_file} (`aiopt model …` reads it)", soft_wrap=True)

    emit(as_json, report, human)


@command.command(epilog="Example: aiopt serve status --json")
@state_dir_option
@json_option
def status(state_dir: Path | None, as_json: bool) -> int:
    """Tell what serves.  Exit code 1 when nothing does."""
    folder = lifecycle.state_dir(state_dir)
    endpoint = read_endpoint(folder)
    report = StatusReport(endpoint=None, answering=False, ready=False)
    if endpoint is not None:
        report = msgspec.structs.replace(
            _ask(endpoint, create_token(folder, "admin")),
            token_file=str(token_path(folder, "api")),
            admin_token_file=str(token_path(folder, "admin")),
        )

    def human(console: Console) -> None:
        if endpoint is None:
            console.print("Nothing serves from here. Start it: aiopt serve up --profile test")
        elif not report.answering:
            console.print(f"{endpoint.url} does not answer. Start it again: aiopt serve up")
        else:
            console.print(f"{endpoint.url} is {'ready' if report.ready else 'starting'} ({endpoint.profile})")
            if report.status is not None:
                _models(console, report.status)
            console.print(f"  tokens  {report.token_file}, {report.admin_token_file}", soft_wrap=True)

    emit(as_json, report, human)
    return EXIT_OK if report.ready else EXIT_FAILED


@command.command(epilog="Example: aiopt serve down")
@state_dir_option
@json_option
def down(state_dir: Path | None, as_json: bool) -> None:
    """Remove the endpoint and its engines; stop the cluster too if `serve up` started it."""
    folder = lifecycle.state_dir(state_dir)
    endpoint = read_endpoint(folder)
    found = lifecycle.status(folder)
    removed: list[str] = []
    stopped_cluster = False
    if endpoint is not None and endpoint.started_cluster:
        stopped_cluster = lifecycle.down(folder).stopped
    elif found.state is not None and _deployed(folder):
        removed = deploy.take_down(found.state)
    write_endpoint(folder, None)
    deploy.forget(folder)
    report = DownReport(
        stopped=stopped_cluster or bool(removed), applications=removed, stopped_cluster=stopped_cluster
    )

    def human(console: Console) -> None:
        if not report.stopped:
            console.print("Nothing to stop: nothing serves from here.")
        elif stopped_cluster:
            console.print("Stopped the endpoint, its engines and the Ray head started for them.")
        else:
            console.print(f"Removed the endpoint and {len(removed) - 1} engines. The Ray head still runs.")

    emit(as_json, report, human)


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
    client = AdminClient(endpoint.url, token)
    try:
        found = client.status()
    except ClusterError:
        return StatusReport(endpoint=endpoint, answering=True, ready=ready)
    finally:
        client.close()
    return StatusReport(endpoint=endpoint, answering=True, ready=ready, status=found)


def _models(console: Console, status: ServingStatus) -> None:
    for card in status.cards:
        reads = "text and images" if card.images else "text"
        console.print(f"  {card.name}  {card.model_id} ({card.revision[:12]}), {reads}")
