"""Sizes of positions: a fixed number of units, or the size by risk that our emitter writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import msgspec

from aiopt.pine.importing.exits import ExitReader
from aiopt.pine.importing.guards import Guards
from aiopt.pine.importing.matching import Match, Matcher, read_pattern
from aiopt.pine.importing.parameters import Parameters
from aiopt.pine.importing.refusals import Findings, shown
from aiopt.pine.importing.script import Order, Reading
from aiopt.pine.importing.settings import Settings
from aiopt.pine.importing.sides import SideRules
from aiopt.pine.importing.symbols import Symbol, constant
from aiopt.strategy.sizes import MAX_UNITS
from aiopt.strategy.spec import FixedSize, PriceDistance, RiskSize


class SizeReader:
    """Reads the sizes of entries.

    Parameters
    ----------
    reading, settings, findings, parameters
        The script, its declaration, where refusals go, its numbers.
    guards : Guards
        Told which tests only ask that a size is not nothing.
    units : int or None
        Size where the script's is none that can be said, as the person says.
    """

    # reason: the readers it works with, made once
    def __init__(
        self,
        reading: Reading,
        settings: Settings,
        findings: Findings,
        parameters: Parameters,
        guards: Guards,
        units: int | None,
    ) -> None:
        self._reading, self._settings, self._findings = reading, settings, findings
        self._parameters, self._guards, self._units = parameters, guards, units

    def _refuse(self, order: Order, rule: str, message: str, nearest: str) -> None:
        self._findings.refuse(order.place, rule, "strategy.entry qty=", message, nearest)

    def read(self, sides: Iterable[SideRules]) -> None:
        """Read the size of every entry."""
        for side in sides:
            for order, _ in side.entries:
                quantity = order.args.get("qty")
                if quantity is None or quantity.op == "na":
                    side.units = self._settings.units
                else:
                    self._read(quantity, order, side)

    def _read(self, quantity: Symbol, order: Order, side: SideRules) -> None:
        side.risk = self._risk(quantity)
        value = self._parameters.at_defaults(quantity)
        make = self._reading.symbols
        if side.risk is not None:
            for sized in (quantity, side.risk.holes["entry"]):
                self._guards.sized.add(id(make.make(">", sized, make.make("number", 0.0))))
        elif value is not None and value == int(value) and 1 <= value <= 1e9:
            side.units = int(value)
            self._parameters.fixed(quantity, value)
        elif self._units is None:
            text = f"the size is {shown(quantity)}; a strategy's is a fixed number of units or a risk"
            self._refuse(order, "size", text, "qty=10000, or import with --units N to trade that")
        else:
            text = f"qty={shown(quantity)} is not imported: positions are of {self._units} units"
            self._findings.note(order.place, text)

    def _risk(self, quantity: Symbol) -> Match | None:
        pattern, entry = _risk_pattern()
        states = self._reading.symbols.states
        match = Matcher({}, states).match(pattern, quantity)
        if match is not None:
            for part in quantity.symbols():
                if Matcher({}, states).match(entry, part) is not None:
                    match.holes["entry"] = part
        return match

    def size(
        self, active: Sequence[SideRules], exits: ExitReader
    ) -> tuple[FixedSize | RiskSize | None, bool]:
        """Return the size of both sides, and whether it is the script's own; None, and a refusal, else."""
        side = active[0]
        if side.risk is not None:
            risk, step = constant(side.risk.holes["risk"]), constant(side.risk.holes["step"])
            distance = exits.at_signal(side.risk.holes["distance"])
            stop = None if side.level is None else side.level.stop
            if (
                risk is None
                or step is None
                or stop is None
                or distance is None
                or not _is_alike(distance, stop)
            ):
                text = "the size by risk is not that of the stop's distance"
                self._refuse(side.entries[0][0], "size", text, "qty=10000")
                return None, False
            return RiskSize(risk_pct=risk, step=int(step)), True
        units = {one.units for one in active}
        if len(units) > 1:
            text = "the sizes of long and short differ"
            self._refuse(active[-1].entries[0][0], "two sides", text, "the same qty on both sides")
            return None, False
        (found,) = units
        if found is not None and self._units is None:
            return FixedSize(units=found), True
        chosen = FixedSize() if self._units is None else FixedSize(units=self._units)
        return chosen, found == chosen.units


def _is_alike(distance: PriceDistance, stop: PriceDistance) -> bool:
    return distance == msgspec.structs.replace(stop, origin=msgspec.UNSET)


@cache
def _risk_pattern() -> tuple[Symbol, Symbol]:
    """Return the size by risk that our emitter writes: cut to what margin carries, and as asked for."""
    units = (
        "math.floor(math.min(HOLE_balance * HOLE_risk / 100.0 / (HOLE_distance), "
        f"{float(MAX_UNITS)!r}) / HOLE_step) * HOLE_step"
    )
    read = read_pattern(
        [
            f"float entry = HOLE_distance > 0.0 ? {units} : 0.0",
            "float carried = math.floor(strategy.equity * HOLE_leverage / close / HOLE_step) * HOLE_step",
            "float ordered = math.min(entry, carried)",
        ]
    )
    return read.globals["ordered"], read.globals["entry"]
