"""Downloading ticks: a span of hours from a provider into a tick store, every hour accounted for.

Owns what is asked for and what is not, and the way from kept answers into the store.  Knows nothing of HTTP.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event

import msgspec

from aiopt.errors import ConfigError, DataError
from aiopt.market.calendar import open_hours
from aiopt.market.instrument import Instrument
from aiopt.market.instrument import instrument as find_instrument
from aiopt.ticks.checks.validation import DEFAULT_RULES, ValidationRules
from aiopt.ticks.download.cache import HourCache, HourRecord
from aiopt.ticks.download.feed import FEED_KINDS, HourFeed, decode
from aiopt.ticks.download.fetching import ATTEMPT, Fetcher, Politeness
from aiopt.ticks.download.span import hour_of
from aiopt.ticks.importing import import_source
from aiopt.ticks.manifest import Manifest, is_tick_store, read_manifest
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources import Batch, TickSource
from aiopt.ticks.sources.ahead import ReadAhead
from aiopt.ticks.store import locked
from aiopt.utc import hour_number, hour_text

FORMAT = "dukascopy_hours"
"""`Manifest.source_format` of a downloaded store."""

SETTLE_HOURS = 2
"""An hour that ended less than this ago may not be published yet: empty is then no outcome."""

FETCHING_SHARE = 0.9
"""Share of the progress that is the download; the rest is the import."""

Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0 to 1."""


class DownloadOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is downloaded besides the span, and how.

    Attributes
    ----------
    instrument : str
        Symbol.
    rules : ValidationRules
        Treatment of each rule at the import, of the whole store.
    politeness : Politeness
        How hard the servers are asked.
    replace : bool
        Replace whatever tick store is in the output instead of extending it.
    now : datetime or None
        The present, with its time zone; that of the clock if None.
    """

    instrument: str = "EURUSD"
    rules: ValidationRules = DEFAULT_RULES
    politeness: Politeness = Politeness()
    replace: bool = False
    now: dt.datetime | None = None


class DownloadReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a download ended.

    Attributes
    ----------
    instrument : str
        Symbol.
    first_hour, last_hour : str
        Span, both included, ``"2026-11-02T00"`` UTC.
    hours : dict of str to str
        Every hour of the span to ``"ticks"``, ``"empty"``, ``"closed"`` or ``"failed"``.
    hours_before : int
        Hours outside of the span that the store had before and keeps.
    not_asked : int
        Hours of open market between the first and the last hour of the store that were never asked for.
    failed : dict of str to list of str
        Failed hours of the store and what went wrong with each, in order.
    fetched : int
        Hours fetched by this run.
    reused : int
        Hours that were already in the cache.
    requests : int
        Requests sent.
    cache : str
        Folder of the kept answers.
    store : str or None
        The tick store; None if it was not written, because hours failed or there are no ticks.
    manifest : Manifest or None
        Of the store.
    """

    instrument: str
    first_hour: str
    last_hour: str
    hours: dict[str, str]
    hours_before: int
    not_asked: int
    failed: dict[str, list[str]]
    fetched: int = 0
    reused: int = 0
    requests: int = 0
    cache: str = ""
    store: str | None = None
    manifest: Manifest | None = None

    @property
    def ok(self) -> bool:
        """True if no hour failed."""
        return not self.failed

    def reasons(self, hour: str) -> list[str]:
        """Return why a failed hour failed: the last problem with each feed, and what else there is to say."""
        last: dict[str, str] = {}
        for problem in self.failed[hour]:
            feed, attempt, _ = problem.partition(ATTEMPT)
            last[feed if attempt else problem] = problem
        return list(last.values())

    def counts(self) -> dict[str, int]:
        """Return the number of hours per outcome."""
        states = list(self.hours.values())
        return {name: states.count(name) for name in ("ticks", "empty", "closed", "failed")}


def download_ticks(
    span: tuple[int, int],
    out: Path,
    feeds: Sequence[HourFeed],
    cache: Path,
    options: DownloadOptions | None = None,
    *,
    stop: Event | None = None,
    progress: Progress | None = None,
) -> DownloadReport:
    """Download a span of hours into a tick store; hours already in the cache are not asked for again.

    A store in `out` that was downloaded before is extended: it then holds its hours and those of the span, as
    if all had been downloaded at once, and stays as it was until that is done.

    The store is written when no hour failed, or when the rule ``missing_hour`` is ``keep``: then failed hours
    are holes, named as such in the manifest.

    Parameters
    ----------
    span : tuple of int
        First and last hour since the epoch, both included, see `parse_span`.
    out : Path
        Folder of the tick store: absent, empty, or a downloaded store of the same instrument.
    feeds : sequence of HourFeed
        In order of preference, see `aiopt.ticks.download.feed.make_feed`.
    cache : Path
        Folder of the kept answers, ``cache/SYMBOL/…``.
    options : DownloadOptions, optional
        Instrument, rules, politeness, whether a store is replaced.
    stop : threading.Event, optional
        The one the feeds' `HttpClient` watches.
    progress : callable, optional
        See `Progress`.

    Raises
    ------
    ConfigError
        If there is no feed.
    DataError
        If the span has no tick although no hour failed, or the import refuses the ticks.
    StorageError
        If the disk is full or a folder cannot be written.
    """
    if not feeds:
        raise ConfigError(f"A download needs a feed, but none was given. Known: {', '.join(FEED_KINDS)}.")
    options = options or DownloadOptions()
    report = progress or _silent
    item = find_instrument(options.instrument)
    root = Path(cache) / item.symbol
    out = Path(out)
    with locked(root):
        store = HourCache(root, item)
        before = {} if options.replace else _hours_of(out, item)
        if not options.replace:
            _check_extends(out, item, before)
        records, wanted = _plan(span, before, item, store)
        reused = sum(record.file is not None for record in records.values())
        fetcher = Fetcher(
            feeds,
            store,
            item,
            options.politeness,
            stop or Event(),
            settled_before=hour_of(options.now) - SETTLE_HOURS,
        )
        if wanted:
            records |= fetcher.run(wanted, lambda count: report(FETCHING_SHARE * count / len(wanted)))
        store.save(records)
        records = dict(sorted(records.items()))
        result = msgspec.structs.replace(
            _outcome(span, records, item),
            fetched=sum(records[hour].status != "failed" for hour in wanted),
            reused=reused,
            requests=fetcher.requests,
            cache=str(root),
        )
        if not _may_be_stored(records, result, options.rules):
            return result
        manifest = import_source(
            _source(root, records, item),
            out,
            instrument=item,
            rules=options.rules,
            replace=options.replace or bool(before),
            progress=lambda done, total: report(FETCHING_SHARE + (1 - FETCHING_SHARE) * done / total),
        )
        return msgspec.structs.replace(result, store=str(out), manifest=manifest)


