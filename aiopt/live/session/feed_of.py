"""From a session's configuration to its feed.

Owns the choice and when something is imported for it.  Knows no quotes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from aiopt.live.feeds.bus_quotes import BusQuotes
from aiopt.live.feeds.dukascopy_quotes import DukascopyQuotes
from aiopt.live.feeds.feed_config import (
    AnyFeed,
    BusFeed,
    DukascopyFeed,
    InteractiveBrokersFeed,
    JournalReplay,
)
from aiopt.live.feeds.journal_quotes import JournalQuotes
from aiopt.live.feeds.seam import Feed
from aiopt.live.feeds.store_feed import StoreFeed
from aiopt.live.node.interactive_brokers import BrokerQuotes
from aiopt.timeframe import Timeframe


def feed_of(config: AnyFeed, longest: Timeframe, clock: Callable[[], int] = time.time_ns) -> Feed:
    """Return a feed, not yet begun; what it needs beside quotes is there.

    Parameters
    ----------
    config : AnyFeed
        Which.
    longest : Timeframe
        The longest bars that are cut from it: where it can choose, it begins with one.
    clock : callable
        This machine's time, UTC nanoseconds.

    Raises
    ------
    AioptError
        If there is no such instrument, store, journal or library, naming it and what to do.
    """
    if isinstance(config, JournalReplay):
        return JournalQuotes(config)
    if isinstance(config, BusFeed):
        return BusQuotes(config, clock=clock)
    if isinstance(config, DukascopyFeed):
        return DukascopyQuotes(config, longest, clock=clock)
    if isinstance(config, InteractiveBrokersFeed):
        return BrokerQuotes(config, clock=clock)
    return StoreFeed(Path(config.store), start_ns=config.ns("start"), stop_ns=config.ns("stop"))
