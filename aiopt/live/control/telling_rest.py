"""What a session that does not run has not told yet, published afterwards.  Owns that alone."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec

from aiopt.errors import ConfigError
from aiopt.live.control.bus_link import BUS_KEY, PUBLISHED_KEY, BusLink
from aiopt.live.state.session_file import SessionFile, read_session

_LOG = logging.getLogger(__name__)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How many events were published by now, and how many were left."""

    published: int
    left: int


def tell_rest(folder: Path, bus: str | None, patience_s: float) -> Told:
    """Publish the events of a session that its bus does not have.

    Parameters
    ----------
    folder : Path
        Of the session, which no process may run.
    bus : str or None
        URL; None: the session's own.
    patience_s : float
        How long it may take.

    Raises
    ------
    ConfigError
        If there is no session, it runs, or no bus is known.
    BusError
        If the bus is down or refuses this client.
    """
    meta, state = read_session(folder)
    url = bus or state.get(BUS_KEY)
    if url is None:
        raise ConfigError(f"A bus must be named, but the session in {folder} never had one. Give --bus URL.")
    with SessionFile(folder) as file:

        async def publish() -> Told:
            link = BusLink(
                url,
                meta["id"],
                file,
                published=int(state.get(PUBLISHED_KEY, 0)),
                on_state=lambda state, text: _LOG.log(
                    logging.INFO if state == "ok" else logging.WARNING, "bus %s: %s", state, text
                ),
            )
            left = await link.tell_rest(patience_s)
            return Told(published=link.published, left=left)

        return asyncio.run(publish())
