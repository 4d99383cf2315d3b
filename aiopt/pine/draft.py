"""A script under construction: its lines, its names, its sides.  Owns what all parts of the emitter share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiopt.pine import alerts
from aiopt.pine.exits import EXIT_VARIABLES, ExitWriter
from aiopt.pine.form import ScriptForm
from aiopt.pine.levels import FARTHER, LEVEL_VARIABLES, LevelWriter
from aiopt.pine.targets import TARGET_VARIABLES, TargetWriter
from aiopt.pine.text import Names, float_number
from aiopt.strategy.spec import PriceDistance, StrategySpec
from aiopt.strategy.spec_pyramiding import MOST_ENTRIES, entries_of

if TYPE_CHECKING:
    from aiopt.market.instrument import Instrument

_FIXED_NAMES = (
    *("ready", "sessionMinute", "sessionDay", "inSession", "entryUnits", "sized"),
    *("leverageInput", "carriedUnits", "orderUnits"),
    *("longSignal", "shortSignal", "exitLongSignal", "exitShortSignal", "enterLong", "enterShort"),
    alerts.HEAD,
    *LEVEL_VARIABLES,
    *EXIT_VARIABLES,
    *TARGET_VARIABLES,
)

_ADDED_NAMES = (
    *("openSeen", "openCount", "besideUnits", "longPlace", "shortPlace"),
    *(
        f"{side}{name}{place}"
        for side in ("long", "short")
        for name in ("Held", "Stop", "Target", "Units")
        for place in range(1, MOST_ENTRIES + 1)
    ),
)
"""Names of scripts that add entries."""


@dataclass(frozen=True)
class Side:
    """One direction: the words and signs it is written with."""

    word: str  # long, short
    title: str  # order id
    opposite: str
    held: str  # comparison of strategy.position_size that says a position of this side is open
    free: str  # ... that says an entry of this side may be taken
    against: str  # sign of a stop relative to the close
    towards: str  # sign of a target relative to the close


LONG = Side("long", "Long", "Short", "> 0", "<= 0", "-", "+")
SHORT = Side("short", "Short", "Long", "< 0", ">= 0", "+", "-")


@dataclass
class Draft:
    """A script under construction."""

    spec: StrategySpec
    instrument: Instrument
    initial_balance: float
    leverage: float
    form: ScriptForm
    names: Names = field(default_factory=lambda: Names(_FIXED_NAMES))
    variables: dict[str, str] = field(default_factory=dict)  # name in conditions → Pine variable
    exact: dict[str, str] = field(default_factory=dict)  # ATR id → its value, unrounded
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if entries_of(self.spec) > 1:
            self.names = Names((*_FIXED_NAMES, *_ADDED_NAMES))

    @property
    def trades(self) -> bool:
        """True for a strategy, false for an indicator."""
        return self.form.kind == "strategy"

    @property
    def sides(self) -> list[Side]:
        """The sides that have an entry."""
        entries = {"long": self.spec.entry_long, "short": self.spec.entry_short}
        return [side for side in (LONG, SHORT) if entries[side.word] is not None]

    def section(self, title: str, lines: list[str]) -> None:
        """Append lines under a comment, unless there are none."""
        if lines:
            self.lines += ["", f"// {title}", *lines]

    def amount(self, value: int | float | str) -> str:
        """Return a number, or the input of a parameter given by name, as a Pine float expression."""
        return self.variables[value] if isinstance(value, str) else float_number(value)

    def distance(self, distance: PriceDistance) -> str:
        """Return a distance as a Pine expression, in price."""
        amount = self.amount(distance.value)
        unit = float_number(self.instrument.pip_size)
        if distance.indicator is not None:
            unit = self.exact[distance.indicator]
        text = f"{amount} / 100.0 * close" if distance.unit == "percent" else f"{amount} * {unit}"
        return f"({text} + {FARTHER})" if distance.rounding == "away" else text

    def levels(self, side: Side) -> dict[str, LevelWriter]:
        """Return the writers of a side's stop and target, those it has, by ``stop`` and ``target``."""
        held = f"strategy.position_size {side.held}"
        wanted = (
            ("Stop", self.spec.stop_loss, side.against),
            ("Target", self.spec.take_profit, side.towards),
        )
        return {
            kind.lower(): LevelWriter(
                distance, side.word, held, kind, sign, text=self.distance, amount=self.amount
            )
            for kind, distance, sign in wanted
            if distance is not None
        }

    def exits(self, side: Side) -> ExitWriter:
        """Return the writer of a side's further exits."""
        held = f"strategy.position_size {side.held}"
        return ExitWriter(self.spec, side.word, held, self.distance, self.amount, self.instrument.pip_size)

    def targets(self, side: Side) -> TargetWriter:
        """Return the writer of a side's targets."""
        return TargetWriter(self.spec, side.word, side.title, side.towards, self.distance, self.amount)
