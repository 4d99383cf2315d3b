"""Which feed a session is on: one typed configuration for each kind.

Owns the settings and their rules.  Opens nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from aiopt.errors import ConfigError

HOURS_MOST = 240.0
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class _Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all feeds have in common."""

    def _ns(self, name: str) -> int | None:
        """Return a time of it in nanoseconds."""
        text = getattr(self, name)
        if text is None:
            return None
        try:
            return int(np.datetime64(text.removesuffix("Z"), "ns").astype(np.int64))
        except ValueError:
            msg = f"`feed.{name}` must be an ISO time, but got {text!r}. Write e.g. 2024-03-07T12:00."
            raise ConfigError(msg) from None

    def _positive(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not 0 < value < float("inf"):  # refuses NaN too
                raise ConfigError(f"`0 < feed.{name} < inf` must hold, but got {value!r}. Choose another.")


class _Replayed(_Settings, frozen=True, kw_only=True):
    """A span that is replayed.

    Attributes
    ----------
    start, stop : str or None
        ISO times, UTC, e.g. ``2024-03-07`` or ``2024-03-07T12:00``; None: as much as there is.
    speed : float
        1: as it was; 60: an hour in a minute; 0: as fast as it goes.
    """

    start: str | None = None
    stop: str | None = None
    speed: float = 0.0

    def __post_init__(self) -> None:
        for name in ("start", "stop"):
            self.ns(name)
        if not 0 <= self.speed < float("inf"):
            msg = f"`0 <= feed.speed < inf` must hold, but got {self.speed!r}."
            raise ConfigError(f"{msg} Use 1 for real time, 0 for no pause.")

    def ns(self, name: Literal["start", "stop"]) -> int | None:
        """Return one end of the span in nanoseconds."""
        return self._ns(name)


class ReplayFeed(_Replayed, frozen=True, kw_only=True, tag="replay"):
    """A tick store replayed.

    Attributes
    ----------
    store : str
        Folder of the tick store.
    """

    store: str


class JournalReplay(_Replayed, frozen=True, kw_only=True, tag="journal"):
    """The quotes of a journal of events replayed.

    Attributes
    ----------
    journal : str
        Folder that `aiopt bus record` wrote.
    session : str or None
        Whose quotes; None: of the only session there.
    instrument : str or None
        Of them; None: the only one there.
    history : str or None
        Tick store for the warm-up.
    """

    journal: str
    session: str | None = None
    instrument: str | None = None
    history: str | None = None


class DukascopyFeed(_Settings, frozen=True, kw_only=True, tag="dukascopy"):
    """Dukascopy's JSON API, asked again and again.  Its quotes come late.

    Attributes
    ----------
    instrument : str
        Symbol.
    url : str or None
        Base address; None: Dukascopy's own.
    poll_s : float
        Seconds between two requests while there is nothing to catch up with.
    max_late_s : float
        Quotes that come later than this make the watchdog say *stale*, where it is not configured; and an
        hour that has ended is asked for so long.
    catch_up_hours : float
        A session that was away for longer begins anew with the present hour, with a hole before it.
    timeout_s, backoff_s, backoff_max_s : float
        Patience with one answer; the wait behind a failure, which doubles up to the last.
    proxy : str or None
        ``http://HOST:PORT``; ``"none"``; None: what the environment says.
    history : str or None
        Tick store for the warm-up; None: hours of the API itself.
    """

    instrument: str = "EURUSD"
    url: str | None = None
    poll_s: float = 15.0
    max_late_s: float = 900.0
    catch_up_hours: float = 12.0
    timeout_s: float = 20.0
    backoff_s: float = 2.0
    backoff_max_s: float = 120.0
    proxy: str | None = None
    history: str | None = None

    def __post_init__(self) -> None:
        self._positive("poll_s", "max_late_s", "timeout_s", "backoff_s", "backoff_max_s")
        if not 0 <= self.catch_up_hours <= HOURS_MOST:
            msg = f"`0 <= feed.catch_up_hours <= {HOURS_MOST:g}` must hold, but got {self.catch_up_hours!r}."
            raise ConfigError(f"{msg} A longer absence is what `history` is for.")


class BusFeed(_Settings, frozen=True, kw_only=True, tag="bus"):
    """The quotes that another session or program publishes on a bus.

    Attributes
    ----------
    url : str
        Of the bus, see `aiopt.bus.connecting`.
    session : str
        Whose quotes.
    instrument : str
        Of them.
    start : str
        Of a new session: ``"new"``: from now on; ``"oldest"``: as far back as the bus goes.
    is_replayed : bool
        Whether the publisher replays old quotes: each then comes when it is stamped, this machine's clock
        counts for nothing, and the feed ends when the publisher says that its own is over.
    history : str or None
        Tick store for the warm-up.
    """

    url: str
    session: str
    instrument: str = "EURUSD"
    start: Literal["new", "oldest"] = "new"
    is_replayed: bool = False
    history: str | None = None

    def __post_init__(self) -> None:
        if _SESSION.fullmatch(self.session) is None:
            msg = "`feed.session` is 1 to 80 letters, digits, dots, dashes and underscores, but got "
            raise ConfigError(f"{msg}{self.session!r}. Give the id of the session that publishes.")


class InteractiveBrokersFeed(_Settings, frozen=True, kw_only=True, tag="interactive_brokers"):
    """Quotes of Interactive Brokers, from a TWS or Gateway that runs.  No order is sent there.

    Attributes
    ----------
    instrument : str
        Symbol of a currency pair.
    host, port, client_id : str, int, int
        Of TWS (paper: 7497) or Gateway (paper: 4002); an id that no other client uses.
    connect_s : float
        Patience with the connection.
    history : str or None
        Tick store for the warm-up.
    """

    instrument: str = "EURUSD"
    host: str = "127.0.0.1"
    port: int = 4002
    client_id: int = 71
    connect_s: float = 60.0
    history: str | None = None

    def __post_init__(self) -> None:
        self._positive("connect_s")
        if not 0 < self.port < 1 << 16:
            raise ConfigError(f"`feed.port` is 1 to 65535, but got {self.port}. Gateway's for paper is 4002.")


AnyFeed = ReplayFeed | JournalReplay | DukascopyFeed | BusFeed | InteractiveBrokersFeed
LIVE_FEEDS = (DukascopyFeed, BusFeed, InteractiveBrokersFeed)


def comes_live(feed: AnyFeed) -> bool:
    """Return whether quotes of a feed come on this machine's clock."""
    return isinstance(feed, LIVE_FEEDS) and not (isinstance(feed, BusFeed) and feed.is_replayed)


def check_history(feed: AnyFeed, warm_up_days: float) -> None:
    """Refuse a warm-up from a feed that knows nothing of what was before it.

    Raises
    ------
    ConfigError
        Saying what to give.
    """
    if warm_up_days and not isinstance(feed, ReplayFeed | DukascopyFeed) and feed.history is None:
        kind = feed.__struct_config__.tag
        msg = (
            f"`warm_up_days` needs history, but a feed of kind {kind} has none of its own. Give a tick store "
        )
        raise ConfigError(f"{msg}in feed.history, or leave warm_up_days out.")


def with_kind(document: dict[str, Any]) -> dict[str, Any]:
    """Return a session's configuration whose feed says its kind; one that does not is a replay."""
    feed = document.get("feed")
    if isinstance(feed, dict) and "kind" not in feed:
        return {**document, "feed": {"kind": "replay", **feed}}
    return document


def feed_from(feed: AnyFeed, folder: Path) -> AnyFeed:
    """Return a feed whose relative paths are counted from a folder."""
    changed = {
        name: str(folder / value)
        for name in ("store", "journal", "history")
        if isinstance(value := getattr(feed, name, None), str)
    }
    if isinstance(feed, BusFeed) and feed.url.startswith("local:"):
        changed["url"] = f"local:{folder / feed.url.removeprefix('local:')}"
    return msgspec.structs.replace(feed, **changed)


def same_feed(feed: AnyFeed) -> AnyFeed:
    """Return what of a feed must stay the same while a session lives: neither pace nor patience."""
    free = {"speed", "poll_s", "timeout_s", "backoff_s", "backoff_max_s", "proxy", "connect_s"}
    defaults = {
        field.name: field.default
        for field in msgspec.structs.fields(type(feed))
        if field.name in free and field.default is not msgspec.NODEFAULT
    }
    return msgspec.structs.replace(feed, **defaults)
