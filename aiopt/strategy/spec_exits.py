"""How a strategy leaves a position beside its stop, target and exit conditions: trailing, break-even, time.

Owns the fields and what each of them must keep alone or by the strategy's parameters.  When they act is
`aiopt.strategy.exits`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from aiopt.errors import SpecError
from aiopt.indicators.wall_clock import check_timezone
from aiopt.strategy.spec_parts import (
    TIME_OF_DAY,
    ByContent,
    PriceDistance,
    minute_of_day,
)
from aiopt.strategy.spec_targets import Target, check_targets, target_distances, target_shares

if TYPE_CHECKING:
    from aiopt.strategy.spec import StrategySpec

MOST_BARS = 100_000
"""Longest time stop, in bars."""


class TrailingStop(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """A stop that follows the best price since the entry.

    At the close of each bar it moves to the best price so far, less `distance`, if that is nearer than where
    it stands; it acts from the next bar.

    Attributes
    ----------
    distance : PriceDistance
        From the highest bid since the entry for a long, the lowest ask for a short; of the signal bar.
    after : PriceDistance or None
        It begins once the best price is so far from the entry; None: at the close of the entry bar.
    """

    distance: PriceDistance
    after: PriceDistance | None = None


class BreakEven(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """A stop moved to the entry price, once.

    Attributes
    ----------
    after : PriceDistance
        The best price must be so far from the entry.
    plus_pips : number or str
        Pips beyond the entry, in favour of the position, at which the stop then lies; or a parameter.  The
        best price must be as far as that too.
    """

    after: PriceDistance
    plus_pips: int | float | str = 0.0


class TimeStop(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """When a position is closed whatever it is worth: by its age, by the clock, or what comes first.

    Attributes
    ----------
    bars : int or str or None
        Closed at the open of the bar so many bars behind the entry bar; or the name of a parameter.
    at : str or None
        ``"HH:MM"``: closed at the first open that follows a bar's close at or past it.
    timezone : str or None
        IANA name of the clock's zone; None is UTC.
    """

    bars: int | str | None = None
    at: str | None = None
    timezone: str | None = None

    def __post_init__(self) -> None:
        if self.bars is None and self.at is None:
            raise SpecError("time_stop: it names neither bars nor a time. Give bars or at, e.g. at: '16:00'.")
        if self.at is None:
            if self.timezone is not None:
                msg = f"time_stop: timezone {self.timezone!r} says nothing without a time."
                raise SpecError(f"{msg} Give at, or remove it.")
            return
        if TIME_OF_DAY.match(self.at) is None:
            msg = f"time_stop: at must be a time HH:MM from 00:00 to 23:59, but got {self.at!r}."
            raise SpecError(msg)
        check_timezone(self.zone, where="time_stop")

    @property
    def zone(self) -> str:
        """IANA name of the clock's zone."""
        return self.timezone or "UTC"

    @property
    def at_minute(self) -> int | None:
        """Minute of the day at which the clock strikes; None without a clock."""
        return None if self.at is None else minute_of_day(self.at)


def exit_distances(spec: StrategySpec) -> Iterator[tuple[str, PriceDistance]]:
    """Yield the distances of a strategy's moving stops and targets, with the fields they lie in."""
    trailing, even = spec.trailing_stop, spec.break_even
    if isinstance(trailing, TrailingStop):
        yield "trailing_stop.distance", trailing.distance
        if trailing.after is not None:
            yield "trailing_stop.after", trailing.after
    if isinstance(even, BreakEven):
        yield "break_even.after", even.after
    yield from target_distances(spec)


def distances_of(spec: StrategySpec) -> Iterator[tuple[str, PriceDistance]]:
    """Yield every distance of a strategy, with the fields they lie in."""
    for field, distance in (("stop_loss", spec.stop_loss), ("take_profit", spec.take_profit)):
        if distance is not None:
            yield field, distance
    yield from exit_distances(spec)


def exit_counts(spec: StrategySpec) -> Iterator[tuple[str, int | str, int]]:
    """Yield the whole numbers of a strategy's exits: field, value or parameter, and the largest allowed."""
    if isinstance(spec.time_stop, TimeStop) and spec.time_stop.bars is not None:
        yield "time_stop.bars", spec.time_stop.bars, MOST_BARS


def exit_names(spec: StrategySpec) -> Iterator[str]:
    """Yield the parameters and indicators that a strategy's exits name."""
    for _, distance in exit_distances(spec):
        yield from (value for value in (distance.value, distance.indicator) if isinstance(value, str))
    for _, value, _ in exit_counts(spec):
        if isinstance(value, str):
            yield value
    for _, share in target_shares(spec):
        if isinstance(share, str):
            yield share
    if isinstance(spec.break_even, BreakEven) and isinstance(spec.break_even.plus_pips, str):
        yield spec.break_even.plus_pips


class ExitChecks:
    """What the exits must keep by the strategy's parameters.

    Parameters
    ----------
    spec : StrategySpec
        Whose exits.
    distance : callable
        Checks a field's distance.
    param : callable
        Checks that a parameter exists: place, key, name.
    fail : callable
        Makes the error: place and text.
    """

    def __init__(
        self,
        spec: StrategySpec,
        *,
        distance: Callable[[str, PriceDistance], None],
        param: Callable[[str, str, str], None],
        fail: Callable[[str, str], SpecError],
    ) -> None:
        self._spec, self._distance, self._param, self._fail = spec, distance, param, fail

    def check(self) -> None:
        """Check every exit.

        Raises
        ------
        SpecError
            Names the strategy, the field, the rule, the value and the remedy.
        """
        for field, distance in exit_distances(self._spec):
            self._distance(field, distance)
        for field, value, most in exit_counts(self._spec):
            self._check_count(field, value, most)
        even = self._spec.break_even
        if isinstance(even, BreakEven):
            self._check_even(even)
        check_targets(self._spec, param=self._param, fail=self._fail)

    def _check_count(self, field: str, value: int | str, most: int) -> None:
        if isinstance(value, str):
            self._param(field, "it", value)
        found = self._spec.value_of(value)
        if not isinstance(found, int) or not 1 <= found <= most:
            text = (
                f"it must be a whole number from 1 to {most}, but got {found!r}. Choose one, or leave it out."
            )
            raise self._fail(field, text)

    def _check_even(self, even: BreakEven) -> None:
        field = "break_even.plus_pips"
        if isinstance(even.plus_pips, str):
            self._param("break_even", "plus_pips", even.plus_pips)
        plus = self._spec.value_of(even.plus_pips)
        if not 0 <= plus <= 1e6:
            text = f"`0 <= plus_pips <= 1e6` must hold, but got {plus}. Choose 0 for the entry price itself."
            raise self._fail(field, text)
        after = self._spec.value_of(even.after.value)
        if even.after.unit == "pips" and plus >= after:
            text = f"`plus_pips < after` must hold, but got {plus} and {after}: it would be filled at once."
            raise self._fail(field, text + " Choose fewer pips.")


EXIT_FIELDS: Mapping[str, type[ByContent]] = {
    "trailing_stop": TrailingStop,
    "break_even": BreakEven,
    "time_stop": TimeStop,
    "targets": Target,
}
"""Fields of `StrategySpec` that hold these, left out of its canonical JSON where they are not set."""
