"""Whether the bars can give the higher timeframes a strategy reads.  Knows no prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiopt.errors import SpecError
from aiopt.indicators.higher import TIMEFRAME
from aiopt.timeframe import Timeframe, timeframe_of_ns
from aiopt.utc import MINUTE_NS

if TYPE_CHECKING:
    from aiopt.strategy.spec import StrategySpec


def check_higher_timeframes(spec: StrategySpec, bars: Timeframe) -> None:
    """Raise unless every higher timeframe of a strategy is made of whole bars, of two at least.

    Parameters
    ----------
    spec : StrategySpec
        The strategy.
    bars : Timeframe
        Length of the bars it runs on.

    Raises
    ------
    SpecError
        Names the indicator and both lengths.
    """
    for name in spec.indicators:
        if TIMEFRAME not in spec.definition(name).args:
            continue
        length = spec.resolved_args(name)[TIMEFRAME] * MINUTE_NS
        if length > bars.ns and length % bars.ns == 0:
            continue
        rule = (
            "must be longer than the bars" if length <= bars.ns else "must be a multiple of the bars' length"
        )
        msg = (
            f"strategy {spec.name}: indicator {name}: {TIMEFRAME} {rule}, but it is "
            f"{timeframe_of_ns(length).label} and the bars are {bars.label}. "
            f"Choose e.g. {timeframe_of_ns(_nearest(length, bars.ns)).label}, or other bars."
        )
        raise SpecError(msg)


def _nearest(length: int, bar_ns: int) -> int:
    """Return the multiple of a bar's length that is nearest, of two bars at least."""
    return max(round(length / bar_ns), 2) * bar_ns
