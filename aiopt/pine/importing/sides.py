"""What a script does on one side, as it is gathered from its orders."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiopt.pine.importing.exits import Level
from aiopt.pine.importing.guards import Guard
from aiopt.pine.importing.matching import Match
from aiopt.pine.importing.script import Order
from aiopt.pine.importing.symbols import Symbol
from aiopt.strategy.conditions import Condition
from aiopt.strategy.spec import PriceDistance, TimeStop


@dataclass
class SideRules:
    """What a script does on one side."""

    entries: list[tuple[Order, Guard]] = field(default_factory=list)
    closes: list[tuple[Order, Guard]] = field(default_factory=list)
    exits: list[tuple[Order, Guard]] = field(default_factory=list)
    condition: Condition | None = None
    exit: Condition | None = None
    level: Level | None = None
    target: PriceDistance | None = None
    time: TimeStop | None = None
    units: int | None = None
    risk: Match | None = None
    entry_core: list[Symbol] = field(default_factory=list)
