"""The Nautilus strategy of specs that add to a position: several entries of one side, each its own trade.

Owns what differs from one entry at a time (`aiopt.backtest.strategy`, which says when things happen): an
entry signal of the held side adds an entry while fewer than the most are open, and every entry has a stop, a
target and a settlement of its own.  The rules are `aiopt.strategy.spec_pyramiding`'s.

Each entry is a position of the venue, as a part is (`aiopt.backtest.parts`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiopt.backtest.parts import Part
from aiopt.backtest.positions import HeldPosition
from aiopt.backtest.strategy import SpecStrategy
from aiopt.backtest.strategy_orders import CLOSING_REASONS, LONG, SHORT, EntryPlan
from aiopt.strategy.signals import BarSignal


@dataclass(slots=True)
class _Entry:
    """One entry that is open.

    Attributes
    ----------
    held : HeldPosition
        As it was filled.
    part : Part
        Its orders.
    late_stop : float
        A stop that is armed at the next close; NaN for none.
    """

    held: HeldPosition
    part: Part
    late_stop: float


class PyramidStrategy(SpecStrategy):
    """Trade positions of several entries on the signals of a `SignalSource`.

    `position` is the oldest entry; `stop_price` and `target_price` are those that the price reaches first.
    """

    def __init__(self, name: str = "PYRAMID-002") -> None:
        super().__init__(name)
        self._entries: list[_Entry] = []

    def prepare(self, *args: Any) -> None:
        """Forget the last run and take up the next, as `SpecStrategy.prepare`."""
        super().prepare(*args)
        self._entries = []

    @property
    def held(self) -> list[HeldPosition]:
        """Entries that are open, the oldest first."""
        return [entry.held for entry in self._entries]

    @property
    def uncovered(self) -> list[str]:
        """Positions that want a stop in the market now and have none, by the venue's ids."""
        if self._is_leaving:
            return []
        wanting = (e for e in self._entries if not math.isnan(e.held.stop) and math.isnan(e.late_stop))
        return [one.part.position_id.value for one in wanting if one.part.stop_order is None]

    def _add(self, bar: int, signal: BarSignal) -> None:
        """Add an entry on a signal of the side that is held, if fewer than the most are open."""
        # The fills of one order are one position of the venue.
        if len({entry.part.position_id for entry in self._entries}) < self._rules.most_entries:
            self._enter(self.side, bar, signal, beside=sum(held.units for held in self.held))

    def _protect(self, bar: int) -> None:
        """Arm the stops that waited for this close."""
        for entry in self._entries:
            if not math.isnan(entry.late_stop):
                self._send_stop(entry.part, entry.late_stop)
                entry.late_stop = math.nan
        self._look()

    def _opened(self, event: Any, plan: EntryPlan) -> None:
        price, units = self._price_of(event), self._units_of(event)
        held = HeldPosition(plan.side, units, event.ts_event, price, plan.stop, plan.target)
        entry = _Entry(
            held, Part(units, plan.target, event.position_id, None, [], event.ts_event, price), math.nan
        )
        self._entries.append(entry)
        self.position = self._entries[0].held
        self._await_exits(event)
        if plan.side == SHORT and self._rules.pine_entry_bar and price >= plan.stop:
            entry.late_stop = plan.stop
        elif not math.isnan(plan.stop):
            self._send_stop(entry.part, plan.stop)
        if not math.isnan(plan.target):
            self._send_target(entry.part)
        self._look()

    def _shrunk(self, event: Any, reason: str, part: Part, left: float) -> None:
        entry = next(entry for entry in self._entries if entry.part is part)
        gone, part.units = part.units - left, left
        self._settle(entry.held._replace(units=gone), event, reason, ends=False)
        entry.held = entry.held._replace(units=left)
        self.position = self._entries[0].held

    def _left(self, event: Any, reason: str, part: Part) -> None:
        part.is_open = False
        entry = next(entry for entry in self._entries if entry.part is part)
        self._entries.remove(entry)
        self._cancel_beside(event, part, self._open_parts())
        self._settle(entry.held, event, reason, ends=not self._entries)
        self.position = self._entries[0].held if self._entries else None
        if not self._entries:
            self._forget_exits()
        elif reason not in CLOSING_REASONS:  # else the exits of all are gone already
            self._look()

    def _open_parts(self) -> list[Part]:
        return [entry.part for entry in self._entries]

    def _look(self) -> None:
        """Note which stop and target the price would reach first."""
        armed = [
            e.held.stop for e in self._entries if math.isnan(e.late_stop) and not math.isnan(e.held.stop)
        ]
        targets = [entry.held.target for entry in self._entries if not math.isnan(entry.held.target)]
        nearest_stop, nearest_target = (max, min) if self.side == LONG else (min, max)
        self.stop_price = nearest_stop(armed, default=math.nan)
        self.target_price = nearest_target(targets, default=math.nan)
        late = [entry.late_stop for entry in self._entries if not math.isnan(entry.late_stop)]
        self.held_stop = late[0] if late else math.nan

    # --- state ------------------------------------------------------------------------------------------

    def save_state(self) -> dict[str, Any]:
        """Return all that a restart needs as plain data, see `SpecStrategy.save_state`."""
        entries = [
            [list(entry.held), self._saved_part(entry.part), entry.late_stop] for entry in self._entries
        ]
        return super().save_state() | {"entries": entries}

    def _restored_parts(self, state: Mapping[str, Any]) -> list[Part]:
        self._entries = [
            _Entry(HeldPosition(*held), self._restored_part(part), late_stop)
            for held, part, late_stop in state["entries"]
        ]
        return self._open_parts()
