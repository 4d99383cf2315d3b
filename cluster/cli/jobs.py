"""`aiopt jobs`: submit scripts of `jobs/`; list, follow and stop what runs.  Knows options and wording."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from aiopt.cli.options import json_option
from aiopt.cli.output import Column, emit, number, print_pairs, print_table, text
from aiopt.errors import EXIT_INTERRUPTED, EXIT_OK, InputError, did_you_mean
from aiopt.market.instrument_file import worker_environment
from cluster import job_access, lifecycle
from cluster.cli.node import state_dir_option
from cluster.job_list import JobRecord, exit_code_of, find_job, list_jobs, log_of
from cluster.submit import Job, job_script, runtime_environment, script_names

F = TypeVar("F", bound=Callable[..., Any])

ADDRESS_HELP = "Jobs API, http://HOST:PORT. Default: RAY_API_SERVER_ADDRESS, else that of the cluster here."


def access_options(function: F) -> F:
    """Add the options that say which Jobs API is meant."""
    token = click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Copy of that head's .aiopt/token. Default: RAY_AUTH_TOKEN_PATH.",
    )
    return click.option("--address", help=ADDRESS_HELP)(token(state_dir_option(function)))


@click.group(epilog="Example: aiopt jobs list")
def command() -> None:
    """Submit jobs to a cluster; list, show, follow and stop them, from this machine or another."""


@command.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog='Example: aiopt jobs submit optimize --config jobs/optimize.yaml --runs-dir "$PWD/runs"',
)
@access_options
@click.option("--job-id", help="Name of the job. Default: aiopt-SCRIPT-RANDOM.")
@click.option("--no-wait", is_flag=True, help="Return at once; `aiopt jobs logs ID --follow` shows it.")
@json_option
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def submit(
    address: str | None,
    token_file: Path | None,
    state_dir: Path | None,
    job_id: str | None,
    no_wait: bool,
    as_json: bool,
    script: str,
    arguments: tuple[str, ...],
) -> int:
    """Run SCRIPT of `jobs/` with ARGUMENTS on the head, and show what it prints.

    Options of this command come before SCRIPT. The job runs in a copy of aiopt: paths of data and runs are
    those of the head and must be absolute. Ctrl-C stops the job; SIGTERM leaves it running.
    """
    name = script.removesuffix(".py")
    if name not in script_names():
        known = ", ".join(script_names())
        hint = did_you_mean(name, script_names())
        raise InputError(f"There is no job script {script!r}.{hint} There are: {known}.")
    job = _job(address, token_file, state_dir)
    root, path = job_script(f"{name}.py")
    job.submit(
        ["python", path, *arguments],
        job_id=job_id or f"aiopt-{name}-{secrets.token_hex(4)}",
        environment=runtime_environment(root, worker_environment()),
        metadata={"name": f"aiopt jobs submit {name}"},
    )
    code = EXIT_OK
    if not no_wait:
        click.echo(f"Job {job.job_id}", err=True)
        code = job.follow(lambda line: click.echo(line, nl=False, err=as_json))
        if code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt
    record = find_job(job, job.job_id)
    if no_wait or as_json:
        emit(as_json, record, lambda console: console.print(f"Submitted {record.job_id}"))
    return code


@command.command("list", epilog="Example: aiopt jobs list --json")
@access_options
@json_option
def list_command(address: str | None, token_file: Path | None, state_dir: Path | None, as_json: bool) -> None:
    """List the jobs the cluster knows, the newest first."""
    found = list_jobs(_job(address, token_file, state_dir))

    def human(console: Console) -> None:
        if not found:
            console.print("The cluster knows no job. Submit one: aiopt jobs submit optimize …")
            return
        columns: list[Column | str] = [text("job"), "status", "started", number("seconds"), text("command")]
        rows = [
            (each.job_id, each.status, each.started or "", _seconds(each), each.command) for each in found
        ]
        print_table(console, columns, rows)

    emit(as_json, {"jobs": found}, human)


@command.command(epilog="Example: aiopt jobs status aiopt-optimize-1a2b3c4d --json")
@access_options
@json_option
@click.argument("job_id", metavar="ID")
def status(
    address: str | None, token_file: Path | None, state_dir: Path | None, as_json: bool, job_id: str
) -> int:
    """Say how a job stands.  Exit code 1 if it failed or was stopped."""
    return _show(find_job(_job(address, token_file, state_dir), job_id), as_json)


@command.command(epilog="Example: aiopt jobs logs aiopt-optimize-1a2b3c4d --follow")
@access_options
@click.option(
    "--follow", is_flag=True, help="Go on until the job ends, and exit as it does; Ctrl-C only leaves."
)
@click.argument("job_id", metavar="ID")
def logs(
    address: str | None, token_file: Path | None, state_dir: Path | None, follow: bool, job_id: str
) -> int:
    """Print what a job has printed."""
    job = _job(address, token_file, state_dir)
    find_job(job, job_id)
    if follow:
        return job.follow(lambda line: click.echo(line, nl=False), stop_on_interrupt=False)
    for part in log_of(job):
        click.echo(part, nl=False)
    return EXIT_OK


@command.command(epilog="Example: aiopt jobs stop aiopt-optimize-1a2b3c4d")
@access_options
@json_option
@click.argument("job_id", metavar="ID")
def stop(
    address: str | None, token_file: Path | None, state_dir: Path | None, as_json: bool, job_id: str
) -> int:
    """Stop a job, and wait until it has written down how far it came.  An ended one stays as it is."""
    job = _job(address, token_file, state_dir)
    find_job(job, job_id)
    job.stop()
    _show(find_job(job, job_id), as_json)
    return EXIT_OK


def _job(address: str | None, token_file: Path | None, state_dir: Path | None) -> Job:
    return Job(*job_access.reach(address, token_file, lifecycle.state_dir(state_dir)))


def _show(record: JobRecord, as_json: bool) -> int:
    def human(console: Console) -> None:
        pairs = [
            ("job", record.job_id),
            ("status", record.status),
            ("started", record.started or "not yet"),
            ("seconds", _seconds(record)),
            ("command", record.command),
            ("says", record.message),
        ]
        print_pairs(console, pairs)

    emit(as_json, record, human)
    return exit_code_of(record)


def _seconds(record: JobRecord) -> str:
    return "" if record.seconds is None else f"{record.seconds:,.0f}"
