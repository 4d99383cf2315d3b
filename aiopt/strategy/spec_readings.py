"""Readings of a model in a strategy: which of them must hold for an entry, and how they size it.

Owns the fields and what each must keep alone or by the strategy's parameters.  What a reading decides on a
bar is `aiopt.strategy.reading_gate`'s business; who reads is nobody's here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from aiopt.errors import SpecError, did_you_mean
from aiopt.patterns import PATTERN_KINDS, Trend, Volatility
from aiopt.strategy.spec_parts import ByContent

if TYPE_CHECKING:
    from aiopt.strategy.spec import StrategySpec

ReadBias = Literal["long", "short", "neutral"]
"""What a reading may favour; `aiopt.analyst` says the same."""

Figure = Literal["confidence", "calibrated", "stated", "technical", "risk", "agreement"]
"""A number of a reading in [0, 1]."""

MOST_AGE_BARS = 100_000
MOST_WITHIN_BARS = 4096
MOST_FACTOR = 10.0
"""Largest multiple of a size."""


class SideReading(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """What a reading must say for an entry of one side; every field that is given must hold.

    Attributes
    ----------
    bias : tuple of {"long", "short", "neutral"}
        One of these.
    trend : tuple of {"up", "down", "sideways"}
        One of these.
    volatility : tuple of {"low", "normal", "high"}
        One of these.
    patterns : tuple of str
        At least one of these kinds is seen, see `aiopt.patterns.PATTERN_KINDS`.
    no_patterns : tuple of str
        None of these is.
    within_bars : int or str or None
        Of patterns, only those count whose last bar is among the last so many of the chart.
    """

    bias: tuple[ReadBias, ...] = ()
    trend: tuple[Trend, ...] = ()
    volatility: tuple[Volatility, ...] = ()
    patterns: tuple[str, ...] = ()
    no_patterns: tuple[str, ...] = ()
    within_bars: int | str | None = None

    def __post_init__(self) -> None:
        named = ("bias", "trend", "volatility", "patterns", "no_patterns")
        for name in named:  # one order, so that equal content has one hash
            msgspec.structs.force_setattr(self, name, tuple(sorted(set(getattr(self, name)))))
        if not any(getattr(self, name) for name in named):
            msg = "readings: a side must say what has to hold, but says nothing. Give bias, trend, "
            raise SpecError(f"{msg}volatility, patterns or no_patterns, or remove the side.")
        for kind in (*self.patterns, *self.no_patterns):
            if kind not in PATTERN_KINDS:
                hint = did_you_mean(kind, PATTERN_KINDS)
                raise SpecError(f"readings: {kind!r} is no kind of pattern.{hint}")
        both = sorted(set(self.patterns) & set(self.no_patterns))
        if both:
            msg = f"readings: {both[0]} stands in patterns and in no_patterns. Remove one of the two."
            raise SpecError(msg)
        if self.within_bars is not None and not (self.patterns or self.no_patterns):
            msg = "readings: within_bars needs patterns to count, but none is named. Name one, or remove it."
            raise SpecError(msg)


class ReadingSize(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """How a figure of the reading makes an entry larger or smaller: a factor of its units, or of its risk.

    ``factor = least + (most - least) * clip((figure - low) / (high - low), 0, 1)``

    Attributes
    ----------
    by : str
        The figure.
    low, high : float or str
        Where it begins and ends to count; in [0, 1], `low` below `high`.
    least, most : float or str
        The factor at `low` and below, and at `high` and above; above 0, at most `MOST_FACTOR`.  `least` may
        be the greater one.
    """

    low: int | float | str
    high: int | float | str
    least: int | float | str
    most: int | float | str
    by: Figure = "confidence"


class ReadingGate(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """What a strategy asks of readings.

    Attributes
    ----------
    without : {"allow", "refuse"}
        Whether entries are taken where there is no reading: none yet, too old, or without a figure that is
        asked for.  No guess is made: it must be said.
    max_age_bars : int or str
        Bars, or the parameter's name: a reading counts at the closes of so many bars behind its chart.
    min_confidence : float or str or None
        Least confidence for an entry of either side, in [0, 1]; or the name of a parameter.
    confidence : str, optional
        The figure `min_confidence` is of; `"confidence"` where it is left out.
    long, short : SideReading or None
        What must hold for an entry of that side.
    size : ReadingSize or None
        Scales sizes.
    """

    without: Literal["allow", "refuse"]
    max_age_bars: int | str
    min_confidence: int | float | str | None = None
    confidence: Figure = "confidence"
    long: SideReading | None = None
    short: SideReading | None = None
    size: ReadingSize | None = None

    def __post_init__(self) -> None:
        asked = (self.min_confidence, self.long, self.short, self.size)
        if all(one is None for one in asked):
            msg = "readings: it asks for nothing. Give long, short, min_confidence or size, or remove it."
            raise SpecError(msg)
        if self.min_confidence is None and self.confidence != "confidence":
            msg = f"readings: confidence={self.confidence!r} is that of min_confidence, which is missing."
            raise SpecError(f"{msg} Give it, or remove confidence.")


def gate_of(spec: StrategySpec) -> ReadingGate | None:
    """Return what a strategy asks of readings; None where it asks nothing."""
    return spec.readings if isinstance(spec.readings, ReadingGate) else None


def _values(gate: ReadingGate) -> Iterator[tuple[str, int | float | str]]:
    """Yield the numbers of a gate: their places, and value or parameter."""
    yield "readings.max_age_bars", gate.max_age_bars
    if gate.min_confidence is not None:
        yield "readings.min_confidence", gate.min_confidence
    for side in ("long", "short"):
        asked = getattr(gate, side)
        if asked is not None and asked.within_bars is not None:
            yield f"readings.{side}.within_bars", asked.within_bars
    if gate.size is not None:
        for name in ("low", "high", "least", "most"):
            yield f"readings.size.{name}", getattr(gate.size, name)


def reading_names(spec: StrategySpec) -> Iterator[str]:
    """Yield the parameters that a strategy's readings name."""
    gate = gate_of(spec)
    for _, value in () if gate is None else _values(gate):
        if isinstance(value, str):
            yield value


