"""From a feed to the steps of a session, at the pace of the market or as fast as it goes.

Owns when a quote is due, the beat of a live session's clock, and what is said of a live feed: how late it is,
where quotes are missing, what its provider answered.  Knows no strategy and no venue.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

from aiopt.live.feeds.seam import Batch, Feed
from aiopt.live.feeds.store_feed import Pace
from aiopt.live.session.stepping import Stepper
from aiopt.utc import SECOND_NS

_BREATH = 64
"""Quotes between two looks at the clock."""
_BREATH_S = 0.02
"""Seconds without a pause for others in the event loop, at most."""
_LATER = 2.0
"""A feed that is so many times as late as was last said, or as little, is said again."""
_LATE_S = 5.0
"""What is not later than this is on time."""
_TEXTS = 5


class Feeding:
    """Gives a session the quotes of its feed.

    Parameters
    ----------
    feed : Feed
        Where they come from.
    stepper : Stepper
        Where they go to.
    speed : float
        Of a replay, see `Pace`.
    stopping : callable
        Whether the session is to stop behind the present step.
    progress : callable
        Told of the place in the feed, now and then.
    clock : callable
        This machine's time, UTC nanoseconds.
    """

    def __init__(
        self,
        feed: Feed,
        stepper: Stepper,
        *,
        speed: float,
        stopping: Callable[[], bool],
        progress: Callable[[float], None],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._feed, self._stepper = feed, stepper
        self._pace = Pace(speed)
        self._stopping, self._progress, self._clock = stopping, progress, clock
        self._breath = 0.0
        self._beat_ns = 0
        self._said_late_s: float | None = None
        self._texts: list[str] = []
        self._hole = ""

    def set_speed(self, speed: float) -> None:
        """Replay at another speed from the next quote on."""
        if speed != self._pace.speed:
            self._pace = Pace(speed)

    async def run(self) -> None:
        """Take quotes until the feed ends or the session is to stop."""
        feed, stepper = self._feed, self._stepper
        if feed.is_live:
            stepper.guard.expect(feed.instrument.symbol, self._clock())
        self._breath = time.monotonic() + _BREATH_S
        batches = feed.batches(stepper.position)
        try:
            async for batch in batches:
                self._tell(batch)
                if not await self._take(batch):
                    return
                if feed.is_live:
                    await self._live(batch)
                if self._stopping():
                    return
        finally:
            await batches.aclose()

    async def _take(self, batch: Batch) -> bool:
        """Give a batch to the session; False: it is to stop."""
        columns = zip(batch.ts_ns, batch.bid, batch.ask, batch.bid_size, batch.ask_size, strict=True)
        stepper, arrived_ns = self._stepper, batch.arrived_ns
        for number, (place, (ts_ns, bid, ask, *sizes)) in enumerate(
            zip(batch.places, columns, strict=True), start=1
        ):
            if self._pace.speed:
                await self._wait(ts_ns)
            # Also where quotes are late for their pace: commands and the bus wait in the loop.
            if number % _BREATH == 0 and time.monotonic() >= self._breath:
                self._progress(place)
                await asyncio.sleep(0)
                self._breath = time.monotonic() + _BREATH_S
            if stepper.reader is not None and stepper.reader.owes(ts_ns):
                await stepper.reader.settle(ts_ns)
            if self._stopping():
                return False
            stepper.step(place, ts_ns, bid, ask, (sizes[0], sizes[1]), arrived_ns)
        if batch.places:
            self._progress(stepper.position)
        return True

    async def _wait(self, ts_ns: int) -> None:
        """Wait until a quote is due, or the session is to stop."""
        wait = self._pace.wait_s(ts_ns)
        while wait > 0 and not self._stopping():
            await asyncio.sleep(min(wait, 0.2))
            wait = self._pace.wait_s(ts_ns)  # of another speed by now, perhaps

    # --- what is said of a live feed --------------------------------------------------------------------

    def _tell(self, batch: Batch) -> None:
        stepper = self._stepper
        self._hole = batch.hole or self._hole
        if self._hole and batch.ts_ns:
            whole_ns = batch.ts_ns[0] if batch.complete_from_ns is None else batch.complete_from_ns
            stepper.hole(whole_ns, self._hole)
            self._hole = ""
        for text in batch.notes:
            stepper.note("feed_note", text=text)
            self._texts = [*self._texts, text][-_TEXTS:]
        if batch.arrived_ns is None:
            return
        if batch.ts_ns:
            late_s = (batch.arrived_ns - batch.ts_ns[-1]) / SECOND_NS
            said = self._said_late_s
            if said is None or not said / _LATER <= max(late_s, _LATE_S) <= said * _LATER:
                self._said_late_s = max(late_s, _LATE_S)
                stepper.note("feed_late", seconds=round(late_s, 3))
            self._record(late_s)
        elif batch.notes:
            self._record(None)

    def _record(self, late_s: float | None) -> None:
        before = json.loads(self._stepper.feed_record or "{}")
        late = before.get("late_s") if late_s is None else round(late_s, 3)
        record = {"kind": self._feed.identity["kind"], "late_s": late, "notes": self._texts}
        self._stepper.feed_record = json.dumps(record)

    async def _live(self, batch: Batch) -> None:
        """Let time pass once a second, and write down what was noted."""
        stepper, now_ns = self._stepper, self._clock()
        if now_ns - self._beat_ns >= SECOND_NS or now_ns < self._beat_ns:
            self._beat_ns = now_ns
            stepper.clock(now_ns)
        if batch.notes:
            stepper.commit()
        await asyncio.sleep(0)
