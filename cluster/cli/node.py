"""`aiopt cluster`: start, join, inspect and stop a Ray node of this project.  Knows options and wording."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console

from aiopt.cli.options import json_option
from aiopt.cli.output import emit
from aiopt.errors import EXIT_FAILED, EXIT_OK, ClusterError
from aiopt.files import GIB
from cluster import lifecycle
from cluster.resources import node_resources
from cluster.state_folder import STATE_DIR_VARIABLE

F = TypeVar("F", bound=Callable[..., Any])

state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Folder of token and state. Default: ${STATE_DIR_VARIABLE}, else .aiopt here.",
)


def resource_options(function: F) -> F:
    """Add the options that fix what a node offers."""
    options = (
        click.option("--num-cpus", type=int, help="Cores for tasks. Default: all usable ones."),
        click.option("--num-gpus", type=int, help="GPUs. Default: all visible ones."),
        click.option(
            "--memory-gib", type=float, help="Memory for tasks. Default: what the system does not need."
        ),
        click.option("--object-store-gib", type=float, help="Shared memory. Default: an eighth of memory."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.group(epilog="Example: aiopt cluster up --num-cpus 4")
def command() -> None:
    """Start, join, inspect and stop the local Ray cluster."""


@command.command(epilog="Example: aiopt cluster up")
@state_dir_option
@resource_options
@click.option(
    "--host",
    help="Address of this machine under which other machines may join; opens Ray's ports. Default: none can.",
)
@click.option(
    "--dashboard-port", type=int, help="Port of dashboard and Jobs API. Default: first free from 8265."
)
@json_option
def up(
    state_dir: Path | None,
    host: str | None,
    dashboard_port: int | None,
    as_json: bool,
    **fixed: float | None,
) -> None:
    """Start a Ray head here, with token authentication, or reuse the running one.

    Without --host it listens on 127.0.0.1 alone, and no other machine can join.
    """
    folder = lifecycle.state_dir(state_dir)
    state, started = lifecycle.up(folder, node_resources(**fixed), host=host, dashboard_port=dashboard_port)
    _show(as_json, state, "started" if started else "already running")


@command.command(epilog="Example: aiopt cluster join --address 10.0.0.5:6379 --token-file head-token")
@click.option("--address", required=True, help="HOST:PORT of the head (`aiopt cluster status` there).")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Copy of the head's .aiopt/token. Default: the token already in the state folder.",
)
@state_dir_option
@resource_options
@json_option
def join(
    address: str, token_file: Path | None, state_dir: Path | None, as_json: bool, **fixed: float | None
) -> None:
    """Start a Ray node here that joins a running head."""
    folder = lifecycle.state_dir(state_dir)
    state, started = lifecycle.join(folder, node_resources(**fixed), address=address, token_path=token_file)
    _show(as_json, state, "joined" if started else "already joined")


@command.command(epilog="Example: aiopt cluster down")
@state_dir_option
@json_option
def down(state_dir: Path | None, as_json: bool) -> None:
    """Stop what `up` or `join` started from this state folder, and nothing else."""
    report = lifecycle.down(lifecycle.state_dir(state_dir))

    def human(console: Console) -> None:
        if report.stopped:
            console.print(f"Stopped the Ray node of {report.address}.")
        else:
            console.print("Nothing to stop: no Ray node was started from here.")

    emit(as_json, report, human)


@command.command(epilog="Example: aiopt cluster status --json")
@state_dir_option
@json_option
def status(state_dir: Path | None, as_json: bool) -> int:
    """Say what is running.  Exit code 1 if nothing is."""
    found = lifecycle.status(lifecycle.state_dir(state_dir))

    def human(console: Console) -> None:
        if found.state is None or not found.alive:
            console.print("No Ray node runs from here. Start one: aiopt cluster up")
        else:
            _describe(console, found.state, "running" if found.responding else "running, but not answering")

    emit(as_json, found, human)
    return EXIT_OK if found.responding else EXIT_FAILED


@command.command(epilog='Example: eval "$(aiopt cluster env)"; ray job list')
@state_dir_option
def env(state_dir: Path | None) -> None:
    """Print the shell lines that let `ray` commands reach the running cluster."""
    found = lifecycle.status(lifecycle.state_dir(state_dir))
    if found.state is None or not found.responding:
        raise ClusterError("No cluster runs from here. Start one: aiopt cluster up")
    for name, value in lifecycle.client_environment(found.state).items():
        click.echo(f"export {name}={shlex.quote(value)}")


def _show(as_json: bool, state: lifecycle.ClusterState, what: str) -> None:
    document = msgspec.to_builtins(state) | {"what": what}
    emit(as_json, document, lambda console: _describe(console, state, what))


def _describe(console: Console, state: lifecycle.ClusterState, what: str) -> None:
    offer = state.resources
    memory = f"{offer.memory_bytes / GIB:.1f} GiB"
    console.print(f"Ray {state.role} {what}: {offer.num_cpus} CPUs, {offer.num_gpus} GPUs, {memory}")
    console.print(f"  address    {state.address}")
    if state.dashboard_url:
        console.print(f"  dashboard  {state.dashboard_url}  (token: {state.token_path})", soft_wrap=True)
