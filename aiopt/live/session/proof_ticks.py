"""The ticks a replay went through, as a store that a backtest can be made of.

Owns where they lie while they are compared.  Knows no trades.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiopt.live.feeds.feed_config import ReplayFeed
from aiopt.live.feeds.store_feed import StoreFeed
from aiopt.live.session.live_config import LiveConfig


def is_provable(config: LiveConfig) -> bool:
    """Return whether the ticks of a session, its warm-up included, can be had again as one store."""
    return isinstance(config.feed, ReplayFeed)


@contextmanager
def ticks_of(config: LiveConfig) -> Iterator[StoreFeed]:
    """Give the ticks of a session for which `is_provable`, as a store."""
    feed = config.feed
    assert isinstance(feed, ReplayFeed)
    yield StoreFeed(Path(feed.store), start_ns=feed.ns("start"), stop_ns=feed.ns("stop"))
