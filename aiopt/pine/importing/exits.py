"""Stops and targets: prices fixed at the signal, moved at closes, and how far they lie from what.

Owns the recognition of distances, of when a price is set, and of the moving stops that our emitter writes.
An exit that moves inside a bar is refused.  What one price says is `levels`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import msgspec

from aiopt.market.instrument import Instrument
from aiopt.pine.exits import ExitWriter
from aiopt.pine.importing.guards import position_test
from aiopt.pine.importing.indicators import Indicators
from aiopt.pine.importing.levels import (
    LevelReader,
    Origin,
    is_close,
    is_entry_price,
    is_tick,
    mentions_entry_price,
    without_farther,
)
from aiopt.pine.importing.matching import Match, Matcher, read_pattern
from aiopt.pine.importing.parameters import Parameters
from aiopt.pine.importing.refusals import Findings, shown
from aiopt.pine.importing.script import Reading
from aiopt.pine.importing.symbols import State, Symbol, below, conjuncts
from aiopt.strategy.spec import BreakEven, PriceDistance, StrategySpec, TrailingStop

_ENTRY = "it is measured from the entry's own price where that is not known, or is another one on every bar"
FROM_ENTRY = "strategy.position_avg_price * 0.99 under `if strategy.position_size > 0`, or loss= in ticks"
FIXED_AT_SIGNAL = "if enter: stop := close - distance, kept in a var, and strategy.exit on every bar"


@dataclass(frozen=True)
class Level:
    """Where a side's stop lies.

    Attributes
    ----------
    stop : PriceDistance or None
        Fixed at the signal.
    trailing : TrailingStop or None
    even : BreakEven or None
    """

    stop: PriceDistance | None
    trailing: TrailingStop | None = None
    even: BreakEven | None = None


class ExitReader:
    """Reads the prices of exits.

    Parameters
    ----------
    reading, indicators, parameters, findings
        Of the script.
    instrument : Instrument
        Whose pips and ticks.
    """

    def __init__(
        self,
        reading: Reading,
        indicators: Indicators,
        parameters: Parameters,
        findings: Findings,
        instrument: Instrument,
    ) -> None:
        self._reading, self._indicators, self._parameters = reading, indicators, parameters
        self._findings, self._instrument = findings, instrument
        self.entries: dict[str, frozenset[int]] = {}
        self._levels = LevelReader(parameters, findings, instrument, self.distance, self._product)

    def _refuse(self, symbol: Symbol, rule: str, message: str, nearest: str) -> None:
        self._findings.refuse(symbol.place, rule, shown(symbol), message, nearest)

    # --- prices -------------------------------------------------------------------------------------------

    def level(
        self, symbol: Symbol, entry: tuple[Symbol, ...], side: str, *, in_entry: bool, called: bool
    ) -> Level | None:
        """Return where a stop lies; None, and a refusal, where it cannot be said.

        Parameters
        ----------
        symbol : Symbol
            The argument ``stop``.
        entry : tuple of Symbol
            Conditions of the side's entry.
        side : str
            ``long`` or ``short``.
        in_entry : bool
            Whether the exit is called with the entry alone.
        called : bool
            Whether it is called only while a position of this side is open.
        """
        moving = self._moving(symbol, side)
        if moving is None:
            stop = self.price(symbol, entry, side, towards=False, in_entry=in_entry, called=called)
            return None if stop is None else Level(stop)
        holes = moving.holes
        asked = frozenset(id(part) for one in entry for part in conjuncts(one))
        if "enter" in holes and frozenset(id(part) for part in conjuncts(holes["enter"])) != asked:
            text = "the moving stop's distance is not set where the entry is called"
            self._refuse(symbol, "moving exit", text, FIXED_AT_SIGNAL)
            return None
        first = None
        if "first" in holes and holes["first"].op != "na":
            first = self.price(holes["first"], entry, side, towards=False, in_entry=False, called=called)
            if first is None:
                return None
        distances = {name: self.distance(holes[name]) for name in ("trail", "after", "even") if name in holes}
        if None in distances.values():
            return None
        trailing = even = None
        if distances.get("trail") is not None:
            trailing = TrailingStop(distance=distances["trail"], after=distances.get("after"))  # type: ignore[arg-type]
        if distances.get("even") is not None:
            plus = self._parameters.number(holes["plus"])
            if plus is None:
                return None
            even = BreakEven(after=distances["even"], plus_pips=plus)  # type: ignore[arg-type]
        return Level(first, trailing, even)

    def _moving(self, symbol: Symbol, side: str) -> Match | None:
        if symbol.op != "cond" or not any(part.op == "carry" for part in below(symbol)):
            return None
        for pattern, states in _moving_patterns(side, self._instrument.pip_size):
            match = Matcher(states, self._reading.symbols.states).match(pattern, symbol)
            if match is not None:
                return match
        return None

    # reason: where it is called, for a stop and a target alike
    def price(
        self,
        symbol: Symbol,
        entry: tuple[Symbol, ...],
        side: str,
        *,
        towards: bool,
        in_entry: bool,
        called: bool,
    ) -> PriceDistance | None:
        """Return the distance of a price, from the entry's own or the signal's close."""
        if not in_entry and any(is_entry_price(leaf) for leaf in _values(symbol)):
            return self.of_position(symbol, entry, side, towards=towards, called=called)
        return self.fixed(symbol, entry, side, towards=towards, in_entry=in_entry)

    def fixed(
        self, symbol: Symbol, entry: tuple[Symbol, ...], side: str, *, towards: bool, in_entry: bool
    ) -> PriceDistance | None:
        """Return the distance of a price that is set with the entry and then kept."""
        if symbol.op in ("cond", "carry", "past"):
            price = self._kept(symbol, entry, side)
            if price is None:
                return None
        elif not in_entry:
            self._refuse_unkept(symbol)
            return None
        else:
            price = symbol
        rounds = price.op == "call" and price.text == "math.round_to_mintick"
        return self._from_close(price.at(2) if rounds else price, side, towards=towards, rounds=rounds)

    def of_position(
        self, symbol: Symbol, entry: tuple[Symbol, ...], side: str, *, towards: bool, called: bool
    ) -> PriceDistance | None:
        """Return the distance of a price from the entry's own, known from the close of its bar on.

        Parameters
        ----------
        symbol : Symbol
            The price.
        entry, side
            As of `level`.
        towards : bool
            Whether it is a target.
        called : bool
            Whether the exit is called only while a position of this side is open.
        """
        held = (
            symbol.op == "cond"
            and position_test(symbol.at(0)) == frozenset({side})
            and symbol.at(2).op == "na"
        )
        price = symbol.at(1) if held else symbol
        rounds = price.op == "call" and price.text == "math.round_to_mintick"
        price = price.at(2) if rounds else price
        if not (held or called or self._is_only_side(side)):
            text = "while it is called with a reversal it holds the price of the position that ends"
            self._refuse(symbol, "entry price", text, FROM_ENTRY)
            return None
        ours = self._ticks_of_position(price, entry, side, towards=towards)
        if ours is not None:
            return ours
        found = self._relative(price, is_entry_price, side, towards=towards)
        if found is None:
            return None
        found = self._levels.rounded(found, rounds=rounds)
        return msgspec.structs.replace(found, origin="position")

    def _ticks_of_position(
        self, price: Symbol, entry: tuple[Symbol, ...], side: str, *, towards: bool
    ) -> PriceDistance | None:
        """Return the distance of the entry's price and so many ticks, as we write it."""
        apart = self._levels.apart(price, is_entry_price)
        if apart is None or apart[0] != ("+" if (side == "long") == towards else "-"):
            return None
        factors = list(conjuncts(apart[1], "*"))
        ticks = [one for one in factors if not is_tick(one)]
        if len(factors) != 2 or len(ticks) != 1 or ticks[0].op != "call":
            return None
        return self._levels.ticks(ticks[0], "position", lambda kept: self._kept(kept, entry, side))

    def _is_only_side(self, side: str) -> bool:
        return set(self.entries) <= {side}

    def from_fill(
        self, symbol: Symbol, entry: tuple[Symbol, ...], side: str, *, in_entry: bool, called: bool
    ) -> PriceDistance | None:
        """Return the distance that ``loss`` or ``profit`` say; None, and a refusal, where it cannot be said.

        Parameters
        ----------
        symbol : Symbol
            Ticks.
        entry, side, in_entry
            As of `level`.
        called : bool
            Whether the exit is called only while a position is open.
        """
        origin: Origin = "position" if called else "entry"
        if symbol.op in ("cond", "carry", "past"):
            kept = self._kept(symbol, entry, side)
            if kept is None:
                return None
            return self._levels.ticks(kept, origin)
        found = self._levels.ticks(symbol, origin)
        if found is not None and self._levels.varies(found) and not in_entry:
            text = "the ticks are others on every bar, so the exit moves with them"
            self._refuse(symbol, "moving exit", text, "a var that is set where the entry is called")
            return None
        return found

    def _relative(
        self, price: Symbol, is_base: Callable[[Symbol], bool], side: str, *, towards: bool
    ) -> PriceDistance | None:
        """Return how far a price lies from its base; None, and a refusal, where it cannot be said."""
        sign = "+" if (side == "long") == towards else "-"
        apart = self._levels.apart(price, is_base)
        if apart is None:
            self._refuse(price, "entry price", _ENTRY, FROM_ENTRY)
            return None
        found_sign, away, is_share = apart
        if not found_sign:
            ratio = self._levels.ratio(price, is_base)
            if ratio is None:
                text = "how far it lies must be a number or an input in per cent of the price"
                self._refuse(price, "percent", text, "close * (1 - stop / 100)")
                return None
            found_sign, value = ratio
        elif is_share:
            value = self._levels.share(away, is_base)
        else:
            return self._away(price, away, found_sign == sign, side, towards=towards, base=is_base)
        if value is None or not self._lies_right(price, found_sign == sign, side, towards=towards):
            return None
        return PriceDistance(unit="percent", value=value)

    # reason: what is read, and what a refusal of it says
    def _away(
        self,
        price: Symbol,
        away: Symbol,
        is_right: bool,
        side: str,
        *,
        towards: bool,
        base: Callable[[Symbol], bool],
    ) -> PriceDistance | None:
        """Return a distance that is no share of its base."""
        if not self._lies_right(price, is_right, side, towards=towards):
            return None
        if base is is_close:
            return self.at_signal(away)
        found = self.distance(away)
        if found is not None and found.unit == "atr":
            text = "the average true range is another one on every bar, so the exit moves with it"
            self._refuse(price, "moving exit", text, FIXED_AT_SIGNAL)
            return None
        return found

    def _lies_right(self, price: Symbol, is_right: bool, side: str, *, towards: bool) -> bool:
        if not is_right:
            where = "above" if (side == "long") != towards else "below"
            text = (
                f"a {'target' if towards else 'stop'} of a {side} does not lie {where} the price it is from"
            )
            self._refuse(price, "exit side", text, f"close {'-' if where == 'above' else '+'} distance")
        return is_right

    def _refuse_unkept(self, symbol: Symbol) -> None:
        if mentions_entry_price(symbol):
            self._refuse(symbol, "entry price", _ENTRY, FIXED_AT_SIGNAL)
        else:
            text = "the price is another one on every bar, so the exit moves with it"
            self._refuse(symbol, "moving exit", text, FIXED_AT_SIGNAL + "; or trailing_stop of a strategy")

    def _kept(self, symbol: Symbol, entry: tuple[Symbol, ...], side: str) -> Symbol | None:
        """Return the price that a variable is given where the entry is called and keeps until the next."""
        wanted = frozenset(id(part) for one in entry for part in conjuncts(one))
        other = "short" if side == "long" else "long"
        leaves = list(_leaves(symbol, frozenset()))
        prices = [leaf for path, leaf in leaves if path == wanted and leaf.op not in ("carry", "na")]
        mine = [
            (path, leaf)
            for path, leaf in leaves
            if path != wanted and leaf.op not in ("carry", "na") and path != self.entries.get(other)
        ]
        keeps = any(leaf.op == "carry" for _, leaf in leaves)
        if len(prices) == 1 and keeps and not mine:
            return prices[0]
        if any(mentions_entry_price(leaf) for _, leaf in leaves):
            self._refuse(symbol, "entry price", _ENTRY, FIXED_AT_SIGNAL)
        else:
            text = "it is not set once, where the entry is called, and kept until the next entry"
            self._refuse(symbol, "moving exit", text, FIXED_AT_SIGNAL + "; or trailing_stop of a strategy")
        return None

    def _from_close(self, price: Symbol, side: str, *, towards: bool, rounds: bool) -> PriceDistance | None:
        if mentions_entry_price(price):
            self._refuse(price, "entry price", _ENTRY, FROM_ENTRY)
            return None
        if self._levels.apart(price, is_close) is None:
            sign = "+" if (side == "long") == towards else "-"
            text = "a stop or target lies a number of pips, average true ranges or per cent from a close"
            self._refuse(price, "exit price", text, f"close {sign} ta.atr(14) * 2")
            return None
        found = self._relative(price, is_close, side, towards=towards)
        return None if found is None else self._levels.rounded(found, rounds=rounds)

    # --- distances ----------------------------------------------------------------------------------------

    def at_signal(self, symbol: Symbol) -> PriceDistance | None:
        """Return a distance at the close of the signal bar, per cent of it and those rounded away too."""
        away, farther = without_farther(symbol)
        found = self._levels.of_signal(away)
        return msgspec.structs.replace(found, rounding="away") if found and farther else found

    def distance(self, symbol: Symbol) -> PriceDistance | None:
        """Return a distance in pips or average true ranges; None, and a refusal, where it is neither."""
        factors = list(conjuncts(symbol, "*"))
        for place in range(len(factors)):
            found, used = self._average_range(factors, place)
            if found is None:
                continue
            rest = [one for at, one in enumerate(factors) if at not in used]
            use = self._indicators.use(found)
            value = self._product(rest, symbol, 1.0)
            if use is None or value is None:
                return None
            return PriceDistance(unit="atr", value=value, indicator=use.indicator)
        ticks = [one for one in factors if one.op == "name" and one.text == "syminfo.mintick"]
        rest = [one for one in factors if one not in ticks]
        pip, tick = self._instrument.pip_size, self._instrument.tick_size
        if len(ticks) > 1 or not all(self._parameters.at_defaults(one) is not None for one in rest):
            text = "a distance is a number of pips or of average true ranges"
            self._refuse(symbol, "distance", text, "ta.atr(14) * 2, or 200 * syminfo.mintick")
            return None
        value = self._product(rest, symbol, (tick if ticks else 1.0) / pip)
        return None if value is None else PriceDistance(unit="pips", value=value)

    def _average_range(self, factors: list[Symbol], place: int) -> tuple[Symbol | None, set[int]]:
        """Return the ATR that a factor is, with the places it takes; as ticks it needs the tick's size."""
        factor = factors[place]
        found = self._indicators.find(factor)
        if found is not None and found.kind == "atr":
            return factor, {place}
        make = self._reading.symbols
        for other, tick in enumerate(factors):
            if tick.op == "name" and tick.text == "syminfo.mintick" and other != place:
                whole = make.make("*", factor, tick, place=factor.place)
                found = self._indicators.find(whole)
                if found is not None and found.kind == "atr":
                    return whole, {place, other}
        return None, set()

    def _product(self, factors: list[Symbol], whole: Symbol, scale: float) -> int | float | str | None:
        """Return factors times a scale: an input alone by its name, all else as a number."""
        inputs = [one for one in factors if one.op == "input"]
        others = scale
        for one in factors:
            if one.op != "input":
                value = self._parameters.at_defaults(one)
                if value is None:
                    text = "how far it lies must be a number or an input, times pips or an average true range"
                    self._refuse(whole, "distance", text, "ta.atr(14) * 2")
                    return None
                others *= value
        if len(inputs) == 1 and abs(others - 1.0) < 1e-9:
            return self._parameters.number(inputs[0])
        value = others
        for one in inputs:
            value *= self._parameters.at_defaults(one) or 0.0
        value = round(value, 9)
        self._parameters.fixed(whole, value)
        return value


