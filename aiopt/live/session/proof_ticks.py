"""The ticks a replay went through, as a store that a backtest can be made of.

Owns where they lie while they are compared.  Knows no trades.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiopt.errors import ConfigError
from aiopt.live.feeds.feed_config import JournalReplay, ReplayFeed
from aiopt.live.feeds.journal_quotes import JournalQuotes, store_of_journal
from aiopt.live.feeds.store_feed import StoreFeed
from aiopt.live.session.live_config import LiveConfig


def is_provable(config: LiveConfig) -> bool:
    """Return whether the ticks of a session, its warm-up included, can be had again as one store."""
    feed = config.feed
    return isinstance(feed, ReplayFeed) or (isinstance(feed, JournalReplay) and not config.warm_up_days)


@contextmanager
def ticks_of(config: LiveConfig) -> Iterator[StoreFeed]:
    """Give the ticks of a session as a store.

    Raises
    ------
    ConfigError
        If `is_provable` says that they cannot be had again.
    """
    feed = config.feed
    if not is_provable(config):
        kind = feed.__struct_config__.tag
        msg = f"A proof needs the ticks of a session again, warm-up included, but a feed of kind {kind} with "
        msg += (
            f"warm_up_days={config.warm_up_days:g} does not keep them together. Replay a tick store of them."
        )
        raise ConfigError(msg)
    if isinstance(feed, JournalReplay):
        quotes = JournalQuotes(feed)
        with TemporaryDirectory(prefix="aiopt-proof-") as folder:
            store_of_journal(quotes, Path(folder) / quotes.instrument.symbol)
            yield StoreFeed(Path(folder) / quotes.instrument.symbol)
        return
    assert isinstance(feed, ReplayFeed)
    yield StoreFeed(Path(feed.store), start_ns=feed.ns("start"), stop_ns=feed.ns("stop"))
