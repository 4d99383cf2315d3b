"""Events that wait to be published: bounded, in order, none dropped but those a later one stands for.

Owns what waits and what is merged.  Knows nothing of transports.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aiopt.bus.events import Event, Quote
from aiopt.errors import ConfigError


class Outbox:
    """A queue of events with room for `capacity` that cannot be merged.

    Where only the latest counts (quotes of an instrument, the account) an event that still waits is
    replaced by the later one: at most one of each kind waits, so these take no room.

    Parameters
    ----------
    capacity : int
        At least 1.
    merge : bool
        Whether anything is merged; False: each event counts.
    """

    def __init__(self, capacity: int = 10_000, *, merge: bool = True) -> None:
        if capacity < 1:
            msg = f"`capacity >= 1` must hold, but got capacity={capacity}. Choose e.g. 10000."
            raise ConfigError(msg)
        self.capacity = capacity
        self._merge = merge
        self.merged = 0
        self._waiting: dict[int, Event] = {}
        self._latest: dict[str, int] = {}
        self._under_way: list[Event] = []
        self._solid = 0
        self._last = -1

    def __repr__(self) -> str:
        return f"<Outbox {len(self)} of {self.capacity}, {self.merged} merged>"

    def __len__(self) -> int:
        return len(self._waiting) + len(self._under_way)

    @property
    def urgent(self) -> bool:
        """Whether an event waits that stands for itself alone."""
        return self._solid > 0

    @property
    def full(self) -> bool:
        """Whether no event has room that cannot be merged."""
        return self._solid + sum(self._key(one) is None for one in self._under_way) >= self.capacity

    def offer(self, event: Event) -> bool:
        """Take an event, if there is room.

        Parameters
        ----------
        event : Event
            With a higher number than the one before.

        Returns
        -------
        bool
            False: there was no room, and it was not taken.  Offer it again later, before any other.

        Raises
        ------
        ConfigError
            If its number is not above that of the last one taken.
        """
        if event.seq <= self._last:
            msg = (
                "`seq` must count up, but got an event with "
                f"seq={event.seq} after {self._last}. Number events as they are made."
            )
            raise ConfigError(msg)
        key = self._key(event)
        if key is None:
            if self.full:
                return False
            self._solid += 1
        else:
            event = self._standing_for(key, event)
            self._latest[key] = event.seq
        self._waiting[event.seq] = event
        self._last = event.seq
        return True

    def _key(self, event: Event) -> str | None:
        return event.merges_by if self._merge else None

    def _standing_for(self, key: str, event: Event) -> Event:
        older = self._waiting.pop(self._latest[key], None) if key in self._latest else None
        if older is None:
            return event
        self.merged += 1
        if isinstance(event, Quote) and isinstance(older, Quote):
            return msgspec.structs.replace(event, merged=event.merged + older.merged)
        return event

    def take(self, limit: int) -> Sequence[Event]:
        """Return the next events to publish, oldest first; the same ones until `done`."""
        while self._waiting and len(self._under_way) < limit:
            seq = next(iter(self._waiting))
            event = self._waiting.pop(seq)
            key = self._key(event)
            if key is None:
                self._solid -= 1
            else:
                self._latest.pop(key, None)
            self._under_way.append(event)
        return tuple(self._under_way[:limit])

    def done(self, count: int) -> None:
        """Forget the first `count` of what `take` returned: they are published."""
        del self._under_way[:count]
