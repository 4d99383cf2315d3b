"""`aiopt model`: train models; list, load, swap and wake what is served.  Knows options and wording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console

from aiopt.cli.options import json_option
from aiopt.cli.output import emit, number, print_table, stderr_console, text
from aiopt.errors import EXIT_FAILED, EXIT_OK
from aiopt.serving.backend import Operation, OperationKind, ServingStatus
from aiopt.serving.endpoint import AdminClient, admin_client, named_checkpoint
from cluster import lifecycle
from cluster.cli.model_calibrate import calibrate
from cluster.cli.model_compare import compare
from cluster.cli.model_merge import merge
from cluster.cli.model_retrain import retrain
from cluster.cli.model_train import train
from cluster.cli.model_verify import verify_served
from cluster.cli.node import state_dir_option

F = TypeVar("F", bound=Callable[..., Any])

REVISION_SHOWN = 12

url_option = click.option(
    "--url", help="Endpoint, http://HOST:PORT. Default: $AIOPT_SERVE_URL, else the one started here."
)
name_option = click.option("--name", "model", help="Served name or alias. Default: the endpoint's default.")


def _operation_options(function: F) -> F:
    """Add the options of every command that starts an operation."""
    options = (
        name_option,
        click.option(
            "--no-wait",
            is_flag=True,
            help="If another operation is running, stop with an error instead of waiting for it.",
        ),
        click.option(
            "--detach", is_flag=True, help="Return at once; `aiopt model status` shows the progress."
        ),
        url_option,
        state_dir_option,
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.group(epilog="Example: aiopt model swap openbmb/MiniCPM-V-4.6")
def command() -> None:
    """Train models; list, load, swap and roll back those of the endpoint."""


command.add_command(train, "train")
command.add_command(calibrate, "calibrate")
command.add_command(retrain, "retrain")
command.add_command(merge, "merge")
command.add_command(compare, "compare")
command.add_command(verify_served, "verify-served")


@command.command("list", epilog="Example: aiopt model list --json")
@url_option
@state_dir_option
@json_option
def list_(url: str | None, state_dir: Path | None, as_json: bool) -> None:
    """List the served names, each with its checkpoint."""
    with admin_client(lifecycle.state_dir(state_dir), url) as client:
        found = client.status()
    emit(as_json, found.cards, lambda console: _print_models(console, found))


@command.command(epilog="Example: aiopt model status")
@url_option
@state_dir_option
@json_option
def status(url: str | None, state_dir: Path | None, as_json: bool) -> None:
    """Show models, engines and the last operations."""
    with admin_client(lifecycle.state_dir(state_dir), url) as client:
        found = client.status()

    def human(console: Console) -> None:
        _print_models(console, found)
        _print_engines(console, found)
        if found.operations:
            _print_operations(console, found.operations)

    emit(as_json, found, human)


@command.command(epilog="Example: aiopt model load /models/MiniCPM-V-4.6 --name minicpm")
@click.argument("checkpoint")
@_operation_options
def load(checkpoint: str, **options: Any) -> int:
    """Load and prove CHECKPOINT beside the serving model; send it no requests yet.

    CHECKPOINT is a folder, a hub id, a training's folder, or a proposal of `aiopt model compare`.
    """
    return _run("load", checkpoint, _Options(**options))


@command.command(epilog="Example: aiopt model swap trainings/first --name minicpm")
@click.argument("checkpoint")
@_operation_options
def swap(checkpoint: str, **options: Any) -> int:
    """Load and prove CHECKPOINT, then send requests to it.  A failure changes nothing.

    CHECKPOINT is a folder, a hub id, a training's folder (finished, and as it was written), or a proposal of
    `aiopt model compare`.
    """
    return _run("swap", checkpoint, _Options(**options))


@command.command(epilog="Example: aiopt model rollback")
@_operation_options
def rollback(**options: Any) -> int:
    """Send requests to the model that served before."""
    return _run("rollback", "", _Options(**options))


@command.command(epilog="Example: aiopt model wake --name minicpm")
@_operation_options
def wake(**options: Any) -> int:
    """Let a model serve again that was drained for a training, proved; whoever holds its memory loses it."""
    return _run("wake", "", _Options(**options))


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    """What `_operation_options` add."""

    model: str | None
    no_wait: bool
    detach: bool
    url: str | None
    state_dir: Path | None
    as_json: bool


def _run(kind: OperationKind, checkpoint: str, options: _Options) -> int:
    """Start an operation and follow it to its end.  Exit code 1 when it was refused."""
    with admin_client(lifecycle.state_dir(options.state_dir), options.url) as client:
        operation = client.begin(
            kind, model=options.model, checkpoint=named_checkpoint(checkpoint), wait=not options.no_wait
        )
        if not options.detach:
            operation = _follow(client, operation)
    emit(options.as_json, operation, lambda console: _outcome(console, operation))
    return EXIT_FAILED if operation.state == "refused" else EXIT_OK


def _follow(client: AdminClient, operation: Operation) -> Operation:
    """Print each phase on stderr as it begins, and return the operation's end."""
    console = stderr_console()
    shown = ""
    for current in client.follow(operation):
        operation = current
        what = current.state if current.phase is None else current.phase
        if what != shown and current.state in ("waiting", "running"):
            shown = what
            console.print(f"{current.kind} {current.slot}: {what} …")
    return operation


def _outcome(console: Console, operation: Operation) -> None:
    if operation.state == "refused":
        console.print(
            f"{operation.kind} refused in phase {operation.phase}: {operation.message}", soft_wrap=True
        )
        return
    if operation.state != "done":
        console.print(f"{operation.kind} {operation.state}: operation {operation.operation_id}")
        return
    times = ", ".join(f"{time.phase} {time.seconds:.2f} s" for time in operation.phases)
    revision = operation.to_revision[:REVISION_SHOWN]
    console.print(
        f"{operation.kind} of {operation.slot} done, revision {revision}. {operation.message}".rstrip()
    )
    console.print(times)


def _print_models(console: Console, found: ServingStatus) -> None:
    columns = (
        *("name", text("aliases"), text("model"), "revision", text("architecture"), "images"),
        number("context"),
    )
    rows = [
        (
            card.name,
            ", ".join(card.aliases),
            card.model_id,
            card.revision[:REVISION_SHOWN],
            card.architecture,
            "yes" if card.images else "no",
            f"{card.max_context_tokens:,}",
        )
        for card in found.cards
    ]
    print_table(console, columns, rows)


def _print_engines(console: Console, found: ServingStatus) -> None:
    columns = (
        *(text("engine"), "name", text("model"), "revision", "role"),
        *(number("in flight"), number("restarts")),
    )
    rows = [
        (
            engine.engine_id,
            engine.slot,
            engine.model_id,
            engine.revision[:REVISION_SHOWN],
            engine.role,
            str(engine.in_flight),
            str(engine.restarts),
        )
        for engine in found.engines
    ]
    print_table(console, columns, rows)


def _print_operations(console: Console, operations: tuple[Operation, ...]) -> None:
    columns = (
        *(text("operation"), "kind", "name", text("checkpoint"), "state", text("phase")),
        text("message"),
    )
    rows = [
        (
            entry.operation_id,
            entry.kind,
            entry.slot,
            entry.checkpoint,
            entry.state,
            entry.phase or "",
            entry.message,
        )
        for entry in operations
    ]
    print_table(console, columns, rows)