def _values(symbol: Symbol) -> Iterator[Symbol]:
    """Yield what a price is made of, tests and earlier values left out."""
    if symbol.op == "cond":
        for part in symbol.symbols()[1:]:
            yield from _values(part)
    elif symbol.op in ("carry", "past"):
        return
    else:
        yield from below(symbol)


def _leaves(symbol: Symbol, path: frozenset[int]) -> Iterator[tuple[frozenset[int], Symbol]]:
    """Yield what a chosen value may be, with the conditions that hold then; those that fail are not told."""
    if symbol.op != "cond":
        yield path, symbol
        return
    test, then, otherwise = symbol.symbols()
    yield from _leaves(then, path | {id(part) for part in conjuncts(test)})
    yield from _leaves(otherwise, path)


@cache
def _moving_patterns(side: str, pip_size: float) -> list[tuple[Symbol, dict[str, State]]]:
    """Return the levels that our emitter writes, by the moving stops a strategy may have."""
    pips = PriceDistance(unit="pips", value=9.0)
    trail, after, even = (
        TrailingStop(distance=pips),
        TrailingStop(distance=pips, after=pips),
        BreakEven(after=pips),
    )
    found = []
    for stop in (pips, None):
        for trailing, break_even in (
            (trail, None),
            (after, None),
            (None, even),
            (trail, even),
            (after, even),
        ):
            spec = StrategySpec(
                name="pattern",
                entry_long="close > 0",
                entry_short="close > 0",
                stop_loss=stop,
                trailing_stop=trailing,
                break_even=break_even,
            )
            held = f"strategy.position_size {'>' if side == 'long' else '<'} 0"
            writer = ExitWriter(spec, side, held, lambda _: "0.0", lambda _: "HOLE_plus", pip_size)
            holes = {f"{side}Trail": "trail", f"{side}TrailAfter": "after", f"{side}EvenAfter": "even"}
            lines = [f"var float {name} = na" for name, _ in writer.fixed_at_signals()]
            lines.append("if HOLE_enter")
            lines += [f"    {name} := HOLE_{holes[name]}" for name, _ in writer.fixed_at_signals()]
            lines += [line.replace(f"{side}Stop", "HOLE_first") for line in writer.stop_lines()]
            read = read_pattern(lines)
            found.append((read.globals[f"{side}Level"], read.symbols.states))
    return found
