"""The orders of a script as the rules of a strategy: who enters when, what ends a position.

Owns what the calls of ``strategy.*`` say together.  Conditions, prices and settings are read by others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from aiopt.pine.importing.conditions import Translator
from aiopt.pine.importing.exit_calls import can_be_said, is_fixed_at_signal, is_whole
from aiopt.pine.importing.exits import ExitReader, Level
from aiopt.pine.importing.guards import FLAT, LONG, SHORT, Guard, Guards, opposed, part_ids
from aiopt.pine.importing.refusals import Findings, shown
from aiopt.pine.importing.script import Order, Reading
from aiopt.pine.importing.settings import Settings
from aiopt.pine.importing.sides import SideRules
from aiopt.pine.importing.sizes import SizeReader
from aiopt.pine.importing.symbols import Symbol, conjuncts, constant, spine
from aiopt.pine.importing.time_exits import time_stop
from aiopt.strategy.conditions import Condition, Or, format_condition
from aiopt.strategy.spec import FixedSize, PriceDistance, RiskSize, SessionFilter, TimeStop

SIDES = (LONG, SHORT)
_OTHER = {LONG: SHORT, SHORT: LONG}
_DIRECTIONS = {"strategy.long": LONG, "strategy.short": SHORT}


@dataclass(frozen=True)
class Rules:
    """A strategy's fields, as far as orders decide them."""

    conditions: dict[str, str]
    stop: PriceDistance | None
    target: PriceDistance | None
    level: Level | None
    time: TimeStop | None
    session: SessionFilter | None
    size: FixedSize | RiskSize
    is_sized: bool
    balance: float | None


