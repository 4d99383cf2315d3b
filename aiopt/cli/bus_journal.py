"""``aiopt bus record`` and ``aiopt bus ticks``: keep a session's events, make ticks of its quotes.

Owns flags and what is printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import click
import msgspec

from aiopt.cli.options import PATH, OutFolder, json_option
from aiopt.cli.output import emit, progress
from aiopt.errors import ConfigError


@click.command(
    "record", epilog="Example: aiopt bus record local:runs/live/bus paper-1 --out journal --seconds 60"
)
@click.argument("url")
@click.argument("session")
@click.option(
    "--out", type=OutFolder(), required=True, help="Folder of the journal; one that is there is added to."
)
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), help="Stop after so long; on and on by default."
)
def record_command(url: str, session: str, out: Path, seconds: float | None) -> None:
    """Keep the events of SESSION in a journal of Parquet files until interrupted.

    Each is on the disk before it is acknowledged, and the bus keeps for this reader what it has not
    acknowledged: begun again, it goes on where it was.
    """
    from aiopt.bus.connecting import transport_of
    from aiopt.bus.journal import JournalWriter, record
    from aiopt.bus.reader import EventReader
    from aiopt.bus.transport import Reader

    if url.startswith("memory:"):
        raise ConfigError(f"A bus that others can reach must be named, but {url!r} ends with its process.")
    transport = transport_of(url)

    async def keep() -> None:
        with JournalWriter(out) as writer:
            await transport.open()
            try:
                async with EventReader(transport, session, Reader(group="journal")) as reader:
                    task = asyncio.ensure_future(record(reader, writer))
                    for name in (signal.SIGINT, signal.SIGTERM):
                        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
                    await asyncio.wait([task], timeout=seconds)
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            finally:
                await transport.close()

    asyncio.run(keep())
    click.echo(f"The journal is in {out}.", err=True)


@click.command("ticks", epilog="Example: aiopt bus ticks journal --out data/ticks/EURUSD")
@click.argument("journal", type=PATH)
@click.option("--out", type=OutFolder(), required=True, help="Folder of the tick store.")
@click.option("--session", help="Whose quotes; needed where the journal has several sessions'.")
@click.option("--instrument", help="Symbol; needed where they quote several.")
@click.option("--replace", is_flag=True, help="Replace a tick store that is there.")
@json_option
def ticks_command(
    journal: Path, out: Path, session: str | None, instrument: str | None, replace: bool, as_json: bool
) -> None:
    """Make a tick store of the quotes of JOURNAL, so that they are backtested as any ticks are."""
    from aiopt.cli.ticks_tables import print_store
    from aiopt.live.feeds.feed_config import JournalReplay
    from aiopt.live.feeds.journal_quotes import JournalQuotes, store_of_journal

    quotes = JournalQuotes(JournalReplay(journal=str(journal), session=session, instrument=instrument))
    with progress("quotes", 1.0, quiet_s=1.0) as report:
        manifest = store_of_journal(quotes, out, replace=replace, progress=report)
    document = {"store": str(out), "manifest": msgspec.to_builtins(manifest)}
    emit(as_json, document, lambda console: print_store(console, manifest, out))
