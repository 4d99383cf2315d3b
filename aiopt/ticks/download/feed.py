"""What a feed of hourly ticks is, and Dukascopy's two: raw bi5 hours and the JSON API of 2026.

Owns addresses, the decoding of an answer and what an answer proves.  Knows nothing of retries, caches or
other feeds: one call of `fetch` is one request.

An hour is empty only if the server said so in a whole answer.  Everything else raises `FeedError`.
"""

from __future__ import annotations

import datetime as dt
import importlib
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Literal, Protocol
from urllib.parse import urlsplit

import msgspec
import numpy as np

from aiopt.errors import ConfigError, DataError, did_you_mean
from aiopt.market.instrument import Instrument
from aiopt.ticks.download.http import FeedError, HttpClient
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources import dukascopy, dukascopy_json

Status = Literal["ticks", "empty", "closed"]

BI5_URL = "https://datafeed.dukascopy.com/datafeed"
JSON_URL = "https://jetta.dukascopy.com"


@dataclass(frozen=True, slots=True)
class HourResult:
    """What a feed answered about one hour.

    Attributes
    ----------
    status : {"ticks", "empty", "closed"}
        ``"closed"`` if the feed knows that the market was.
    raw : bytes
        The answer as it came.
    suffix : str
        Of the file it is kept in: ``".bi5"`` or ``".json"``, see `decode`.
    ticks : int
        How many it holds.
    """

    status: Status
    raw: bytes
    suffix: str
    ticks: int


class HourFeed(Protocol):
    """A source of hours of ticks."""

    @property
    def name(self) -> str:
        """Name in messages and in the record of an hour."""
        ...

    def fetch(self, instrument: Instrument, hour: int) -> HourResult:
        """Ask once for one hour (since the epoch, UTC).

        Raises
        ------
        FeedError
            If there is no whole and believable answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Bi5Feed:
    """Raw hour files: ``{base}/{INSTR}/{YYYY}/{MM}/{DD}/{HH}h_ticks.bi5``, months from **00**."""

    name: str
    base: str
    http: HttpClient

    def url(self, instrument: Instrument, hour: int) -> str:
        """Return the address of an hour."""
        return f"{self.base}/{instrument.symbol}/{bi5_path(hour)}.bi5"

    def fetch(self, instrument: Instrument, hour: int) -> HourResult:
        """See `HourFeed`."""
        url = self.url(instrument, hour)
        body = self.http.get(url)
        if not body.data and not body.length_known:
            # A proxy that gives up looks like this; a real empty hour says Content-Length: 0.
            raise FeedError(
                f"{url}: the answer is empty and has no Content-Length, so it may be cut off", retry=True
            )
        return _judged(body.data, ".bi5", instrument, hour, url)


@dataclass(frozen=True, slots=True)
class JsonFeed:
    """The JSON API: ``{base}/v1/ticks/{INSTR}/{Y}/{M}/{D}/{H}``, months from **1**, nothing zero-padded."""

    name: str
    base: str
    http: HttpClient

    def url(self, instrument: Instrument, hour: int) -> str:
        """Return the address of an hour."""
        moment = _moment(hour)
        day = f"{moment.year}/{moment.month}/{moment.day}/{moment.hour}"
        return f"{self.base}/v1/ticks/{instrument.base}-{instrument.quote}/{day}"

    def fetch(self, instrument: Instrument, hour: int) -> HourResult:
        """See `HourFeed`."""
        url = self.url(instrument, hour)
        return _judged(self.http.get(url).data, ".json", instrument, hour, url)


@dataclass(frozen=True, slots=True)
class FolderFeed:
    """Hour files on a disk, laid out as at the provider: ``{root}/{INSTR}/{YYYY}/{MM}/{DD}/{HH}h_ticks.bi5``.

    Months from **00**; also ``.json``, an answer of the JSON API.  A download's cache is such a folder.
    """

    name: str
    root: Path

    def fetch(self, instrument: Instrument, hour: int) -> HourResult:
        """See `HourFeed`."""
        for suffix in (".bi5", ".json"):
            path = self.root / instrument.symbol / (bi5_path(hour) + suffix)
            try:
                return _judged(path.read_bytes(), suffix, instrument, hour, str(path))
            except FileNotFoundError:
                continue
            except OSError as failure:
                raise FeedError(f"{path}: {failure.strerror}", retry=True) from failure
        raise FeedError(f"{path.with_suffix('')}: no such file", retry=False, absent=True)


def bi5_path(hour: int) -> str:
    """Return ``2019/01/04/07h_ticks`` for 4 **February** 2019, 07 h."""
    moment = _moment(hour)
    return f"{moment.year:04}/{moment.month - 1:02}/{moment.day:02}/{moment.hour:02}h_ticks"


def decode(raw: bytes, suffix: str, instrument: Instrument, hour: int, *, file: Path | str) -> TickArrays:
    """Decode an answer by the suffix it is kept under.

    Raises
    ------
    DataError
        If it is not whole or not an hour of ticks.
    """
    if suffix == ".json":
        return dukascopy_json.decode(raw, file=file, hour=hour)[1]
    return dukascopy.decode_hour(raw, hour, instrument, file=file)


def check_plausible(ticks: TickArrays, instrument: Instrument, file: Path | str) -> None:
    """Refuse an hour whose median price is not the instrument's: a wrong scale, or another instrument.

    A single wild tick is for the validation of the import, which counts it.

    Raises
    ------
    DataError
        Gives the price.
    """
    if not len(ticks):
        return
    price = float(np.median(ticks.bid))
    if not instrument.plausible_low <= price <= instrument.plausible_high:
        bounds = f"{instrument.plausible_low:g} to {instrument.plausible_high:g}"
        msg = f"Prices of {instrument.symbol} lie in {bounds}, but the median here is {price:g}. "
        raise DataError(msg + "This is another instrument or another scale.", file=file)


FEED_KINDS: dict[str, str] = {"bi5": BI5_URL, "json": JSON_URL, "dir": "", "python": ""}
"""Kinds of feeds and their default base addresses; ``dir`` and ``python`` have none."""


def make_feed(text: str, http: HttpClient) -> HourFeed:
    """Make a feed of ``KIND`` or ``KIND=WHERE``.

    ``bi5``, ``json=https://mirror.example``; ``dir=/mnt/archive``, see `FolderFeed`;
    ``python=package.module:name``, a function that is called with the `HttpClient` and returns a `HourFeed`.

    Raises
    ------
    ConfigError
        If the kind is unknown, the address is not one of http or https, the folder does not exist, or the
        function cannot be imported or returns no feed.
    """
    kind, _, url = (part.strip() for part in text.partition("="))
    if kind not in FEED_KINDS:
        raise ConfigError(f"There is no feed {kind!r}.{did_you_mean(kind, FEED_KINDS)}")
    if kind == "dir":
        return _folder_feed(url)
    if kind == "python":
        return _python_feed(url, http)
    # An empty variable in a script must not become a request to the provider.
    base = (url if "=" in text else FEED_KINDS[kind]).rstrip("/")
    parts = urlsplit(base)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        msg = f"A feed's address must be http[s]://HOST[:PORT][/PATH], but got {base!r}. Mend it."
        raise ConfigError(msg)
    name = kind if base == FEED_KINDS[kind] else f"{kind}={base}"
    if kind == "json":
        return JsonFeed(name, base, http)
    return Bi5Feed(name, base, http)


class FeedAccess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which feeds are asked, and over what network.

    Attributes
    ----------
    feeds : tuple of str
        ``KIND`` or ``KIND=WHERE`` in order of preference, see `make_feed`.
    proxy : str or None
        ``http://HOST:PORT``; ``"none"`` for no proxy; None for what the environment says.
    timeout_s, deadline_s : float
        Longest silence, and longest whole answer.
    """

    feeds: tuple[str, ...] = ("bi5", "json")
    proxy: str | None = None
    timeout_s: float = 20.0
    deadline_s: float = 60.0

    def open(self, stop: Event) -> list[HourFeed]:
        """Make the feeds; `stop` gives up answers that are being read.

        Raises
        ------
        ConfigError
            As `make_feed` and `HttpClient`.
        """
        proxy = "" if self.proxy == "none" else self.proxy
        http = HttpClient(timeout_s=self.timeout_s, deadline_s=self.deadline_s, proxy=proxy, stop=stop)
        return [make_feed(text, http) for text in self.feeds]