def check_readings(
    spec: StrategySpec,
    *,
    param: Callable[[str, str, str], None],
    fail: Callable[[str, str], SpecError],
) -> None:
    """Check what readings must keep by the strategy's parameters.

    Parameters
    ----------
    spec : StrategySpec
        Whose readings.
    param : callable
        Checks that a parameter exists: place, key, name.
    fail : callable
        Makes the error: place and text.

    Raises
    ------
    SpecError
        Names the strategy, the field, the rule, the value and the remedy.
    """
    gate = gate_of(spec)
    if gate is None:
        return
    for side in ("long", "short"):
        if getattr(gate, side) is not None and getattr(spec, f"entry_{side}") is None:
            text = f"there is no entry_{side} that it could hold back. Add one, or remove it."
            raise fail(f"readings.{side}", text)
    for field, value in _values(gate):
        if isinstance(value, str):
            param(field, "it", value)
        _check_value(field, spec.value_of(value), fail)
    size = gate.size
    if size is not None and not spec.value_of(size.low) < spec.value_of(size.high):
        ends = f"low={spec.value_of(size.low)}, high={spec.value_of(size.high)}"
        raise fail("readings.size", f"`low < high` must hold, but got {ends}. Choose e.g. 0.5 and 0.9.")


def _check_value(field: str, found: int | float, fail: Callable[[str, str], SpecError]) -> None:
    name = field.rpartition(".")[2]
    most = {"max_age_bars": MOST_AGE_BARS, "within_bars": MOST_WITHIN_BARS}.get(name)
    if most is not None:
        if not isinstance(found, int) or not 1 <= found <= most:
            text = f"it must be a whole number from 1 to {most}, but got {found!r}."
            raise fail(field, f"{text} Choose one, e.g. 12.")
    elif name in ("least", "most"):
        if not 0 < found <= MOST_FACTOR:
            text = f"it must be above 0 and at most {MOST_FACTOR:g}, but got {found!r}. Choose e.g. 0.5."
            raise fail(field, text)
    elif not 0 <= found <= 1:
        raise fail(field, f"it must lie in [0, 1], but got {found!r}. Choose e.g. 0.6.")
