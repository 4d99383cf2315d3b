"""How far a stop or target lies from a price: the signal's close, or the entry's own, in ticks too.

Owns the recognition of one price or number of ticks as a distance.  When it is set, and whether the exit is
called where it has to be, is `exits` and `orders` business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from aiopt.market.instrument import Instrument
from aiopt.pine.importing.parameters import Parameters
from aiopt.pine.importing.refusals import Findings, shown
from aiopt.pine.importing.symbols import Symbol, below, constant
from aiopt.strategy.distances import FARTHER_TICKS
from aiopt.strategy.spec import PriceDistance

ENTRY_PRICES = ("strategy.position_avg_price", "strategy.opentrades.entry_price")
"""Names of the entry's own price."""

Origin = Literal["entry", "position"]


def is_close(symbol: Symbol) -> bool:
    """Return whether a symbol is the close of the bar."""
    return symbol.op == "name" and symbol.text == "close"


def is_entry_price(symbol: Symbol) -> bool:
    """Return whether a symbol is the price of the open position's entry."""
    return symbol.op in ("name", "call") and symbol.text in ENTRY_PRICES


def is_tick(symbol: Symbol) -> bool:
    """Return whether a symbol is the smallest price step."""
    return symbol.op == "name" and symbol.text == "syminfo.mintick"


def fraction(symbol: Symbol) -> tuple[list[Symbol], list[Symbol]]:
    """Return the factors and the divisors of a product."""
    if symbol.op not in ("*", "/"):
        return [symbol], []
    above, under = fraction(symbol.at(0))
    more, less = fraction(symbol.at(1))
    return (above + more, under + less) if symbol.op == "*" else (above + less, under + more)


