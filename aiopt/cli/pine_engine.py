"""``aiopt pine engine``: put the independent Pine engine into the user's own folder, show it, remove it."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console

from aiopt.cli.options import PATH, json_option
from aiopt.cli.output import emit, print_pairs, stderr_console
from aiopt.errors import EXIT_FAILED, ConfigError


@click.group("engine", epilog="Example: aiopt pine engine install")
def engine_group() -> None:
    """Install the Pine engine that scripts are proved in.

    It is PineTS, an independent program under the AGPL-3.0 and no part of aiopt.  It lies in
    ~/.aiopt/pine-engine; AIOPT_PINE_ENGINE_DIR names another folder.
    """


@engine_group.command("install", epilog="Example: aiopt pine engine install --from ~/downloads")
@click.option("--yes", is_flag=True, help="Agree to what is fetched and to its licence, without being asked.")
@click.option(
    "--from",
    "source",
    type=PATH,
    help="Take the files from this folder instead of the registries: what `npm pack pinets@VERSION` makes.",
)
@json_option
def install_command(yes: bool, source: Path | None, as_json: bool) -> None:
    """Fetch the engine, and Node where none is new enough, after saying what and under which licence.

    Every file is checked against the hash that aiopt knows.  Without a network: run `npm pack pinets@VERSION`
    where there is one, carry the file over and name its folder with --from.
    """
    from aiopt.verification.engine_folder import engine_status
    from aiopt.verification.engine_install import install, terms

    before = engine_status()
    if before.ready and not before.other_versions:
        document = {**msgspec.to_builtins(before), "installed": False}
        emit(as_json, document, lambda console: console.print(f"{before.engine} is installed already."))
        return
    console = stderr_console()
    for line in terms(source):
        console.print(line, markup=False, soft_wrap=True)
    if not yes and not _agrees(as_json):
        raise ConfigError("Nothing was installed: you did not agree. In a script agree with --yes.")
    install(source, say=lambda line: console.print(line, markup=False))
    after = engine_status()

    def human(console: Console) -> None:
        console.print(f"{after.engine} is ready in {after.folder}, run by Node {after.node_version}.")

    emit(as_json, {**msgspec.to_builtins(after), "installed": True}, human)


def _agrees(as_json: bool) -> bool:
    # Nobody is there to ask a script, nor one that reads JSON.
    if as_json or not sys.stdin.isatty():
        return False
    return click.confirm("Install it?", default=False, err=True)


@engine_group.command("status", epilog="Example: aiopt pine engine status --json")
@json_option
@click.pass_context
def status_command(ctx: click.Context, as_json: bool) -> None:
    """Say whether the engine is installed, whole and of the right version; exit code 1 if not."""
    from aiopt.verification.engine_folder import engine_status

    status = engine_status()

    def human(console: Console) -> None:
        node = "none that is new enough" if status.node is None else f"{status.node_version} ({status.node})"
        pairs = [
            ("engine", f"{status.engine}, {status.licence}"),
            ("folder", status.folder),
            ("Node", node),
            ("ready", "yes" if status.ready else "no"),
        ]
        print_pairs(console, pairs)
        if status.problem is not None:
            console.print(status.problem, markup=False, soft_wrap=True)

    emit(as_json, status, human)
    if not status.ready:
        ctx.exit(EXIT_FAILED)


@engine_group.command("remove", epilog="Example: aiopt pine engine remove")
@json_option
def remove_command(as_json: bool) -> None:
    """Remove the engine and its Node from the engine's folder."""
    from aiopt.verification.engine_folder import engine_folder
    from aiopt.verification.engine_install import remove

    removed, folder = remove(), engine_folder()

    def human(console: Console) -> None:
        said = f"Removed {', '.join(removed)} from" if removed else "There was no engine in"
        console.print(f"{said} {folder}.", markup=False, soft_wrap=True)

    emit(as_json, {"folder": str(folder), "removed": removed}, human)
