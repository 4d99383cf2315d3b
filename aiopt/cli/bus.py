"""``aiopt bus``: check a bus, follow events, send commands, keep a server.  Flags and printing only."""

from __future__ import annotations

import asyncio
import getpass
import json
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiopt.cli.bus_journal import record_command, ticks_command
from aiopt.cli.options import json_option
from aiopt.cli.output import emit, print_pairs, stderr_console
from aiopt.errors import EXIT_FAILED, EXIT_OK, ConfigError

if TYPE_CHECKING:
    from aiopt.bus.transport import Transport

_PINGS = 20

url_argument = click.argument("url")
session_argument = click.argument("session")


@click.group(epilog="Example: aiopt bus check redis://localhost:6379")
def command() -> None:
    """Look at a bus of live sessions, follow events, send commands.

    URL is local:FOLDER (a Valkey server of one's own in a folder), redis://[USER@]HOST[:PORT] (Valkey or
    Redis; rediss:// encrypted) or kafka://[USER@]HOST:PORT[,HOST:PORT] (kafkas:// encrypted).  A password
    comes from AIOPT_BUS_PASSWORD in the environment, never from a URL.
    """


command.add_command(record_command)
command.add_command(ticks_command)


@command.command("check", epilog="Example: aiopt bus check redis://localhost:6379 --timeout 2")
@url_argument
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds to wait for an answer.",
)
@json_option
def check_command(url: str, timeout_s: float, as_json: bool) -> None:
    """Say whether a bus can be used: server, version, whether it keeps what it has, how fast it answers."""

    async def ask(transport: Transport) -> dict[str, Any]:
        info = await transport.open(timeout_s)
        pings = sorted([await transport.ping(timeout_s) for _ in range(_PINGS)])
        return {
            "url": transport.url,
            "program": info.program,
            "version": info.version,
            "durable": info.durable,
            "note": info.note,
            "answer_ms": {"median": round(pings[_PINGS // 2], 3), "worst": round(pings[-1], 3)},
        }

    found = _over(url, ask)

    def human(console: Console) -> None:
        durable = {True: "yes", False: "no", None: "the server does not say"}[found["durable"]]
        times = found["answer_ms"]
        pairs = [
            ("bus", found["url"]),
            ("server", f"{found['program']} {found['version']}".strip()),
            ("keeps all over a restart", durable),
            ("answers in", f"{times['median']:.3f} ms (worst of {_PINGS}: {times['worst']:.3f} ms)"),
        ]
        print_pairs(console, [*pairs, *([("note", found["note"])] if found["note"] else [])])

    emit(as_json, found, human)


@command.command(
    "tail", epilog="Example: aiopt bus tail local:runs/live/bus paper-1 --kind fill --kind order"
)
@url_argument
@session_argument
@click.option("--kind", "kinds", multiple=True, help="Only this kind of event; may be given again.")
@click.option(
    "--from",
    "start",
    type=click.Choice(["oldest", "new"]),
    default="oldest",
    show_default=True,
    help="Begin with the oldest there is, or with what comes from now on.",
)
@click.option("--limit", type=click.IntRange(1), help="Stop after so many events; on and on by default.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), help="Stop after so long; on and on by default."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line, one for each event.")
def tail_command(
    url: str,
    session: str,
    kinds: tuple[str, ...],
    start: str,
    limit: int | None,
    seconds: float | None,
    as_json: bool,
) -> None:
    """Print the events of SESSION as they come.  Nothing waits for this reader, and it changes nothing."""
    from aiopt.bus.codec import encode_event
    from aiopt.bus.events import EVENTS
    from aiopt.bus.reader import EventReader
    from aiopt.bus.transport import Reader
    from aiopt.errors import did_you_mean

    for kind in kinds:
        if kind not in EVENTS:
            raise ConfigError(f"There is no event {kind!r}.{did_you_mean(kind, EVENTS)}")
    due = None if seconds is None else time.monotonic() + seconds

    async def follow(transport: Transport) -> None:
        await transport.open()
        place = Reader(start="new" if start == "new" else "oldest")
        shown = 0
        async with EventReader(transport, session, place, kinds=kinds) as reader:
            while (limit is None or shown < limit) and (due is None or time.monotonic() < due):
                left = 5.0 if due is None else max(0.0, due - time.monotonic())
                room = 500 if limit is None else limit - shown
                for received in await reader.read(min(room, 500), min(left, 5.0)):
                    if received.event is None:
                        stderr_console().print(f"left out: {received.problem}", markup=False, soft_wrap=True)
                        continue
                    shown += 1
                    click.echo(encode_event(received.event) if as_json else repr(received.event))

    _over(url, follow)


@command.command(
    "send",
    epilog="""Example: aiopt bus send local:runs/live/bus paper-1 '{"command": "pause_entries"}'""",
)
@url_argument
@session_argument
@click.argument("document")
@click.option(
    "--id", "command_id", help="Sent again with the same id it is the same command; a new one by default."
)
@click.option("--by", help="Who asks, for the audit journal; the user's name by default.")
@click.option(
    "--expires", "expires_s", type=click.FloatRange(0, min_open=True), help="Refuse it after so many seconds."
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Seconds to wait for the outcome; 0 sends only.",
)
@json_option
def send_command(
    url: str,
    session: str,
    document: str,
    command_id: str | None,
    by: str | None,
    expires_s: float | None,
    wait_s: float,
    as_json: bool,
) -> int:
    """Send a command, a JSON object DOCUMENT, to SESSION and print what became of it.

    Id, session, sender and time are filled in.  Exit code 1 if it was refused, failed, or was not answered in
    time; then it waits, and the session takes it when it runs.
    """
    from aiopt.bus.codec import decode_command
    from aiopt.bus.commanding import send_command as send

    try:
        fields = json.loads(document)
    except json.JSONDecodeError as error:
        msg = f"DOCUMENT must be a JSON object, but is {document[:80]!r} ({error}). Quote it for the shell."
        raise ConfigError(msg) from error
    if not isinstance(fields, dict):
        msg = f"DOCUMENT must be a JSON object, but is {document[:80]!r}. "
        raise ConfigError(msg + 'Write e.g. {"command": "flatten"}.')
    now_ns = time.time_ns()
    filled = {
        "id": command_id or uuid.uuid4().hex,
        "session": session,
        "by": by or getpass.getuser(),
        "made_ns": now_ns,
    }
    if expires_s is not None:
        filled["expires_ns"] = now_ns + int(expires_s * 1e9)
    asked = decode_command(json.dumps(fields | filled).encode())

    async def ask(transport: Transport) -> Any:
        await transport.open()
        return await send(transport, asked, wait_s=wait_s or None)

    outcome = _over(url, ask)

    def human(console: Console) -> None:
        if outcome is None:
            said = (
                "sent"
                if wait_s == 0
                else f"sent, and not answered within {wait_s:g} s: the session may be down"
            )
            console.print(f"{asked.name} {asked.id} {said}.", markup=False, soft_wrap=True)
            return
        pairs = [("command", f"{outcome.command} {outcome.command_id}"), ("outcome", outcome.status)]
        if outcome.reason:
            pairs.append(("reason", outcome.reason))
        for name in ("before", "after"):
            if value := getattr(outcome, name):
                pairs.append((name, json.dumps(value)))
        print_pairs(console, pairs)

    emit(as_json, {"id": asked.id, "command": asked.name, "outcome": outcome}, human)
    if outcome is None:
        return EXIT_OK if wait_s == 0 else EXIT_FAILED
    return EXIT_OK if outcome.status == "applied" else EXIT_FAILED


@command.command("serve", epilog="Example: aiopt bus serve runs/live/bus")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--fsync",
    type=click.Choice(["everysec", "always"]),
    default="everysec",
    show_default=True,
    help="How often what was published is forced to the disk: `always` outlives a loss of power.",
)
def serve_command(folder: Path, fsync: str) -> None:
    """Keep a Valkey server of one's own in FOLDER until interrupted; others name it local:FOLDER."""
    from aiopt.bus.local_server import LocalServer, answers, read_record

    def ended(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)  # through the server's end, which would outlive this process

    signal.signal(signal.SIGTERM, ended)
    server = LocalServer(folder, fsync=fsync)
    if (record := read_record(folder)) is not None and answers(record, 2.0):
        raise ConfigError(f"One server alone may run in {folder}, but one does. Use it: local:{folder}")
    with server:
        click.echo(
            f"The bus local:{folder} is at 127.0.0.1:{server.port}. Ctrl-C ends it; what it has stays."
        )
        record = read_record(folder)
        # Also a server that somebody ended is an end.
        while record is not None and answers(record, 5.0):
            time.sleep(1.0)
    click.echo(f"The server in {folder} has ended.", err=True)


def _over(url: str, use: Callable[[Transport], Awaitable[Any]]) -> Any:
    """Use a bus in a loop of its own."""
    from aiopt.bus.connecting import transport_of

    if url.startswith("memory:"):
        raise ConfigError(f"A bus that others can reach must be named, but {url!r} ends with its process.")
    transport = transport_of(url)

    async def within() -> Any:
        try:
            return await use(transport)
        finally:
            await transport.close()

    return asyncio.run(within())