@dataclass(frozen=True)
class LevelReader:
    """Reads prices and ticks as distances.

    Parameters
    ----------
    parameters, findings
        Of the script.
    instrument : Instrument
        Whose pips and ticks.
    distance : callable
        Reads a distance in pips or average true ranges; None, and a refusal, where it is neither.
    product : callable
        Returns factors times a scale, as a number or an input's name: factors, the whole, the scale.
    """

    parameters: Parameters
    findings: Findings
    instrument: Instrument
    distance: Callable[[Symbol], PriceDistance | None]
    product: Callable[[list[Symbol], Symbol, float], int | float | str | None]

    # --- prices -------------------------------------------------------------------------------------------

    def apart(self, price: Symbol, is_base: Callable[[Symbol], bool]) -> tuple[str, Symbol, bool] | None:
        """Return sign, distance and whether that is a share of the base; None where it lies otherwise.

        Of a share the symbol is the whole price or the distance it is read from.
        """
        if price.op in ("+", "-"):
            base, away = price.at(0), price.at(1)
            if price.op == "+" and not is_base(base):
                base, away = away, base
            if is_base(base):
                return price.op, away, any(is_base(one) for one in fraction(away)[0])
            return None
        factors, _ = fraction(price)
        return ("", price, True) if sum(is_base(one) for one in factors) == 1 else None

    def share(self, symbol: Symbol, is_base: Callable[[Symbol], bool]) -> int | float | str | None:
        """Return per cent of a base that a distance is, e.g. ``close * stop / 100``; None, and a refusal."""
        factors, divisors = fraction(symbol)
        rest = [one for one in factors if not is_base(one)]
        return self._per_cent(rest, divisors, symbol)

    def ratio(
        self, price: Symbol, is_base: Callable[[Symbol], bool]
    ) -> tuple[str, int | float | str | None] | None:
        """Return sign and per cent of a price that is a multiple of its base, e.g. ``close * (1 - stop)``."""
        factors, divisors = fraction(price)
        rest = [one for one in factors if not is_base(one)]
        whole = self._number(divisors)
        if whole is None:
            return None
        value = self._number(rest)
        if value is not None and whole:
            apart = round((value / whole - 1.0) * 100.0, 9)
            if len(rest) == 1 and rest[0].op in ("+", "-"):
                found = self._sum_ratio(rest[0], whole)
                if found is not None:
                    return found
            self.parameters.fixed(price, value / whole)
            return ("+" if apart > 0 else "-"), abs(apart)
        return None

    def _sum_ratio(self, term: Symbol, whole: float) -> tuple[str, int | float | str | None] | None:
        """Read ``1 - share`` or ``100 + share``."""
        one, share = term.at(0), term.at(1)
        if term.op == "+" and constant(one) is None:
            one, share = share, one
        if constant(one) is None or constant(one) != whole:
            return None
        factors, divisors = fraction(share)
        scale = self._number(divisors)
        if not scale:
            return None
        value = self.product(factors, share, 100.0 / scale / whole)
        return term.op, value

    def _per_cent(
        self, factors: list[Symbol], divisors: list[Symbol], whole: Symbol
    ) -> int | float | str | None:
        scale = self._number(divisors)
        if not scale:
            text = "how far it lies must be a number or an input in per cent of the price"
            self.findings.refuse(whole.place, "percent", shown(whole), text, "close * stop / 100")
            return None
        return self.product(factors, whole, 100.0 / scale)

    def _number(self, factors: list[Symbol]) -> float | None:
        """Return the product of numbers, inputs at their defaults; None where one is neither."""
        result = 1.0
        for one in factors:
            value = self.parameters.at_defaults(one)
            if value is None:
                return None
            result *= value
        return result

    def rounded(self, distance: PriceDistance, *, rounds: bool) -> PriceDistance:
        """Return a distance whose price the broker rounds, unless the script does or it lies on the tick."""
        if rounds or (distance.unit == "pips" and self._is_whole(distance.value)):
            return distance
        return msgspec.structs.replace(distance, rounding="away")

    def _is_whole(self, pips: int | float | str) -> bool:
        if isinstance(pips, str):
            pips = self.parameters.values[pips]
        ticks = pips * self.instrument.pip_size / self.instrument.tick_size
        return abs(ticks - round(ticks)) < 1e-6

    # --- ticks --------------------------------------------------------------------------------------------

    def ticks(
        self, symbol: Symbol, origin: Origin, kept: Callable[[Symbol], Symbol | None] | None = None
    ) -> PriceDistance | None:
        """Return the distance that a number of ticks from the entry's price is; None, and a refusal, else.

        Parameters
        ----------
        symbol : Symbol
            The ticks.
        origin : {"entry", "position"}
            From when they count.
        kept : callable, optional
            Returns what a variable is given at the signal and keeps.
        """
        inner, rounds = _rounded_ticks(symbol)
        away: Symbol | None = None
        if inner.op == "/" and is_tick(inner.at(1)):
            away = inner.at(0)
        if away is None:
            return self._counted(inner, symbol, origin)
        if kept is not None and away.op in ("cond", "carry", "past"):
            away = kept(away)
            if away is None:
                return None
        away, farther = without_farther(away)
        distance = self._of_entry(away) if origin == "position" else self.of_signal(away)
        if distance is None:
            return None
        if rounds is None and not (distance.unit == "pips" and self._is_whole(distance.value)):
            text = "a part of a tick is left, which engines round in their own ways"
            nearest = f"math.round({shown(inner)})"
            self.findings.refuse(symbol.place, "ticks", shown(symbol), text, nearest)
            return None
        is_away = farther or rounds == "math.ceil"
        return msgspec.structs.replace(distance, origin=origin, rounding="away" if is_away else msgspec.UNSET)

    def _of_entry(self, away: Symbol) -> PriceDistance | None:
        """Return a distance in pips, average true ranges or per cent of the entry's price."""
        if any(is_entry_price(one) for one in fraction(away)[0]):
            value = self.share(away, is_entry_price)
            return None if value is None else PriceDistance(unit="percent", value=value)
        return self.distance(away)

    def of_signal(self, away: Symbol) -> PriceDistance | None:
        """Return a distance in pips, average true ranges or per cent of the close."""
        if any(is_close(one) for one in fraction(away)[0]):
            value = self.share(away, is_close)
            return None if value is None else PriceDistance(unit="percent", value=value)
        return self.distance(away)

    def _counted(self, inner: Symbol, symbol: Symbol, origin: Origin) -> PriceDistance | None:
        """Read ticks that are a number."""
        factors, divisors = fraction(inner)
        scale, value = self._number(divisors), self._number(factors)
        if not scale or value is None:
            text = "ticks from the entry's price are a number, or a distance over syminfo.mintick"
            nearest = (
                "loss=200, or math.round(atr * 2 / syminfo.mintick) kept in a var where the entry is called"
            )
            self.findings.refuse(symbol.place, "ticks", shown(symbol), text, nearest)
            return None
        ticks = value / scale
        if ticks < 1 or abs(ticks - round(ticks)) > 1e-9:
            text = f"ticks from the entry's price must be whole and at least 1, but these are {ticks:g}"
            nearest = f"{max(1, round(ticks))}"
            self.findings.refuse(symbol.place, "ticks", shown(symbol), text, nearest)
            return None
        found = self.product(factors, symbol, self.instrument.tick_size / self.instrument.pip_size / scale)
        return None if found is None else PriceDistance(unit="pips", value=found, origin=origin)

    def varies(self, distance: PriceDistance) -> bool:
        """Return whether a distance is another one at each signal."""
        return distance.unit != "pips"


def _rounded_ticks(symbol: Symbol) -> tuple[Symbol, str | None]:
    """Return ticks without what rounds them, and what that is."""
    if symbol.op == "call" and symbol.text == "math.max":
        one, *others = sorted(symbol.symbols(), key=lambda part: constant(part) is not None)
        if [constant(other) for other in others] == [1.0]:
            symbol = one
    if symbol.op == "call" and symbol.text in ("math.round", "math.ceil") and len(symbol.symbols()) == 1:
        return symbol.symbols()[0], symbol.text
    return symbol, None


def without_farther(symbol: Symbol) -> tuple[Symbol, bool]:
    """Return a distance of ours without what rounding away adds to it, and whether it has that."""
    if symbol.op == "+":
        factors, _ = fraction(symbol.at(1))
        if len(factors) == 2 and is_tick(factors[1]) and constant(factors[0]) == FARTHER_TICKS:
            return symbol.at(0), True
    return symbol, False


def mentions_entry_price(symbol: Symbol) -> bool:
    """Return whether a price depends on the entry's own."""
    return any(is_entry_price(part) for part in below(symbol))
