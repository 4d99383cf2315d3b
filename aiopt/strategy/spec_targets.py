"""Targets at which a part of a position is closed: their fields, and what they must keep.

When they act is `aiopt.strategy.targets`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from aiopt.errors import SpecError
from aiopt.strategy.spec_parts import ByContent, DistanceUnit, PriceDistance

if TYPE_CHECKING:
    from aiopt.strategy.spec import StrategySpec

MOST_TARGETS = 4
"""Targets of a strategy beside its `take_profit`."""

SHARE_TOLERANCE = 1e-9
"""Shares that sum up to 100 within this are all of a position."""


class Target(ByContent, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """A price at which a share of the entry's quantity is closed; a distance as `PriceDistance`, and a share.

    Attributes
    ----------
    share : number or str
        Per cent of the quantity that was entered, more than 0 and at most 100; or a parameter.
    unit : {"atr", "pips", "percent"}
        As of `PriceDistance`.
    value : number or str
        As of `PriceDistance`, from the close of the signal bar.
    indicator : str or None
        As of `PriceDistance`.
    """

    share: int | float | str
    unit: DistanceUnit
    value: int | float | str
    indicator: str | None = None

    @property
    def distance(self) -> PriceDistance:
        """How far it lies from the close of the signal bar."""
        return PriceDistance(unit=self.unit, value=self.value, indicator=self.indicator)


def targets_of(spec: StrategySpec) -> tuple[Target, ...]:
    """Return the targets of a strategy; empty where it has none."""
    targets = spec.targets
    return () if targets is None or isinstance(targets, msgspec.UnsetType) else targets


def target_distances(spec: StrategySpec) -> Iterator[tuple[str, PriceDistance]]:
    """Yield the distances of a strategy's targets, with the fields they lie in."""
    for number, target in enumerate(targets_of(spec), start=1):
        yield f"targets.{number}", target.distance


def target_shares(spec: StrategySpec) -> Iterator[tuple[str, int | float | str]]:
    """Yield the shares of a strategy's targets, with the fields they lie in."""
    for number, target in enumerate(targets_of(spec), start=1):
        yield f"targets.{number}.share", target.share


def check_targets(
    spec: StrategySpec, *, param: Callable[[str, str, str], None], fail: Callable[[str, str], SpecError]
) -> None:
    """Check shares and order of a strategy's targets; distances alone are checked as all others.

    Parameters
    ----------
    spec : StrategySpec
        Whose targets.
    param : callable
        Checks that a parameter exists: place, key, name.
    fail : callable
        Makes the error: place and text.

    Raises
    ------
    SpecError
        Names the strategy, the field, the rule, the value and the remedy.
    """
    targets = targets_of(spec)
    if not targets:
        if isinstance(spec.targets, tuple):
            raise fail("targets", "the list is empty. Give one to four, or leave it out.")
        return
    if len(targets) > MOST_TARGETS:
        raise fail("targets", f"there are {len(targets)}, and {MOST_TARGETS} are allowed. Remove some.")
    total = 0.0
    for field, share in target_shares(spec):
        if isinstance(share, str):
            param(field, "it", share)
        value = spec.value_of(share)
        if not 0 < value <= 100:
            text = f"`0 < share <= 100` must hold, but got {value}. Give per cent of the entry's quantity."
            raise fail(field, text)
        total += value
    if total > 100 + SHARE_TOLERANCE:
        text = f"the shares must sum up to at most 100 per cent, but got {total:g}. Make some smaller."
        raise fail("targets", text)
    _check_order(spec, fail)
    if spec.take_profit is not None and total >= 100 - SHARE_TOLERANCE:
        text = "the shares of targets sum up to 100 per cent, so nothing is left for it. Remove it"
        raise fail("take_profit", f"{text}, or make a share smaller.")


def _check_order(spec: StrategySpec, fail: Callable[[str, str], SpecError]) -> None:
    """Check that distances of one unit grow; those of two units are ordered when an entry is made."""
    fields = [*target_distances(spec)]
    if spec.take_profit is not None:
        fields.append(("take_profit", spec.take_profit))
    nearest: dict[tuple[str, str | None], tuple[str, int | float]] = {}
    for field, distance in fields:
        value = spec.value_of(distance.value)
        before = nearest.get((distance.unit, distance.indicator))
        if before is not None and not value > before[1]:
            text = f"it must lie beyond {before[0]}, but got {value} {distance.unit} after {before[1]}."
            raise fail(field, f"{text} Order targets by distance, the nearest first.")
        nearest[distance.unit, distance.indicator] = field, value