def downloaded_until(out: Path, instrument: str) -> int | None:
    """Return the last hour of a downloaded store of an instrument; None if `out` is none."""
    return max(_hours_of(Path(out), find_instrument(instrument)), default=None)


def _check_extends(out: Path, instrument: Instrument, before: Mapping[int, str]) -> None:
    """Refuse a tick store that is no download of this instrument."""
    if not before and is_tick_store(out):
        raise DataError(
            f"The output holds a tick store of another source, not a download of {instrument.symbol}. Choose "
            "another folder, or give --replace.",
            file=out,
        )


def _outcome(
    span: tuple[int, int], records: Mapping[int, HourRecord], instrument: Instrument
) -> DownloadReport:
    """Return what became of the hours, without the figures of this run."""
    return DownloadReport(
        instrument=instrument.symbol,
        first_hour=hour_text(span[0]),
        last_hour=hour_text(span[1]),
        hours={
            hour_text(hour): record.status for hour, record in records.items() if span[0] <= hour <= span[1]
        },
        hours_before=sum(not span[0] <= hour <= span[1] for hour in records),
        not_asked=_not_asked(records, instrument),
        failed={
            hour_text(hour): record.problems for hour, record in records.items() if record.status == "failed"
        },
    )


def _may_be_stored(records: Mapping[int, HourRecord], report: DownloadReport, rules: ValidationRules) -> bool:
    """Return whether a store is written; no hour with ticks is an error where none failed."""
    any_ticks = any(record.status == "ticks" for record in records.values())
    if report.failed:
        return any_ticks and rules.treatment("missing_hour") != "fail"
    if not any_ticks:
        msg = f"The span {report.first_hour} to {report.last_hour} has only closed and quiet hours. "
        raise DataError(f"{msg}Choose another span.")
    return True


def _plan(
    span: tuple[int, int], before: Mapping[int, str], instrument: Instrument, store: HourCache
) -> tuple[dict[int, HourRecord], list[int]]:
    """Return what is known already, and the hours to fetch, of a span and of the store that is extended."""
    everything = sorted({*range(span[0], span[1] + 1), *before})
    is_open = set(everything)
    if not instrument.always_open:
        is_open &= set(open_hours(everything[0], everything[-1]).tolist())
    known: dict[int, HourRecord] = {}
    wanted: list[int] = []
    for hour in everything:
        if hour not in is_open:
            known[hour] = HourRecord(status="closed", source="calendar")
            continue
        record = store.find(hour)
        if record is None:
            wanted.append(hour)
        else:
            known[hour] = record
    return known, wanted


def _source(root: Path, records: Mapping[int, HourRecord], instrument: Instrument) -> TickSource:
    """Return the kept answers of a span as a source for the import."""
    kept = [(hour, record) for hour, record in records.items() if record.file is not None]
    files = tuple(root / str(record.file) for _, record in kept)

    def load(number: int) -> TickArrays:
        path, hour = files[number], kept[number][0]
        return decode(path.read_bytes(), path.suffix, instrument, hour, file=path)

    ahead = ReadAhead(len(files), load)

    def read(number: int) -> Iterator[Batch]:
        ticks = ahead(number)
        if len(ticks):
            yield Batch(ticks, number, 0, files[number].stat().st_size)

    def of(status: str) -> tuple[int, ...]:
        return tuple(hour for hour, record in records.items() if record.status == status)

    hole = _not_asked(records, instrument)
    note = f"{hole} hour(s) of open market inside the span were never asked for: download them as well."
    return TickSource(
        format=FORMAT,
        root=root,
        files=files,
        read=read,
        notes=[note] if hole else [],
        empty_hours=of("empty"),
        missing_hours=of("failed"),
        hours={hour: record.status for hour, record in records.items()},
    )


def _not_asked(hours: Mapping[int, HourRecord], instrument: Instrument) -> int:
    """Return the hours of open market between the first and the last that are not among `hours`."""
    first, last = min(hours), max(hours)
    wanted = range(first, last + 1) if instrument.always_open else open_hours(first, last).tolist()
    return sum(hour not in hours for hour in wanted)


def _hours_of(out: Path, instrument: Instrument) -> dict[int, str]:
    """Return the hours of a downloaded store of the instrument and their outcomes; none of another folder."""
    if not is_tick_store(out):
        return {}
    manifest = read_manifest(out)
    if (manifest.source_format, manifest.instrument) != (FORMAT, instrument.symbol):
        return {}
    return {hour_number(hour): outcome for hour, outcome in manifest.hours.items()}


def _silent(share: float) -> None:
    del share
