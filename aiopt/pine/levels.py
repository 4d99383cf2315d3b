"""Where a stop or target of one side lies, in Pine.

Owns the text of one price.  What the origins mean is `aiopt.strategy.spec_parts.PriceDistance`'s business;
the order of calls is the emitter's.

A level that lies from the entry's own price is given to `strategy.exit` in ticks, as ``loss`` or ``profit``:
TradingView lays them from the fill, so that they act from it on.  One of origin ``position`` is a price from
`strategy.position_avg_price`, which a script knows from the close of the entry bar on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiopt.pine.text import float_number
from aiopt.strategy.distances import FARTHER_TICKS
from aiopt.strategy.spec import PriceDistance

LEVEL_VARIABLES = tuple(
    f"{side}{kind}{part}"
    for side in ("long", "short")
    for kind in ("Stop", "Target")
    for part in ("", "Ticks", "Away")
)
"""Names these texts use."""


FARTHER = f"{float_number(FARTHER_TICKS)} * syminfo.mintick"
"""What rounding away adds to a distance."""


@dataclass(frozen=True)
class LevelWriter:
    """Writes a stop or a target of one side.

    Parameters
    ----------
    distance : PriceDistance
        Of the strategy.
    word, held : str
        ``long`` or ``short``, and the comparison that says a position of this side is open.
    kind : str
        ``Stop`` or ``Target``.
    sign : str
        Of the level relative to the price it lies from.
    text : callable
        Returns a distance at the close of the signal bar as a Pine expression.
    amount : callable
        Returns a number or the input of a parameter as a Pine expression.
    """

    distance: PriceDistance
    word: str
    held: str
    kind: str
    sign: str
    text: Callable[[PriceDistance], str]
    amount: Callable[[int | float | str], str]

    @property
    def _name(self) -> str:
        return f"{self.word}{self.kind}"

    @property
    def _waits(self) -> bool:
        return self.distance.origin == "position"

    @property
    def argument(self) -> str:
        """The parameter of `strategy.exit` that takes it."""
        ticks, price = ("loss", "stop") if self.kind == "Stop" else ("profit", "limit")
        return ticks if self.distance.origin == "entry" else price

    @property
    def variable(self) -> str:
        """The variable that holds what the parameter takes."""
        return f"{self._name}Ticks" if self.distance.origin == "entry" else self._name

    @property
    def shown(self) -> str:
        """Its price while a position is open."""
        if self.distance.origin != "entry":
            return self._name
        return f"strategy.position_avg_price {self.sign} {self.variable} * syminfo.mintick"

    @property
    def price_at_signal(self) -> str | None:
        """The variable that holds its price at the close of the signal bar; None where it is not known."""
        return self._name if self.distance.is_from_signal else None

    @property
    def away_at_signal(self) -> str | None:
        """How far from the entry's price it will lie; None where a price is known, or not even that."""
        return f"{self.variable} * syminfo.mintick" if self.distance.origin == "entry" else None

    @property
    def ticks_at_signal(self) -> str:
        """The ticks of its distance at the close of the signal bar, as an expression."""
        return _ticks(self.text(self.distance))

    def fixed_at_signals(self) -> list[tuple[str, str]]:
        """Return the variables set when an entry is ordered, with their values."""
        if self.distance.is_from_signal:
            price = f"close {self.sign} {self.text(self.distance)}"
            return [(self._name, f"math.round_to_mintick({price})")]
        if not self._waits:
            return [(self.variable, self.ticks_at_signal)]
        return [(f"{self._name}Away", self.text(self.distance))] if self.distance.unit == "atr" else []

    def lines(self) -> list[str]:
        """Return what says where it lies from this close on, if it waits for the close of the entry bar."""
        if not self._waits:
            return []
        away = self.text(self.distance)
        if self.distance.unit == "atr":
            away = f"{self._name}Away"
        elif self.distance.unit == "percent":
            away = f"{self.amount(self.distance.value)} / 100.0 * strategy.position_avg_price"
            away = f"({away} + {FARTHER})" if self.distance.rounding == "away" else away
        price = f"strategy.position_avg_price {self.sign} {_ticks(away)} * syminfo.mintick"
        return [f"float {self._name} = {self.held} ? math.round_to_mintick({price}) : na"]


def _ticks(away: str) -> str:
    """Return the whole ticks of a distance: at least one, as `aiopt.strategy.distances` counts them."""
    return f"math.max(math.round({away} / syminfo.mintick), 1)"
