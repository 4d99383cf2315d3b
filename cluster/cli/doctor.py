"""`aiopt doctor`: look at everything a run needs.  Knows options and wording."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from aiopt.cli.options import json_option
from aiopt.cli.output import emit, print_table, text
from aiopt.errors import EXIT_FAILED, EXIT_OK
from cluster import lifecycle
from cluster.cli.node import state_dir_option
from cluster.doctor import machine as machines
from cluster.doctor import software
from cluster.doctor.findings import Diagnosis, Finding, diagnosis
from cluster.resources import detect_machine

DATA = Path("data")

_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


@click.command(epilog="Example: aiopt doctor --runs-dir runs")
@click.option("--profile", help="Serving profile to look at too: gpu, cpu, test, or a YAML file.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of ticks and bars. Default: data, and its absence is no problem.",
)
@click.option(
    "--runs-dir", type=click.Path(path_type=Path), default="runs", show_default=True, help="Folder of runs."
)
@state_dir_option
@json_option
def command(
    profile: str | None, data: Path | None, runs_dir: Path, state_dir: Path | None, as_json: bool
) -> int:
    """Look at machine, versions, ports, GPU, memory, model files, data, clock, disk and permissions.

    Each finding says what to do. Exit code 1 if one of them stops `aiopt optimize`, or serving the --profile.
    Nothing is started or changed.
    """
    folder = lifecycle.state_dir(state_dir)
    found = diagnosis(list(_look(profile, data, runs_dir, folder)))
    emit(as_json, found, lambda console: _print(console, found))
    return EXIT_OK if found.healthy else EXIT_FAILED


def _look(profile: str | None, data: Path | None, runs_dir: Path, folder: Path) -> Iterator[Finding]:
    machine = detect_machine()
    yield from software.look_at_packages()
    yield from machines.look_at_machine(machine)
    yield from machines.look_at_gpu(machine)
    for path, what_for in ((folder, "state"), (runs_dir, "runs"), (Path(tempfile.gettempdir()), "Ray")):
        yield machines.look_at_disk(path, what_for)
    yield from software.look_at_token(folder)
    yield machines.look_at_limits()
    yield from machines.look_at_clock()
    yield from software.look_at_ports(folder)
    yield from software.look_at_data(data or DATA, wanted=data is not None)
    yield software.look_at_pine()
    if profile is not None:
        yield from software.look_at_serving(profile, folder, machine)


def _print(console: Console, found: Diagnosis) -> None:
    rows = [
        (Text(each.level, style=_STYLES[each.level]), each.area, each.what, each.remedy)
        for each in found.findings
    ]
    print_table(console, ["", "area", text("found"), text("what to do")], rows)
    problems = sum(each.level == "problem" for each in found.findings)
    if problems:
        console.print(f"\n{problems} of {len(rows)} must be put right before a run.")
    else:
        console.print("\nNothing stands in the way of a run.")