def _folder_feed(where: str) -> HourFeed:
    root = Path(where)
    if not where or not root.is_dir():
        msg = f"A feed of kind dir must name a folder that exists, as in dir=/mnt/archive, but got {where!r}."
        raise ConfigError(f"{msg} It holds SYMBOL/YYYY/MM/DD/HHh_ticks.bi5, months from 00.")
    return FolderFeed(f"dir={where}", root)


def _python_feed(where: str, http: HttpClient) -> HourFeed:
    module, _, name = where.partition(":")
    if not module or not name:
        msg = f"A feed of kind python must name a function, as in python=module:name, but got {where!r}. "
        raise ConfigError(f"{msg}It is called with the HTTP client and returns a feed.")
    try:
        found = getattr(importlib.import_module(module), name)(http)
    except (ImportError, AttributeError, TypeError) as failure:
        msg = f"The function of a feed must be importable and take the HTTP client, but {where}: {failure}."
        raise ConfigError(f"{msg} Mend it, or put its folder on PYTHONPATH.") from failure
    if not callable(getattr(found, "fetch", None)) or not isinstance(getattr(found, "name", None), str):
        msg = f"The function of a feed must return an object with name and fetch, but {where} returned a "
        raise ConfigError(f"{msg}{type(found).__name__}. See aiopt.ticks.download.HourFeed.")
    feed: HourFeed = found
    return feed


def _judged(raw: bytes, suffix: str, instrument: Instrument, hour: int, url: str) -> HourResult:
    try:
        ticks = decode(raw, suffix, instrument, hour, file=url)
        check_plausible(ticks, instrument, url)
    except DataError as failure:
        # An overloaded server or a proxy sends pages of its own: the next answer may be the hour.
        raise FeedError(str(failure), retry=True) from failure
    return HourResult("ticks" if len(ticks) else "empty", raw, suffix, len(ticks))


def _moment(hour: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(hour * 3600, tz=dt.UTC)
