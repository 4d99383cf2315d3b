"""Downloading ticks from a provider.

Owns what of it others may use.  Knows nothing itself: the span is in `span`, the download in `downloading`,
the order of requests in `fetching`, kept answers in `cache`, providers in `feed`, requests in `http`.
"""

from __future__ import annotations

from aiopt.ticks.download.downloading import (
    DownloadOptions,
    DownloadReport,
    download_ticks,
    downloaded_until,
)
from aiopt.ticks.download.feed import FEED_KINDS, FeedAccess, HourFeed, HourResult, make_feed
from aiopt.ticks.download.fetching import Politeness
from aiopt.ticks.download.http import FeedError, HttpClient
from aiopt.ticks.download.span import DEFAULT_DAYS, parse_span

__all__ = [
    "DEFAULT_DAYS",
    "FEED_KINDS",
    "DownloadOptions",
    "DownloadReport",
    "FeedAccess",
    "FeedError",
    "HourFeed",
    "HourResult",
    "HttpClient",
    "Politeness",
    "download_ticks",
    "downloaded_until",
    "make_feed",
    "parse_span",
]
