"""`aiopt serve`: start, show and stop the model endpoint.  Knows options and wording."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from aiopt.cli.options import json_option
from aiopt.cli.output import emit, stderr_console
from aiopt.errors import EXIT_FAILED, EXIT_OK
from aiopt.serving.backend import ServingStatus
from cluster import lifecycle
from cluster.cli.node import resource_options, state_dir_option
from cluster.resources import node_resources
from cluster.serving import running


@click.group(epilog="Example: aiopt serve up --profile test")
def command() -> None:
    """Start, show and stop the model endpoint."""


@command.command(epilog="Example: aiopt serve up --profile cpu --model /models/MiniCPM-V-4.6")
@click.option("--profile", default="cpu", show_default=True, help="gpu, cpu, tiny, test, or a YAML file.")
@click.option("--model", help="Folder, training or hub id for the first served name. Default: the profile's.")
@click.option("--port", type=click.IntRange(1, 65535), help="HTTP port. Default: the profile's.")
@click.option(
    "--haproxy",
    is_flag=True,
    help="Use HAProxy instead of Serve's Python proxy; its statistics page is open on every address.",
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
    """Start a profile's models on the local cluster and wait until they serve.

    Starts a cluster if none runs.
    """
    order = running.UpOrder(
        folder=lifecycle.state_dir(state_dir),
        profile=profile,
        model=model,
        port=port,
        haproxy=haproxy,
        resources=node_resources(**fixed),
    )
    report = running.bring_up(order, stderr_console().print)

    def human(console: Console) -> None:
        console.print(f"Serving at {report.url}")
        _models(console, report.status)
        console.print(f"  token   {report.token}", soft_wrap=True)
        console.print(f"  admin   {report.admin_token_file} (`aiopt model …` reads it)", soft_wrap=True)

    emit(as_json, report, human)


@command.command(epilog="Example: aiopt serve status --json")
@state_dir_option
@json_option
def status(state_dir: Path | None, as_json: bool) -> int:
    """Say what is serving.  Exit code 1 if nothing is."""
    report = running.look(lifecycle.state_dir(state_dir))
    endpoint = report.endpoint

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
    report = running.take_down(lifecycle.state_dir(state_dir))

    def human(console: Console) -> None:
        if not report.stopped:
            console.print("Nothing to stop: nothing serves from here.")
        elif report.stopped_cluster:
            console.print("Stopped the endpoint, its engines and the Ray head started for them.")
        else:
            console.print(
                f"Removed the endpoint and {len(report.applications) - 1} engines. The Ray head still runs."
            )

    emit(as_json, report, human)


def _models(console: Console, status: ServingStatus) -> None:
    for card in status.cards:
        reads = "text and images" if card.images else "text"
        console.print(f"  {card.name}  {card.model_id} ({card.revision[:12]}), {reads}")
