"""``aiopt live report|watch``: what one sees of a session.  Owns flags and the loop of the terminal view."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.live import Live
from rich.text import Text

from aiopt.cli.options import PATH, OutFile, json_option
from aiopt.cli.output import emit, progress, stdout_console
from aiopt.errors import AioptError, ConfigError
from aiopt.outputs import PAGE

if TYPE_CHECKING:
    from rich.console import RenderableType


@click.command("report", epilog="Example: aiopt live report runs/live")
@click.argument("folder", type=PATH)
@click.option("--out", type=OutFile(PAGE), help="Page to write instead of FOLDER/report.html.")
@click.option("--prove", is_flag=True, help="Backtest the same ticks first; of a session at its feed's end.")
@json_option
def report_command(folder: Path, out: Path | None, prove: bool, as_json: bool) -> None:
    """Write the report of a session: ended, left or running.

    One HTML page: equity, trades on the price, live against backtest, costs, limits, the feed's states,
    commands, health.  It shows the session's last commit.
    """
    from aiopt.live.report.page import write_session_report
    from aiopt.live.report.record import read_record

    if prove:
        _prove(folder)
    page = write_session_report(folder, out).absolute()
    record = read_record(folder, newest=0)
    document = {
        "session": record.session,
        "state": record.standing,
        "trades": len(record.trades),
        "report": str(page),
    }
    emit(as_json, document, lambda console: console.print(f"Report: {page}", soft_wrap=True))


def _prove(folder: Path) -> None:
    from aiopt.live.report.record import read_record
    from aiopt.live.session.run_folder import prove_session, write_proofs
    from aiopt.live.state.session_file import SessionFile

    record = read_record(folder, newest=0)
    if record.standing != "ended" or record.config.at_end != "flatten":
        what = f"is {record.standing}" if record.standing != "ended" else "was told to keep what is open"
        raise ConfigError(
            "A session is compared with its backtest at the end of its feed, everything closed, but "
            f"{record.session} {what}. Leave --prove out."
        )
    with (
        SessionFile(folder) as file,
        progress("backtests", len(record.config.strategies), quiet_s=1.0) as told,
    ):
        write_proofs(folder, prove_session(file, record.config, told))


@click.command("watch", epilog="Example: aiopt live watch runs/live --once")
@click.argument("folder", type=PATH)
@click.option("--once", is_flag=True, help="Print one frame and end; so it is where stdout is no terminal.")
@click.option(
    "--every",
    type=click.FloatRange(0.1, 3_600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks at the session's file.",
)
def watch_command(folder: Path, once: bool, every: float) -> None:
    """Show a session in the terminal: quote, positions, orders, the day's limits, the last events.

    Reads the session's files alone, so it needs no bus and disturbs nothing; it shows the last commit, and
    quote and equity of its metrics where these are newer.  Ends with the session, or with Ctrl-C.
    """
    found, goes_on = _look(folder, waits=False)
    if once or not sys.stdout.isatty():
        stdout_console().print(found)
        return
    try:
        with Live(found, console=stdout_console(), auto_refresh=False, screen=True) as live:
            while goes_on:
                time.sleep(every)
                found, goes_on = _look(folder, waits=True)
                live.update(found, refresh=True)
    except KeyboardInterrupt:
        pass  # the way to end it
    stdout_console().print(found)


def _look(folder: Path, *, waits: bool) -> tuple[RenderableType, bool]:
    """Return a frame, and whether another can follow."""
    from aiopt.live.report.frame import EVENTS, frame
    from aiopt.live.report.observer import pulse_of
    from aiopt.live.report.record import read_record

    try:
        record = read_record(folder, newest=EVENTS)
    except AioptError as error:
        if not waits:
            raise
        return Text(str(error)), True
    pulse = pulse_of(folder) if record.standing == "runs" else {}
    return frame(record, pulse), record.standing != "ended"
