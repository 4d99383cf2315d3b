"""Moving stops and time stops in Pine, for one side of a strategy.

Owns their text.  What they mean is `aiopt.strategy.exits`' business; the order of calls is the emitter's.
A stop is moved at the close of a bar by calling `strategy.exit` with its new price, which acts from the next
bar: TradingView's own ``trail_points`` moves inside the bar, along a path nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiopt.pine.text import float_number, string_literal
from aiopt.strategy.spec import BreakEven, PriceDistance, StrategySpec, TimeStop, TrailingStop

STOP_NAMES = {"stop_loss": "Stop", "trailing": "Trailing", "break_even": "Break-even"}
"""Exit reasons of stops, and their comments in TradingView's list of trades; a time stop's is ``Time``."""

EXIT_VARIABLES = (
    *("clockMinute", "clockDay", "clockPast", "clockWasPast", "clockNewDay", "clockStrikes"),
    *(
        f"{side}{name}"
        for side in ("long", "short")
        for name in ("Best", "Level", "Reason", "Trail", "TrailAfter", "EvenAfter", "Even", "Moved", "Bars")
    ),
    *("longTimeUp", "shortTimeUp"),
)
"""Names these texts use."""


@dataclass(frozen=True)
class ExitWriter:
    """Writes the further exits of one side.

    Parameters
    ----------
    spec : StrategySpec
        Whose exits.
    word : str
        ``long`` or ``short``.
    held : str
        Comparison that says a position of this side is open.
    distance : callable
        Returns a distance as a Pine expression.
    amount : callable
        Returns a number or the input of a parameter as a Pine expression.
    pip_size : float
        Of the instrument.
    """

    spec: StrategySpec
    word: str
    held: str
    distance: Callable[[PriceDistance], str]
    amount: Callable[[int | float | str], str]
    pip_size: float

    @property
    def moves(self) -> bool:
        """Whether the stop moves."""
        return isinstance(self.spec.trailing_stop, TrailingStop) or isinstance(
            self.spec.break_even, BreakEven
        )

    @property
    def has_stop(self) -> bool:
        """Whether there is a stop, from the entry on or later."""
        return self.moves or self.spec.stop_loss is not None

    @property
    def stop(self) -> str:
        """The variable that holds the stop's price, or its ticks from the fill."""
        if self.moves:
            return f"{self.word}Level"
        return f"{self.word}StopTicks" if self.stop_argument == "loss" else f"{self.word}Stop"

    @property
    def stop_argument(self) -> str:
        """The parameter of `strategy.exit` that takes it: a price, or ticks from the fill."""
        stop = self.spec.stop_loss
        return "loss" if stop is not None and stop.origin == "entry" else "stop"

    @property
    def stop_comment(self) -> str:
        """What an exit at the stop is called: a literal, or the variable that says it."""
        return f"{self.word}Reason" if self.moves else string_literal(STOP_NAMES["stop_loss"])

    @property
    def time_up(self) -> str | None:
        """The variable that says time is up; None without a time stop."""
        time = self.spec.time_stop
        if not isinstance(time, TimeStop):
            return None
        return "clockStrikes" if time.bars is None else f"{self.word}TimeUp"

    def fixed_at_signals(self) -> list[tuple[str, str]]:
        """Return the variables set when an entry is ordered, with their values."""
        trailing, even = self.spec.trailing_stop, self.spec.break_even
        found = []
        if isinstance(trailing, TrailingStop):
            found.append((f"{self.word}Trail", self.distance(trailing.distance)))
            if trailing.after is not None:
                found.append((f"{self.word}TrailAfter", self.distance(trailing.after)))
        if isinstance(even, BreakEven):
            found.append((f"{self.word}EvenAfter", self.distance(even.after)))
        return found

    def stop_lines(self) -> list[str]:
        """Return where the stop lies from this close on, and what an exit there is called."""
        if not self.moves:
            return []
        word = self.word
        extreme, further = ("high", "math.max") if word == "long" else ("low", "math.min")
        first = f"{word}Stop" if self.spec.stop_loss is not None else "na"
        lines = [
            f"// Where a {word}'s stop lies from this close on; the nearer of its rules counts",
            f"var float {word}Best = na",
            f"{word}Best := {self.held} ? {further}(nz({word}Best, {extreme}), {extreme}) : na",
            f"float {word}Level = {first}",
            f"string {word}Reason = {string_literal(STOP_NAMES['stop_loss'])}",
            f"if {self.held}",
        ]
        even, trailing = self.spec.break_even, self.spec.trailing_stop
        if isinstance(even, BreakEven):
            plus = f"{self.amount(even.plus_pips)} * {float_number(self.pip_size)}"
            reached = f"{further}({self._from_entry(f'{word}EvenAfter')}, {word}Even)"
            lines.append(f"    float {word}Even = {self._from_entry(plus)}")
            lines += self._candidate(f"{word}Even", [self._reached(reached)], "break_even")
        if isinstance(trailing, TrailingStop):
            back = "-" if word == "long" else "+"
            lines.append(f"    float {word}Moved = math.round_to_mintick({word}Best {back} {word}Trail)")
            begun = [self._reached(self._from_entry(f"{word}TrailAfter"))] if trailing.after else []
            lines += self._candidate(f"{word}Moved", begun, "trailing")
        return lines

    def _from_entry(self, away: str) -> str:
        """Return the price so far from the entry, in favour of the position."""
        sign = "+" if self.word == "long" else "-"
        return f"math.round_to_mintick(strategy.position_avg_price {sign} {away})"

    def _reached(self, price: str) -> str:
        return f"{self.word}Best {'>=' if self.word == 'long' else '<='} {price}"

    def _candidate(self, price: str, conditions: list[str], reason: str) -> list[str]:
        level = f"{self.word}Level"
        nearer = f"(na({level}) or {price} {'>' if self.word == 'long' else '<'} {level})"
        return [
            f"    if {' and '.join([*conditions, nearer])}",
            f"        {level} := {price}",
            f"        {self.word}Reason := {string_literal(STOP_NAMES[reason])}",
        ]

    def time_lines(self) -> list[str]:
        """Return when time is up for a position of this side."""
        time, word = self.spec.time_stop, self.word
        if not isinstance(time, TimeStop) or time.bars is None:
            return []
        bars = time.bars if isinstance(time.bars, int) else self.amount(time.bars)
        clock = "" if time.at is None else " or clockStrikes"
        return [
            f"var int {word}Bars = 0",
            f"{word}Bars := {self.held} ? {word}Bars + 1 : 0",
            f"bool {word}TimeUp = {word}Bars >= {bars}{clock}",
        ]


def clock_lines(spec: StrategySpec) -> list[str]:
    """Return on which bars the clock of a strategy strikes; nothing if it has none."""
    time = spec.time_stop
    if not isinstance(time, TimeStop) or time.at_minute is None:
        return []
    zone = string_literal(time.zone)
    return [
        f"// The clock strikes on the first bar that closes at or past {time.at} {time.zone}",
        f"int clockMinute = hour(time_close, {zone}) * 60 + minute(time_close, {zone})",
        f"int clockDay = dayofweek(time_close, {zone})",
        f"bool clockPast = clockMinute >= {time.at_minute}",
        f"bool clockWasPast = clockMinute[1] >= {time.at_minute}",
        "bool clockNewDay = clockDay != clockDay[1]",
        "bool clockStrikes = not clockWasPast and (clockPast or clockNewDay) or clockPast and clockNewDay",
    ]
