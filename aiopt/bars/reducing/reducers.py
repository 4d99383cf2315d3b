"""Which reducers the bars of a request take: one for all time bars, one per series of other bars.

Owns that choice alone.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from aiopt.bars.reducing.event_reducer import EventReducer
from aiopt.bars.reducing.event_state import initial_state
from aiopt.bars.reducing.reducer import Reducer
from aiopt.bars.reducing.time_reducer import TimeReducer
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import EventRule
from aiopt.market.instrument import Instrument

States = tuple[NDArray[Any], ...]
"""State of each reducer, in the order of `make_reducers`."""


def make_reducers(request: BarRequest, item: Instrument, states: States | None = None) -> list[Reducer]:
    """Return the reducers of a request, from the states left by the ticks before or as if there were none.

    Raises
    ------
    ConfigError
        If the size of a rule is between two price steps of the instrument.
    """
    if request.timeframes:
        return [TimeReducer(request, item)]
    before = states or (None,) * len(_series(request))
    return [
        EventReducer(rule, price, item, session=request.session, spread=request.spread_stats, state=state)
        for (rule, price), state in zip(_series(request), before, strict=True)
    ]


def first_states(request: BarRequest) -> States | None:
    """Return the states before the first tick; None for time bars, which depend on no tick before."""
    if request.timeframes:
        return None
    return tuple(initial_state(rule) for rule, _ in _series(request))


def _series(request: BarRequest) -> list[tuple[EventRule, str]]:
    rules = [rule for rule in request.rules if isinstance(rule, EventRule)]
    return [(rule, price) for rule in rules for price in request.prices]