class OrderReader:
    """Reads the orders of a script.

    Parameters
    ----------
    reading, settings, findings
        The script, its declaration, where refusals go.
    guards, translator, exits
        What reads conditions and prices.
    units : int or None
        Size of a position where the script's is none that can be said, as the person says.
    """

    # reason: the readers it works with, made once
    def __init__(
        self,
        reading: Reading,
        settings: Settings,
        findings: Findings,
        guards: Guards,
        translator: Translator,
        exits: ExitReader,
        units: int | None,
    ) -> None:
        self._reading, self._findings = reading, findings
        self._guards, self._translator, self._exits = guards, translator, exits
        self._sizes = SizeReader(reading, settings, findings, translator.parameters, guards, units)
        self._told = reading, translator.parameters, findings
        self.sides = {side: SideRules() for side in SIDES}
        self._names: dict[str, str] = {}

    def rules(self) -> Rules | None:
        """Return the strategy's fields; None, and refusals, where the orders cannot be said."""
        self._sort_entries()
        self._sort_others()
        if not any(side.entries for side in self.sides.values()):
            place = self._reading.declared_at
            if place is not None and not self._findings.refusals:
                text = "the script orders no entry that a bar could reach"
                self._findings.refuse(place, "no entry", "strategy", text, "strategy.entry under a condition")
            return None
        self._sizes.read(self.sides.values())
        for name, side in self.sides.items():
            if side.entries:
                self._exits.entries[name] = self._called(side)
        session = self._sessions()
        for name, side in self.sides.items():
            if side.entries:
                self._read_entry(name, side)
        for name, side in self.sides.items():
            if side.entries:
                self._read_closes(name, side)
                self._read_exits(name, side)
        self._check_cancels()
        return self._together(session)

    def _refuse(self, order: Order, rule: str, message: str, nearest: str) -> None:
        construct = f"strategy.{order.function.removeprefix('strategy.')}"
        self._findings.refuse(order.place, rule, construct, message, nearest)

    # --- sorting ------------------------------------------------------------------------------------------

    def _sort_entries(self) -> None:
        for order in self._reading.orders:
            if order.function != "entry":
                continue
            direction = order.args.get("direction")
            side = (
                _DIRECTIONS.get(direction.text) if direction is not None and direction.op == "name" else None
            )
            if side is None:
                text = "its direction is chosen as it runs"
                self._refuse(
                    order, "direction", text, "one strategy.entry for each of strategy.long and .short"
                )
                continue
            if order.args.keys() & {"oca_name", "oca_type"}:
                self._refuse(order, "group", "a strategy has no groups of orders", "leave oca_* out")
            for name in ("stop", "limit"):
                if name in order.args and order.args[name].op != "na":
                    text = f"an entry with {name}= waits for a price; a strategy enters at the next open"
                    self._refuse(order, "pending entry", text, f"strategy.entry without {name}=")
            identifier = order.args.get("id")
            if identifier is not None and identifier.op == "string":
                self._names[identifier.text] = side
            self.sides[side].entries.append((order, Guard()))

    def _sort_others(self) -> None:
        for order in self._reading.orders:
            name = order.function
            if name == "exit":
                for side in self._sides_of(order, "from_entry"):
                    self.sides[side].exits.append((order, Guard()))
            elif name in ("close", "close_all"):
                if "immediately" in order.args and order.args["immediately"].args[0] is True:
                    text = "it closes at the close of the bar; here orders fill at the next open"
                    self._refuse(order, "fills", text, "leave immediately out")
                if "qty" in order.args or not is_whole(order):
                    text = "it closes a part of a position; partial exits are not imported yet"
                    self._refuse(order, "partial exit", text, "close it whole")
                for side in self._sides_of(order, "id"):
                    self.sides[side].closes.append((order, Guard()))
            elif name == "order":
                text = "strategy.order ignores pyramiding and reversal"
                self._refuse(order, "order", text, "strategy.entry and strategy.close")
            elif name.startswith("risk."):
                text = "it limits what the script may trade; limits are not imported yet"
                self._refuse(order, "risk rule", text, "leave it out")

    def _sides_of(self, order: Order, parameter: str) -> list[str]:
        identifier = order.args.get(parameter)
        if identifier is None or identifier.op == "na" or (identifier.op == "string" and not identifier.text):
            return [side for side in SIDES if self.sides[side].entries]
        if identifier.op == "string" and identifier.text in self._names:
            return [self._names[identifier.text]]
        shown_id = shown(identifier)
        text = f"it names the entry {shown_id}, which no strategy.entry has as its id"
        self._refuse(order, "entry id", text, "the id of an entry")
        return []

    # --- entries ------------------------------------------------------------------------------------------

    def _called(self, side: SideRules) -> frozenset[int]:
        return frozenset(id(part) for one in self._entry(side) for part in conjuncts(one))

    def _entry(self, side: SideRules) -> tuple[Symbol, ...]:
        """Return the conditions of a side's first entry, without the test that a size is not nothing."""
        order, _ = side.entries[0]
        return tuple(one for one in order.guard if id(one) not in self._guards.sized)

    def _sessions(self) -> SessionFilter | None:
        """Take the entries' conditions apart; return the session that all of them ask for."""
        for side in self.sides.values():
            side.entries = [(order, self._guards.of(order.guard)) for order, _ in side.entries]
        guards = [guard for side in self.sides.values() for _, guard in side.entries]
        first = {id(one) for one in guards[0].sessions}
        is_shared = len(first) == 1 and all({id(one) for one in guard.sessions} == first for guard in guards)
        session = self._translator.sessions.session(guards[0].sessions[0]) if is_shared else None
        if session is None:
            for guard in guards:
                guard.core += guard.sessions
        return session

    def _read_entry(self, name: str, side: SideRules) -> None:
        other = self.sides[_OTHER[name]]
        conditions = []
        for order, guard in side.entries:
            self._check_position(order, guard, name, has_other=bool(other.entries))
            for confirmed in guard.confirmed:
                self._findings.note(confirmed.place, "barstate.isconfirmed holds on every closed bar")
            core = [one for one in guard.core if not self._is_exclusion(one, name)]
            side.entry_core = core
            condition = self._guards.joined(core)
            if condition is None:
                text = "the entry is called on every bar; a strategy needs a condition"
                self._refuse(order, "no condition", text, "if condition, then strategy.entry")
                continue
            found = self._translator.condition(condition)
            if found is not None:
                conditions.append(found)
        if conditions:
            side.condition = conditions[0] if len(conditions) == 1 else Or(tuple(conditions))
        if (
            name == SHORT
            and other.entries
            and not self._excluded()
            and not opposed(side.entry_core, other.entry_core)
        ):
            order = side.entries[0][0]
            text = "where both sides ask on one bar the script orders both, the strategy takes neither"
            self._findings.note(order.place, text)

    def _check_position(self, order: Order, guard: Guard, name: str, *, has_other: bool) -> None:
        if FLAT not in guard.allowed:
            text = "it enters only while a position is open; a strategy holds one entry a side"
            self._refuse(
                order, "pyramiding", text, "strategy.position_size <= 0 for a long, >= 0 for a short"
            )
        elif has_other and _OTHER[name] not in guard.allowed:
            sign = "<=" if name == LONG else ">="
            text = "it does not reverse an open position; a strategy with both sides does"
            self._refuse(order, "no reversal", text, f"strategy.position_size {sign} 0 in its place")

    def _excluded(self) -> bool:
        """Return whether each side's entry asks that the other side does not."""
        return all(
            any(self._asks_against(one, name) for _, guard in self.sides[name].entries for one in guard.core)
            for name in SIDES
        )

    def _is_exclusion(self, symbol: Symbol, name: str) -> bool:
        return self._excluded_both and self._asks_against(symbol, name)

    @property
    def _excluded_both(self) -> bool:
        return all(side.entries for side in self.sides.values()) and self._excluded()

    def _asks_against(self, symbol: Symbol, name: str) -> bool:
        """Return whether a condition is ``not`` the signal of the other side."""
        other = self.sides[_OTHER[name]]
        if symbol.op != "not" or len(other.entries) != 1:
            return False
        _, theirs = other.entries[0]
        asked = self._guards.of([symbol.at(0)])
        mine = asked.ids | {id(one) for one in asked.sessions if id(one) in theirs.ids}
        rest = [part for one in theirs.core for part in conjuncts(one) if id(part) not in mine]
        return bool(mine) and mine <= theirs.ids and all(one.op == "not" for one in rest) and len(rest) <= 1

    # --- closes -------------------------------------------------------------------------------------------

    def _read_closes(self, name: str, side: SideRules) -> None:
        found: list[Condition] = []
        cores: list[frozenset[int]] = []
        for order, _ in side.closes:
            guard = self._guards.of(order.guard, sessions=False)
            if name not in guard.allowed or self._is_reverse(order, name):
                continue
            core = [one for one in guard.core if not self._yields(one, name, cores)]
            time = self._time_of(core, name)
            if time is not None:
                side.time = time if side.time is None else side.time
                if side.time != time:
                    text = "a second time stop of the same side"
                    self._refuse(order, "time stop", text, "one of both")
                continue
            cores.append(part_ids(core))
            condition = self._guards.joined(core)
            if condition is None:
                text = "it closes on every bar on which the position is open"
                self._refuse(order, "time stop", text, "time_stop of a strategy: bars: 1")
                continue
            read = self._translator.condition(condition)
            if read is not None:
                found.append(read)
        if found:
            side.exit = found[0] if len(found) == 1 else Or(tuple(found))

    def _time_of(self, core: list[Symbol], name: str) -> TimeStop | None:
        if len(core) == 1:
            return time_stop(*self._told, core[0], name)
        whole = self._guards.joined(core)
        return None if whole is None else time_stop(*self._told, whole, name)

    def _is_reverse(self, order: Order, name: str) -> bool:
        """Return whether it closes where a reversal of no size would have: part of a size by risk."""
        other = self.sides[_OTHER[name]]
        sized = [one for one in order.guard if one.op == "not" and id(one.at(0)) in self._guards.sized]
        return other.risk is not None and bool(sized)

    def _yields(self, symbol: Symbol, name: str, cores: list[frozenset[int]]) -> bool:
        """Return whether a condition only makes way for a reversal or for another close."""
        if symbol.op != "not":
            return False
        asked = self._guards.of([symbol.at(0)], sessions=False)
        return self._is_entry_of(asked, symbol.at(0), _OTHER[name]) or asked.ids in cores

    def _is_entry_of(self, asked: Guard, symbol: Symbol, name: str) -> bool:
        side = self.sides[name]
        if not side.entries:
            return False
        entry = self._entry(side)
        return (
            frozenset(id(one) for one in conjuncts(symbol))
            == frozenset(id(part) for one in entry for part in conjuncts(one))
            or asked.ids == self._guards.of(entry, sessions=False).ids
        )

    # --- stops and targets --------------------------------------------------------------------------------

    def _read_exits(self, name: str, side: SideRules) -> None:
        if not side.exits:
            return
        if len(side.exits) > 1:
            order = side.exits[1][0]
            text = "several exits of one entry, so several targets; they are not imported yet"
            self._refuse(order, "several targets", text, "one strategy.exit with a stop and a limit")
            return
        order, _ = side.exits[0]
        if not can_be_said(order, self._findings):
            return
        entry = self._entry(side)
        in_entry = bool(order.guard) and self._called_alike(order.guard, entry)
        late = not in_entry and self._is_late(order, name)
        if not (in_entry or late) and not self._on_every_bar(order):
            return
        where = {"in_entry": in_entry, "called": late and self._guards.of(order.guard).allowed == {name}}
        given = {key: value for key, value in order.args.items() if value.op != "na"}
        if "stop" in given:
            side.level = self._exits.level(given["stop"], entry, name, **where)
        if "limit" in given:
            side.target = self._exits.price(given["limit"], entry, name, towards=True, **where)
        for key in ("loss", "profit"):
            if key in given:
                found = self._exits.from_fill(given[key], entry, name, in_entry=in_entry, called=late)
                if found is not None and key == "loss":
                    side.level = Level(found)
                elif found is not None:
                    side.target = found
        levels = [side.target, None if side.level is None else side.level.stop]
        moves = side.level is not None and (side.level.trailing is not None or side.level.even is not None)
        self._check_late(order, late, moves, [one for one in levels if one is not None])
        if moves or any(one is not None and is_fixed_at_signal(one) for one in levels):
            self._check_recurring(order, name, side)

    def _check_late(self, order: Order, late: bool, moves: bool, found: list[PriceDistance]) -> None:
        """Refuse prices known at the signal whose exit is called only while the position is open."""
        if late and (moves or any(one.origin != "position" for one in found)):
            text = (
                "it is called only while the position is open, so stop and target begin one bar after the "
                "entry's; a strategy's begin with the entry"
            )
            self._refuse(order, "late exit", text, "strategy.exit on every bar, outside of the if")

    def _is_late(self, order: Order, name: str) -> bool:
        """Return whether an exit is called on every bar on which the position is open, and on no other."""
        guard = self._guards.of(order.guard)
        return (
            bool(order.guard)
            and not guard.core
            and not guard.sessions
            and name in guard.allowed
            and FLAT not in guard.allowed
        )

    def _called_alike(self, guard: tuple[Symbol, ...], entry: tuple[Symbol, ...]) -> bool:
        one, other = ({id(p) for part in parts for p in conjuncts(part)} for parts in (guard, entry))
        return one == other

    def _on_every_bar(self, order: Order) -> bool:
        if not order.guard:
            return True
        text = "it is called under a condition that is not the entry's"
        self._refuse(order, "conditional exit", text, "strategy.exit on every bar, or with the entry")
        return False

    def _check_recurring(self, order: Order, name: str, side: SideRules) -> None:
        """Refuse stops that a second signal of the same side would move while the position is open."""
        if all(name not in guard.allowed for _, guard in side.entries):
            return
        ends = [self.sides[_OTHER[name]].entry_core]
        ends += [self._guards.of(close.guard, sessions=False).core for close, _ in side.closes]
        mine = self._crossings(side.entry_core)
        turns = [self._crossings(core) for core in ends if len(core) <= 2]
        undone = {("crossunder" if f == "crossover" else "crossover", a, b) for f, a, b in mine}
        if any(turn & undone and len(turn) == 1 for turn in turns):
            self._findings.note(
                order.place,
                "stop and target are those of the signal that entered: a second one while it is open "
                "would move the script's, and needs the opposite cross before, which ends it",
            )
            return
        sign = "<=" if name == LONG else ">="
        text = "a second signal while the position is open moves stop and target; a strategy's stay"
        self._refuse(order, "moving exit", text, f"add `and strategy.position_size {sign} 0` to the entry")

    def _crossings(self, core: list[Symbol]) -> set[tuple[str, int, int]]:
        flat = [part for one in core for part in conjuncts(one)]
        found = set()
        for now, before in pairwise(flat):
            crossing = self._translator.crossing(now, before)
            if crossing is not None:
                found.add((crossing[0], id(crossing[1]), id(crossing[2])))
        return found

    def _check_cancels(self) -> None:
        """Refuse cancelled orders, unless it is the exit of a position that a market order ends anyway."""
        for order in self._reading.orders:
            if order.function not in ("cancel", "cancel_all"):
                continue
            if order.function == "cancel" and self._is_end_of_exit(order):
                continue
            text = "it takes back orders that a strategy leaves in the market"
            self._refuse(order, "cancel", text, "leave it out")

    def _is_end_of_exit(self, order: Order) -> bool:
        identifier = order.args.get("id")
        for name, side in self.sides.items():
            for exit_order, _ in side.exits:
                if exit_order.args.get("id") is identifier:
                    return self._ends_position(order, name)
        return False

    def _ends_position(self, order: Order, name: str) -> bool:
        """Return whether an order is called only where a close or a reversal of the side is."""
        side = self.sides[name]
        ends = [self._guards.of(close.guard, sessions=False) for close, _ in side.closes]
        cores = [part_ids(o for o in end.core if not self._yields(o, name, [])) for end in ends]
        closing = [
            *cores,
            *(part_ids(o for o in end.core if not self._yields(o, name, cores)) for end in ends),
        ]
        other = self.sides[_OTHER[name]]
        if other.entries:
            closing.append(self._guards.of(self._entry(other), sessions=False).ids)
        guard = self._guards.of(order.guard, sessions=False)
        if guard.allowed != {name}:
            return False
        causes = spine(guard.core[0], "or") if len(guard.core) == 1 else []
        asked = [self._guards.of([cause], sessions=False).ids for cause in causes]
        return guard.ids in closing or (bool(asked) and all(ids in closing for ids in asked))

    # --- together -----------------------------------------------------------------------------------------

    def _together(self, session: SessionFilter | None) -> Rules | None:
        if self._findings.refusals:
            return None
        active = {name: side for name, side in self.sides.items() if side.entries}
        for what, field_name in {"stops": "level", "targets": "target", "time stops": "time"}.items():
            values = [getattr(side, field_name) for side in active.values()]
            if not all(value == values[0] for value in values):
                last = list(active.values())[-1]
                order = (last.exits or last.closes or last.entries)[0][0]
                text = f"the {what} of long and short differ; a strategy has one for both"
                self._refuse(order, "two sides", text, "the same distances on both sides")
                return None
        side = next(iter(active.values()))
        conditions = {}
        for name, one in active.items():
            if one.condition is not None:
                conditions[f"entry_{name}"] = format_condition(one.condition)
            if one.exit is not None:
                conditions[f"exit_{name}"] = format_condition(one.exit)
        size, is_sized = self._sizes.size(list(active.values()), self._exits)
        if size is None:
            return None
        balance = None if side.risk is None else constant(side.risk.holes["balance"])
        level = side.level
        stop = None if level is None else level.stop
        return Rules(conditions, stop, side.target, level, side.time, session, size, is_sized, balance)
