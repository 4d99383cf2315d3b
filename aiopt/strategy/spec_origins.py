"""What stops and targets must keep that are laid from the entry's own price."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aiopt.errors import SpecError
from aiopt.strategy.spec_exits import BreakEven, TrailingStop, exit_distances
from aiopt.strategy.spec_parts import RiskSize
from aiopt.strategy.spec_pyramiding import entries_of
from aiopt.strategy.spec_targets import targets_of

if TYPE_CHECKING:
    from aiopt.strategy.spec import StrategySpec


def check_origins(spec: StrategySpec, *, fail: Callable[[str, str], SpecError]) -> None:
    """Check where a strategy's distances are laid from.

    Parameters
    ----------
    spec : StrategySpec
        Whose distances.
    fail : callable
        Makes the error: place and text.

    Raises
    ------
    SpecError
        Names the strategy, the field, the rule, the value and the remedy.
    """
    for field, distance in exit_distances(spec):
        if not distance.is_from_signal:
            text = f"origin {distance.origin!r} is of stop_loss and take_profit alone. Leave it out."
            raise fail(field, text)
        if distance.rounding == "away":
            text = "rounding 'away' is of stop_loss and take_profit alone. Leave it out."
            raise fail(field, text)
    stop, target = spec.stop_loss, spec.take_profit
    for field, level in (("stop_loss", stop), ("take_profit", target)):
        if level is not None and not level.is_from_signal and entries_of(spec) > 1:
            text = f"origin {level.origin!r} cannot stand beside pyramiding yet. Leave one of the two out."
            raise fail(field, text)
    moves = isinstance(spec.trailing_stop, TrailingStop) or isinstance(spec.break_even, BreakEven)
    if stop is not None and stop.origin == "entry" and moves:
        text = "origin 'entry' cannot stand beside a stop that moves: a script has one stop, in ticks or as a"
        raise fail("stop_loss", f"{text} price. Use origin signal or position.")
    if stop is not None and stop.origin == "position" and isinstance(spec.size, RiskSize):
        text = (
            "a size by risk needs a stop that acts from the entry on, but got origin 'position'. Use origin"
        )
        raise fail("stop_loss", f"{text} entry or signal, or a size of kind fixed.")
    if target is not None and not target.is_from_signal and targets_of(spec):
        text = f"beside targets it lies from the signal's close as they do, but got origin {target.origin!r}."
        raise fail("take_profit", f"{text} Leave origin out.")
