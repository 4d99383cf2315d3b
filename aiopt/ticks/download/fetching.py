"""From a list of hours to one outcome for each: in parallel, politely, with retries and failover.

Owns the order in which feeds are asked, the waiting, and what it takes to call an hour empty.  Knows nothing
of addresses and formats.

An hour of the open market is empty only when two answers say so: two feeds', or, if the others fail, the same
feed's twice.  Overloaded servers have been seen to answer an empty 200.

A raw hour file does not say which hour it is of.  Two hours with the same bytes cannot both be right, so both
are asked for again.

An hour of a holiday is closed when every feed says that it has no file.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event, Lock

import msgspec

from aiopt.errors import ConfigError
from aiopt.market.holidays import holiday_of
from aiopt.market.instrument import Instrument
from aiopt.ticks.download.cache import HourCache, HourRecord
from aiopt.ticks.download.feed import HourFeed, HourResult
from aiopt.ticks.download.http import FeedError
from aiopt.utc import hour_text

ATTEMPT = ", attempt "
"""Stands between the name of a feed and the number of a request in the problems of an hour."""

SAVE_EVERY_S = 15.0
"""The record of the hours is written this often on the way; a kill costs a decoding, never a fetch."""


class Politeness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hard a server is asked.

    Attributes
    ----------
    parallel : int
        Requests in flight, all feeds together.
    interval_s : float
        Least time between two requests to the same feed.
    attempts : int
        Requests for one hour to one feed before the next feed is asked.
    backoff_s : float
        Wait before the second attempt; it doubles each time, and half of it is random.
    backoff_max_s : float
        Longest such wait.
    retry_after_max_s : float
        Longest Retry-After that is waited for; beyond it the feed's turn is over for the hour.
    down_after : int
        Hours in a row a feed may fail before it is asked last, and once, until it answers again.
    give_up_after : int
        Hours in a row on which all feeds failed, all of them down, before the rest is not tried.
    """

    parallel: int = 4
    interval_s: float = 0.1
    attempts: int = 5
    backoff_s: float = 1.0
    backoff_max_s: float = 30.0
    retry_after_max_s: float = 120.0
    down_after: int = 3
    give_up_after: int = 12

    def __post_init__(self) -> None:
        for name in ("parallel", "attempts", "down_after", "give_up_after"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, but is {getattr(self, name)}. Raise it.")
        if self.parallel > 16:
            msg = (
                f"parallel must be 16 or less, but is {self.parallel}: free servers throttle more. Lower it."
            )
            raise ConfigError(msg)
        for name in ("interval_s", "backoff_s", "backoff_max_s", "retry_after_max_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                msg = f"{name} must be 0 or more and finite, but is {getattr(self, name)}. Change it."
                raise ConfigError(msg)


class _Turn:
    """The pace of one feed and its health, shared by all threads."""

    def __init__(self, feed: HourFeed, interval_s: float, stop: Event) -> None:
        self.feed = feed
        self.failed_in_row = 0
        self.requests = 0
        self._interval_s = interval_s
        self._stop = stop
        self._lock = Lock()
        self._free_at = 0.0
        self._held_until = 0.0

    def take(self) -> None:
        """Wait for this feed's turn."""
        with self._lock:
            slot = max(time.monotonic(), self._free_at)
            self._free_at = slot + self._interval_s
        while True:
            # A Retry-After that another thread received meanwhile counts for this one too.
            rest = max(slot, self._held_until) - time.monotonic()
            if rest <= 0:
                break
            if self._stop.wait(rest):
                raise _StoppedError
        with self._lock:
            self.requests += 1

    def hold(self, seconds: float) -> None:
        """Let nobody ask this feed for some seconds."""
        with self._lock:
            self._held_until = max(self._held_until, time.monotonic() + seconds)

    def note(self, *, ok: bool) -> None:
        """Note how an hour ended with this feed."""
        with self._lock:
            self.failed_in_row = 0 if ok else self.failed_in_row + 1


class _StoppedError(Exception):
    """The run is being interrupted."""


class Fetcher:
    """Fetches hours into a cache.

    Parameters
    ----------
    feeds : sequence of HourFeed
        In order of preference.
    cache : HourCache
        Where answers are kept.
    instrument : Instrument
        What to ask for.
    politeness : Politeness
        How hard.
    stop : threading.Event
        Set on an interrupt.
    settled_before : int
        Hour since the epoch from which on an empty answer may only mean "not published yet".
    """

    def __init__(
        self,
        feeds: Sequence[HourFeed],
        cache: HourCache,
        instrument: Instrument,
        politeness: Politeness,
        stop: Event,
        *,
        settled_before: int,
    ) -> None:
        self._turns = [_Turn(feed, politeness.interval_s, stop) for feed in feeds]
        self._cache = cache
        self._instrument = instrument
        self._politeness = politeness
        self._stop = stop
        self._settled_before = settled_before
        self._lost_in_row = 0
        self._digests = cache.digests()
        self._doubted: dict[int, int] = {}
        self._lock = Lock()
        self._random = random.Random()

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return sum(turn.requests for turn in self._turns)

    def run(self, hours: Sequence[int], done: Callable[[int], None]) -> dict[int, HourRecord]:
        """Fetch hours; every one of them is in the result, also a failed one.

        Parameters
        ----------
        hours : sequence of int
            Hours since the epoch, of an open market.
        done : callable
            Called with the number of hours settled so far.

        Raises
        ------
        StorageError
            If an answer cannot be kept.  What was fetched before stays.
        """
        records: dict[int, HourRecord] = {}
        saved_at = time.monotonic()
        pool = ThreadPoolExecutor(self._politeness.parallel, thread_name_prefix="aiopt-download")
        pending: dict[Future[HourRecord], int] = {}
        try:
            for hour in hours:
                pending[pool.submit(self._settle, hour)] = hour
            while pending:
                # With a time limit: a wait without one has been seen to sit out an interrupt.
                ended, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in ended:
                    records[pending.pop(future)] = future.result()
                if ended:
                    done(len(records))
                if time.monotonic() - saved_at > SAVE_EVERY_S:
                    self._cache.save(records)
                    saved_at = time.monotonic()
            records |= self._ask_again(records)
        except BaseException:
            # An interrupt or a full disk: nobody waits for a server any longer.
            self._stop.set()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            for future, hour in pending.items():
                if not future.cancelled() and future.exception() is None:
                    records[hour] = future.result()
            self._cache.save(records)
        return dict(sorted(records.items()))

    def _ask_again(self, records: Mapping[int, HourRecord]) -> dict[int, HourRecord]:
        """Fetch anew the hours whose bytes came again as another's, and the others that failed for it."""
        hours = set(self._doubted.values())
        hours |= {hour for hour in self._doubted if records[hour].status == "failed"}
        self._digests = {key: hour for key, hour in self._digests.items() if hour not in hours}
        for hour in hours:
            self._cache.forget(hour)
        return {hour: self._settle(hour) for hour in sorted(hours)}

    def _check_unique(self, hour: int, result: HourResult) -> None:
        """Refuse an answer that is byte for byte that of another hour."""
        if result.status != "ticks":
            return
        digest = hashlib.sha256(result.raw).hexdigest()
        with self._lock:
            other = self._digests.setdefault(digest, hour)
            if other != hour:
                self._doubted[hour] = other
        if other != hour:
            text = f"the same bytes as the answer for {hour_text(other)}, so one of the two is wrong"
            raise FeedError(text, retry=True)

    def _settle(self, hour: int) -> HourRecord:
        """Return the outcome of one hour."""
        problems: list[str] = []
        if self._lost():
            feeds = ", ".join(turn.feed.name for turn in self._turns)
            problems.append(f"not tried: {feeds} failed on {self._lost_in_row} hours in a row")
            return HourRecord(status="failed", source="none", problems=problems)
        quiet: tuple[_Turn, HourResult] | None = None
        absent: list[str] = []
        for turn in self._order():
            result = self._ask(turn, hour, problems, absent)
            if result is None:
                continue
            if result.status == "ticks" or quiet is not None:
                return self._keep(hour, result, turn, problems)
            quiet = (turn, result)
        if quiet is not None:
            if self._stop.wait(self._backoff_s(1)):
                raise _StoppedError
            again = self._ask(quiet[0], hour, problems, absent)
            if again is not None:
                return self._keep(hour, again, quiet[0], problems)
        holiday = None if self._instrument.always_open else holiday_of(hour)
        if holiday is not None and len(absent) == len(self._turns):
            with self._lock:
                self._lost_in_row = 0
            return HourRecord(status="closed", source=holiday, problems=problems)
        with self._lock:
            self._lost_in_row += 1
        return HourRecord(status="failed", source="none", problems=problems)

    def _keep(self, hour: int, result: HourResult, turn: _Turn, problems: list[str]) -> HourRecord:
        with self._lock:
            self._lost_in_row = 0
        if result.status == "empty" and hour >= self._settled_before:
            problems.append(
                f"{turn.feed.name}: empty, but the hour ended just now: it may not be published yet"
            )
            return HourRecord(status="failed", source=turn.feed.name, problems=problems)
        return self._cache.keep(hour, result, turn.feed.name, problems)

    def _ask(self, turn: _Turn, hour: int, problems: list[str], absent: list[str]) -> HourResult | None:
        """Ask one feed until it answers or its attempts are used up; None then.

        A feed that says it has no file is added to `absent`.
        """
        polite = self._politeness
        attempts = 1 if turn.failed_in_row >= polite.down_after else polite.attempts
        for attempt in range(1, attempts + 1):
            turn.take()
            try:
                result = turn.feed.fetch(self._instrument, hour)
                self._check_unique(hour, result)
            except FeedError as failure:
                if self._stop.is_set():
                    raise _StoppedError from failure
                problems.append(f"{turn.feed.name}{ATTEMPT}{attempt}: {failure}")
                wait_s = failure.retry_after_s
                if not failure.retry:
                    # The server is there and says no: that speaks about the hour, not about the feed.
                    if failure.absent:
                        absent.append(turn.feed.name)
                    return None
                if wait_s > polite.retry_after_max_s:
                    problems.append(f"{turn.feed.name}: asks to wait {wait_s:g} s, which is too long")
                    break
                if wait_s:
                    turn.hold(wait_s)
                if attempt < attempts and self._stop.wait(self._backoff_s(attempt)):
                    raise _StoppedError from failure
            else:
                turn.note(ok=True)
                return result
        turn.note(ok=False)
        return None

    def _backoff_s(self, attempt: int) -> float:
        polite = self._politeness
        full = min(polite.backoff_s * 2 ** (attempt - 1), polite.backoff_max_s)
        # Half fixed, half random: clients that failed together do not come back together.
        return full * (0.5 + 0.5 * self._random.random())

    def _order(self) -> list[_Turn]:
        """Return the feeds in order of preference, those that are down last."""
        return sorted(self._turns, key=lambda turn: turn.failed_in_row >= self._politeness.down_after)

    def _lost(self) -> bool:
        down = all(turn.failed_in_row >= self._politeness.down_after for turn in self._turns)
        return down and self._lost_in_row >= self._politeness.give_up_after
